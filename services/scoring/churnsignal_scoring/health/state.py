"""Pure. What is remembered of one account: exact, small, and the same whatever order its calls arrived in.

Counters add, masks are unions, facts keep the latest by (time, id): applying distinct calls in any order or batching gives
an equal state. Calls that arrive twice must be dropped before they get here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heapreplace
from typing import Any
from zlib import crc32

import msgspec
from churnsignal_common.contracts.envelope import AccountAbsorbed, Envelope
from churnsignal_common.contracts.risk import Cause
from churnsignal_common.mapping.usage import FEATURE_PREFIX, SOURCE_PREFIX, Usage

from churnsignal_scoring.health import outages
from churnsignal_scoring.health.days import from_us, to_us
from churnsignal_scoring.health.memory import BandMemory
from churnsignal_scoring.health.rows import Counted, DayRow, Fact, FactRow, Remembered, StateRow, StateRows, UserRow
from churnsignal_scoring.health.values import as_text

RETENTION_DAYS = 119
"""Counts per day are kept for 17 weeks: 4 weeks, the 8 before them to compare with, and room for late calls."""
HABIT_DAYS = 728
"""Which days were active is kept for two years: the account's own habit, and the same season a year ago."""
BLOCK_DAYS = 28
"""A user's active days are kept in masks of one block: 28 bits fit Postgres's int4."""
TEAM_BLOCKS = 1 << 20
"""Rows of a signal's users have this added to their block, and the signal before the user."""
BLOCK_USERS = 100_000
"""Distinct users kept of a block (and of each signal whose users are kept), chosen as features are: counts of users are exact up to here."""
BUCKET_FEATURES = 64
"""Distinct features kept of an account's day: those with the smallest hash stay, so the order of arrival does not matter."""

PARENT = "parent"
OWNER = "owner"
"""The fact whose every change is kept, not only the latest ones."""
LAST_DAYS = 4
"""The latest call is kept for the newest days only: those not yet closed, and the one before."""


class _Rest(msgspec.Struct, omit_defaults=True):
    memory: BandMemory
    lasts: list[tuple[int, tuple[datetime, str]]]
    reported: dict[str, int]
    held: bool
    merged_into: str | None = None
    published: str = ""


class _Said(msgspec.Struct):
    memory: Remembered
    reported: dict[str, int]
    held: bool


_said_decoder = msgspec.json.Decoder(_Said)
_rest_decoder = msgspec.json.Decoder(_Rest)
_encode = msgspec.json.Encoder(order="deterministic").encode


_NOBODY: dict[str, int] = {}
USERS = "\0users"
"""Beside the names of signals, which have no NUL: whoever asked for users asked for this."""


@dataclass(slots=True)
class AccountState:
    """Mutable. `active` is the mask of active days since `origin` (its oldest bit). `blocks` are the users' masks by block of days, `teams` the same for each signal whose users are kept.

    `lasts` is the latest call of a day: (time, id), for evidence. `reported` is the last day a family of signals was seen.
    `held` says that the account is out of the game (churned, paused, ignored, merged) and counts in no norm. `merged_into` is the account that
    gets its calls. `published` is the fingerprint of the profile as it was published last.
    `memo` keeps what was worked out from the days before the last, until a call touches one of them, and `live` what the last live evaluation
    came to, until anything changes but a count of the last day or who used it: `noted` counts changes of users. None of them is written.
    The `dirty_*` sets name what changed since `clean()`, `dirty_owners` in the order in which it was heard; `gone_users` made room for others.
    `crowds` are the users of full blocks as heaps, the first to go on top.
    """

    account: str
    first_day: int | None = None
    last_active: int | None = None
    last_event: datetime | None = None
    events_total: int = 0
    origin: int = 0
    segment: str = ""
    held: bool = False
    merged_into: str | None = None
    published: str = ""
    days: dict[int, dict[str, int]] = field(default_factory=dict)
    blocks: dict[int, dict[str, int]] = field(default_factory=dict)
    teams: dict[str, dict[int, dict[str, int]]] = field(default_factory=dict)
    lasts: dict[int, tuple[datetime, str]] = field(default_factory=dict)
    reported: dict[str, int] = field(default_factory=dict)
    memory: BandMemory = field(default_factory=BandMemory)
    noted: int = field(default=0, compare=False)
    active: int = 0
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    memo: dict[Any, tuple[Any, ...]] = field(default_factory=dict, compare=False, repr=False)
    live: Any = field(default=None, compare=False, repr=False)
    crowds: dict[tuple[str, int], list[tuple[int, str]]] = field(default_factory=dict, compare=False, repr=False)
    dirty_days: set[int] = field(default_factory=set)
    dirty_users: set[tuple[str, str, int]] = field(default_factory=set)
    gone_users: set[tuple[str, str, int]] = field(default_factory=set)
    dirty_facts: set[str] = field(default_factory=set)
    dirty_owners: list[Fact] = field(default_factory=list)

    def apply(  # noqa: C901, PLR0912 -- the hottest path: a call of a helper costs more than what it would do
        self, day: int, end: datetime, calls: Iterable[tuple[Envelope, Usage]], day_of: Callable[[datetime], int]
    ) -> None:
        """Add distinct calls that occurred on `day`, which ends at `end`; a command comes last. `day_of` tells on which day each was received."""
        # In one piece, with what the calls of a day share held in locals: every call of every account comes through here.
        bucket, source, counted = self.days.get(day, {}), "", ""
        users, bit = self.blocks.get(day // BLOCK_DAYS, _NOBODY), 1 << day % BLOCK_DAYS
        last, latest, total = self.lasts.get(day), self.last_event, 0
        # Asked of the mask, not of `lasts`: the day's first call may have come too late to count for the habit.
        noted = day >= self.origin and bool(self.active >> day - self.origin & 1)
        if day != self.last_active:
            self.memo.clear()
        if day != self.last_active or not noted or day not in self.days:
            self.live = None
        for envelope, usage in calls:
            if (usage.facts or usage.command) and self._is_told(usage, envelope, day):
                continue
            at, signals, user = envelope.occurred_at, usage.signals, envelope.user
            total += 1
            if latest is None or at > latest:
                latest = at
            # A profile alone (identify, group) is no sign of life: an account that nobody ever used has no first day.
            if signals and (self.first_day is None or day < self.first_day):
                self.first_day = day
            age = 0 if envelope.received_at < end else day_of(envelope.received_at) - day
            if usage.active:
                noted = noted or self._note_active(day, age)
                if last is None or at > last[0] or (at == last[0] and envelope.id > last[1]):
                    self.lasts[day] = last = (at, envelope.id)
                    if len(self.lasts) > LAST_DAYS:
                        del self.lasts[min(self.lasts)]
            if age >= RETENTION_DAYS:
                continue
            if envelope.source != source:
                source, counted = envelope.source, SOURCE_PREFIX + envelope.source
                self.days[day] = bucket
                self.dirty_days.add(day)
            bucket[counted] = bucket.get(counted, 0) + 1
            for signal in signals:
                count = bucket.get(signal)
                bucket[signal] = 1 if count is None else count + 1
                if count is None and len(bucket) > BUCKET_FEATURES:
                    _keep_smallest(bucket)
            for signal, amount in usage.amounts:
                bucket[signal] = bucket.get(signal, 0) + amount
            if user is not None:
                if usage.active and not users.get(user, 0) & bit:
                    users = self._note_user(self.blocks, day, user)
                for signal in usage.by_user:
                    self._note_user(self.teams.setdefault(signal, {}), day, user, signal)
        self.events_total += total
        if latest is not None and (self.last_event is None or latest > self.last_event):
            self.last_event = latest

    def has_moved(self, asked: dict[str, int]) -> bool:
        """Return whether one of these counts of the newest day, or `USERS`, is another one by now."""
        return asked != self.newest(asked)

    def newest(self, names: Iterable[str]) -> dict[str, int]:
        """Return these counts, or `USERS`, as they are on the last day of use."""
        counts = _NOBODY if self.last_active is None else self.days.get(self.last_active, _NOBODY)
        return {name: self.noted if name == USERS else counts.get(name, 0) for name in names}

    @property
    def parent(self) -> str | None:
        """Return the account that it is a part of."""
        known = self.facts.get(PARENT)
        return as_text(known[0].value) if known else None

    def _is_told(self, usage: Usage, envelope: Envelope, day: int) -> bool:
        """Remember the facts of a call; return whether it was a command, which counts as no event."""
        stamp = to_us(envelope.occurred_at)
        for name, value in usage.facts:
            self.learn(name, Fact(value, stamp, envelope.id, envelope.source, day))
        if isinstance(usage.command, AccountAbsorbed):
            self.absorb(usage.command)
        return usage.command is not None

    def _note_active(self, day: int, age: int) -> bool:
        """Note a day of use, `age` days after it; return whether it counts for the habit."""
        if self.last_active is None or day > self.last_active:
            self.last_active = day
        if age >= HABIT_DAYS:
            return False
        offset = day - self.origin
        if not self.active or offset < 0:
            self.active = self.active << -offset | 1 if self.active else 1
            self.origin = day
        else:
            self.active |= 1 << offset
        return True

    def _note_user(self, blocks: dict[int, dict[str, int]], day: int, user: str, signal: str = "") -> dict[str, int]:
        """Note a user's day; return the masks of all users in the day's block."""
        block, offset = divmod(day, BLOCK_DAYS)
        users = blocks.get(block)
        if users is None:
            users = blocks[block] = {}
        mask = users.get(user, 0)
        if not mask >> offset & 1 and (mask or len(users) < BLOCK_USERS or self._makes_room(signal, block, users, user)):
            users[user] = mask | 1 << offset
            self.noted += 1
            self.dirty_users.add((signal, user, block))
        return users

    def _makes_room(self, signal: str, block: int, users: dict[str, int], user: str) -> bool:
        """Let the user with the largest hash go from a full block if the new one's is smaller; return whether it was."""
        crowd = self.crowds.get((signal, block))
        if crowd is None:
            crowd = self.crowds[signal, block] = [(-crc32(name.encode()), name) for name in users]
            heapify(crowd)
        place = (-crc32(user.encode()), user)
        if place < crowd[0]:
            return False
        _, gone = heapreplace(crowd, place)
        del users[gone]
        self.dirty_users.discard((signal, gone, block))
        self.gone_users.add((signal, gone, block))
        return True

    def absorb(self, part: AccountAbsorbed) -> None:
        """Add what was counted of an account that is merged into this one."""
        self.memo.clear()
        self.live = None
        self.events_total += part.events
        self.first_day = min((day for day in (self.first_day, part.first_day) if day is not None), default=None)
        self.last_active = max((day for day in (self.last_active, part.last_active) if day is not None), default=None)
        self.last_event = max((at for at in (self.last_event, part.last_event) if at is not None), default=None)
        self._unite_habit(int.from_bytes(part.habit, "little"), part.origin)
        for day, counts in part.days:
            self.dirty_days.add(day)
            bucket = self.days.setdefault(day, {})
            for signal, count in counts.items():
                bucket[signal] = bucket.get(signal, 0) + count
                if len(bucket) > BUCKET_FEATURES:
                    _keep_smallest(bucket)
        for spelled, place, mask in part.users:
            dirty = self._unite_user(spelled, place, mask)
            if dirty is not None:
                self.dirty_users.add(dirty)
        for name, value, stamp, event_id, source, day in part.facts:
            self.learn(name, Fact(value, stamp, event_id, source, day))
        for day, stamp, call in part.lasts:
            self.lasts[day] = max(self.lasts.get(day, (from_us(stamp), call)), (from_us(stamp), call))
        self.lasts = dict(sorted(self.lasts.items())[-LAST_DAYS:])
        for family, day in part.reported.items():
            self.reported[family] = max(day, self.reported.get(family, day))

    def _unite_habit(self, mask: int, origin: int) -> None:
        if not mask:
            return
        first = min(origin, self.origin) if self.active else origin
        self.active = (self.active << self.origin - first if self.active else 0) | mask << origin - first
        self.origin = first

    def learn(self, name: str, fact: Fact) -> None:
        """Keep `fact` if it is the latest of its day; the last version of each day stays until a close has passed it."""
        versions = self.facts.get(name, [])
        same = next((old for old in versions if old.day == fact.day), None)
        if same is not None and same.stamp >= fact.stamp:
            return
        kept = [old for old in versions if old is not same]
        self.facts[name] = sorted([*kept, fact], key=lambda version: version.stamp, reverse=True)
        if name == OWNER and self.facts[name][0] is fact and (not versions or versions[0].value != fact.value):
            self.dirty_owners.append(fact)
        self.dirty_facts.add(name)
        self.live = None

    def prune(self, day: int) -> None:
        """Forget what no evaluation after the close of `day` can see."""
        kept = self.kept_from(day)
        while self.days and (past := min(self.days)) < kept:
            del self.days[past]
            # Windows that end at the last use stand still while the account is silent: their sums would count this day for ever.
            if self.memory.outages or self.last_active != day:
                self.memo.clear()
        first = kept // BLOCK_DAYS
        for blocks in (self.blocks, *self.teams.values()):
            while blocks and (past := min(blocks)) < first:
                del blocks[past]
                self.crowds.clear()
        for name, versions in self.facts.items():
            if len(versions) > 1 and versions[-2].day <= day:
                self.facts[name] = _visible_after(versions, day)
                self.dirty_facts.add(name)
        if len(self.lasts) > 1:
            keep = max((past for past in self.lasts if past <= day), default=day)
            self.lasts = {past: last for past, last in self.lasts.items() if past >= keep}
        if self.origin <= day - HABIT_DAYS:
            self._prune_habit(day - HABIT_DAYS)

    def kept_from(self, day: int) -> int:
        """Return the first day of which counts and users are kept after the close of `day`: days of outages are no time that passed."""
        return 1 + (outages.day_at(self.memory.outages, day - RETENTION_DAYS) if self.memory.outages else day - RETENTION_DAYS)

    def _prune_habit(self, oldest: int) -> None:
        if not self.active:
            return
        self.memo.clear()
        self.active >>= oldest + 1 - self.origin
        self.origin = oldest + 1
        trailing = (self.active & -self.active).bit_length() - 1 if self.active else 0
        self.active >>= trailing
        self.origin += trailing

    def rows(self) -> StateRows:
        """Return what changed since `clean()`, as rows in a fixed order."""
        days, users, facts = self.dirty_days, self.dirty_users, self.dirty_facts
        return StateRows(
            self._row(),
            [DayRow(self.account, day, _encode(self.days[day])) for day in sorted(days) if day in self.days] if days else [],
            [self._user_row(*dirty) for dirty in sorted(users) if dirty[2] in self._blocks_of(dirty[0])] if users else [],
            [FactRow(self.account, name, _encode(self.facts[name])) for name in sorted(facts)] if facts else [],
        )

    def _blocks_of(self, signal: str) -> dict[int, dict[str, int]]:
        return self.teams.get(signal, {}) if signal else self.blocks

    def user_rows(self) -> list[UserRow]:
        """Return the masks of all users as they are stored, in a fixed order."""
        return [self._user_row(*one) for one in sorted(self._users())]

    def gone_rows(self) -> list[UserRow]:
        """Return the users, as they are stored, who made room for others since `clean()`."""
        return [self._user_row(*one) for one in sorted(self.gone_users)]

    def _users(self) -> set[tuple[str, str, int]]:
        return {(signal, user, block) for signal in ("", *self.teams) for block, users in self._blocks_of(signal).items() for user in users}

    def _user_row(self, signal: str, user: str, block: int) -> UserRow:
        mask = self._blocks_of(signal).get(block, {}).get(user, 0)
        return UserRow(self.account, f"{signal} {user}" if signal else user, block + TEAM_BLOCKS if signal else block, mask)

    def _unite_user(self, spelled: str, place: int, mask: int) -> tuple[str, str, int] | None:
        signal, user = spelled.split(" ", 1) if place >= TEAM_BLOCKS else ("", spelled)
        block = place % TEAM_BLOCKS
        users = (self.teams.setdefault(signal, {}) if signal else self.blocks).setdefault(block, {})
        if len(users) >= BLOCK_USERS and user not in users and not self._makes_room(signal, block, users, user):
            return None
        users[user] = users.get(user, 0) | mask
        return signal, user, block

    def _row(self) -> StateRow:
        rest = _encode(_Rest(self.memory, sorted(self.lasts.items()), self.reported, self.held, self.merged_into, self.published))
        habit = self.active.to_bytes((self.active.bit_length() + 7) // 8, "little")
        first, last, origin = self.first_day, self.last_active, self.origin if self.active else 0
        seen = None if self.last_event is None else to_us(self.last_event)
        return StateRow(self.account, first, last, seen, self.events_total, origin, habit, self.segment, rest)

    def mark_all(self) -> None:
        """Make `rows()` return everything: for digests, and for copies."""
        self.dirty_days = set(self.days)
        self.dirty_users = self._users()
        self.dirty_facts = set(self.facts)

    def clean(self) -> None:
        """Note that everything is written."""
        self.dirty_days.clear()
        self.dirty_users.clear()
        self.gone_users.clear()
        self.dirty_facts.clear()
        self.dirty_owners.clear()

    @classmethod
    def stored(
        cls, row: StateRow, days: dict[int, dict[str, int]], users: Iterable[tuple[str, int, int]], facts: dict[str, list[Fact]]
    ) -> "AccountState":
        """Return the state that was written as these rows: days and facts by name, users as they are spelled there."""
        rest = _rest_decoder.decode(row.rest)
        state = cls(
            account=row.account,
            first_day=row.first_day,
            last_active=row.last_active,
            last_event=None if row.last_event_us is None else from_us(row.last_event_us),
            events_total=row.events_total,
            origin=row.origin,
            active=int.from_bytes(row.habit, "little"),
            segment=row.segment,
            held=rest.held,
            merged_into=rest.merged_into,
            published=rest.published,
            days=days,
            facts=facts,
            lasts=dict(rest.lasts),
            reported=rest.reported,
            memory=rest.memory,
        )
        for user in users:
            state._unite_user(*user)
        return state


def _keep_smallest(bucket: dict[str, int]) -> None:
    # A name among the smallest of all is among the smallest of any part, so it is never dropped and its count is exact.
    features = [name for name in bucket if name.startswith(FEATURE_PREFIX)]
    if len(features) > BUCKET_FEATURES:
        del bucket[max(features, key=lambda name: (crc32(name.encode()), name))]


def _visible_after(versions: list[Fact], day: int) -> list[Fact]:
    later = [version for version in versions if version.day > day]
    return [*later, *[version for version in versions if version.day <= day][:1]]


def counted(account: str, first_day: int | None, origin: int, habit: bytes, segment: str, rest: bytes, parent: str | None) -> Counted:
    """Return what the day record asks of an account that was written like this."""
    said = _said_decoder.decode(rest)
    return Counted(account, first_day, origin, int.from_bytes(habit, "little"), segment, said.held, said.reported, said.memory, parent)


def retold(made: bytes, told: bytes, settle_closes: int) -> tuple[bytes, bool]:
    """Return the `rest` of a recomputed account with the band and sequence that people were told, and whether that band is another one.

    Then its next close tells the band it should be in, as a correction: silently.
    """
    rest, before = _rest_decoder.decode(made), _rest_decoder.decode(told).memory
    moved = rest.memory.band is not before.band
    memory = msgspec.structs.replace(
        rest.memory,
        **{name: getattr(before, name) for name in ("band", "since", "previous_since", "sequence", "entered", "entered_score")},
        **({"mark": Cause.CATCH_UP, "mark_left": settle_closes} if moved else {}),
    )
    return _encode(msgspec.structs.replace(rest, memory=memory)), moved
