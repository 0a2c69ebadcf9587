"""Pure. Alerts without its doors: the real decisions, rows in memory as Postgres would keep them, providers that fail when told to.

What decides is the service's own (plan, route, gather, wanted, settle). What is written here is only what the doors do: keep rows, unique
keys and states, hand a message over, and forget the result of a hand-over when the process dies.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from zoneinfo import ZoneInfo

from churnsignal_alerts.act import Answer, Command
from churnsignal_alerts.backoff import BACKOFF
from churnsignal_alerts.compose import Content, wanted
from churnsignal_alerts.decide import Verdict
from churnsignal_alerts.delivery import Delivery, Record
from churnsignal_alerts.directory import Channel, zone_of
from churnsignal_alerts.episodes import CALLS, ENDINGS, Entry, Episode, Kind, NoticeKind, State
from churnsignal_alerts.gather import Waiting, gather
from churnsignal_alerts.mute import Silence, by_parent, of_silence
from churnsignal_alerts.outcome import Outcome, Refused, Retry, Sent, Unknown
from churnsignal_alerts.plan import (
    BURST,
    Notice,
    Plan,
    Scene,
    Spent,
    plan_away,
    plan_change,
    plan_command,
    plan_due,
    plan_muted,
    plan_profile,
    ration,
    rationed,
)
from churnsignal_alerts.policy import POOL
from churnsignal_alerts.route import Setup, absent, day_of, priority, shared
from churnsignal_alerts.settle import Attempt, next_way, settle
from churnsignal_common.contracts.risk import AccountProfile, RiskChanged

LEASE = timedelta(seconds=60)
# Trying a dead channel every five minutes of a year would be most of what is computed.
PATIENT = replace(BACKOFF, most=timedelta(hours=1))
# What waits for the digest when it is more than the budget of the day.
COUNTED = frozenset({NoticeKind.RISK, NoticeKind.REOPENED, NoticeKind.WORSE, NoticeKind.RECOVERY, NoticeKind.UNSCORED})
# The first words about a fall: nobody should hear two of them in one round on one channel.
FIRST = frozenset({NoticeKind.RISK, NoticeKind.SUMMARY, NoticeKind.LINE, NoticeKind.DIGEST, NoticeKind.REOPENED})


@dataclass(slots=True)
class Row:
    """One notice as the queue keeps it."""

    notice: Notice
    recipient: str
    channel: Channel
    address: str
    due_at: datetime
    made_at: datetime
    priority: int
    state: str = "queued"
    delivery: int | None = None
    sent_at: datetime | None = None

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        return self.notice.episode, self.notice.kind, self.notice.round, self.recipient, self.channel


@dataclass(slots=True)
class Message:
    """One delivery as the queue keeps it; `crashed`: its sender died, and the lease has to run out."""

    delivery: Delivery
    rows: list[Row]
    state: str = "sending"
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What a provider has: who was told what, when; `again`: it says itself that it may be a repetition."""

    at: datetime
    recipient: str
    channel: Channel
    address: str
    message: int
    told: tuple[tuple[str, NoticeKind, int], ...]
    again: bool


@dataclass(frozen=True, slots=True)
class Owed:
    """Somebody must hear of this fall."""

    episode: str
    since: datetime
    due_at: datetime


Fault = Callable[[Channel, datetime], str]


def healthy(_channel: Channel, _now: datetime) -> str:
    return "ok"


@dataclass(slots=True)
class Life:
    """One deployment. `fault` says what a provider does: ok, busy, refuse, die (we, before it), lost (accepted, no answer) or crash (accepted, then we die)."""

    setup: Setup
    now: datetime
    fault: Fault = healthy
    episodes: dict[str, Episode] = field(default_factory=dict)
    newest: dict[tuple[str, Kind], str] = field(default_factory=dict)
    profiles: dict[str, AccountProfile] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    owed: list[Owed] = field(default_factory=list)
    entries: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    crashes: int = 0
    # How many first words of a fall somebody heard twice on one channel, flagged repetitions aside.
    twice: int = 0
    _keys: set[tuple[str, str, int, str, str]] = field(default_factory=set)
    _later: list[tuple[datetime, int, Row]] = field(default_factory=list)
    _ready: list[Row] = field(default_factory=list)
    _rows_of: dict[str, list[Row]] = field(default_factory=dict)
    _times: list[datetime] = field(default_factory=list)
    _steps: list[tuple[datetime, str]] = field(default_factory=list)
    _active: set[str] = field(default_factory=set)
    _saved: set[str] = field(default_factory=set)
    _absent: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    _numbers: int = 0
    _order: Iterator[int] = field(default_factory=count)
    _heard: set[tuple[str, NoticeKind, int, str, Channel]] = field(default_factory=set)
    _works: dict[Channel, bool] = field(default_factory=dict)

    # What comes in.

    def change(self, change: RiskChanged) -> None:
        account = change.account.account
        self.profiles[account] = change.account
        newest = {kind: self.see(self.newest[account, kind]) for kind in Kind if (account, kind) in self.newest}
        plans, _ = plan_change(change, newest, self._scene(change.account))
        for plan in plans:
            self._save(plan)

    def own(self, profile: AccountProfile) -> None:
        self.profiles[profile.account] = profile
        for kind in Kind:
            if ident := self.newest.get((profile.account, kind)):
                self._maybe(plan_profile(self.see(ident), profile, self._scene(profile)))

    def command(self, ident: str, command: Command) -> Answer:
        plan, answer = plan_command(self.see(ident), command, self.setup, self.now)
        self._maybe(plan)
        return answer

    def silence(self, silence: Silence) -> None:
        self.setup = replace(self.setup, silences=(*self.setup.silences, silence))
        for ident in sorted(self._active):
            episode = self.see(ident)
            if episode.state is State.OPEN and silence.matcher.fits(episode.kind, episode.change.account):
                self._save(plan_muted(episode, of_silence(silence), None, self.now))

    def people(self, setup: Setup) -> None:
        self.setup = replace(setup, silences=self.setup.silences)
        for csm in setup.directory.csms.values():
            if csm.away_until is not None:
                # The service looks every second; here time jumps, and must not jump over a return.
                self._at(
                    datetime.combine(csm.away_until + timedelta(days=1), time(0), zone_of(csm.zone, setup.policy.zone)).astimezone(UTC)
                )
        self._move()

    def run_until(self, end: datetime) -> None:
        """Let time pass, stopping at each moment at which something is due."""
        while True:
            self.turn()
            while self._times and self._times[0] <= self.now:
                heapq.heappop(self._times)
            if not self._times or self._times[0] > end:
                break
            self.now = heapq.heappop(self._times)
        self.now = max(self.now, end)
        self.turn()

    def turn(self) -> None:
        """Do what housekeeping and the sender do in one turn."""
        self._move()
        due = set()
        while self._steps and self._steps[0][0] <= self.now:
            due.add(heapq.heappop(self._steps))
        for at, ident in sorted(due):
            episode = self.see(ident)
            if episode.active and episode.next_at == at:
                self._maybe(plan_due(episode, self._scene(episode.change.account)))
        self._deliver()

    # What the doors do.

    def see(self, ident: str) -> Episode:
        """Return an episode as it is read: with what was told of it."""
        episode = self.episodes[ident]
        told, over = self.told(ident), any(r.notice.kind in ENDINGS and r.notice.round == episode.flips for r in self._left(ident))
        return episode if (told, over) == (episode.told, episode.over_told) else replace(episode, told=told, over_told=over)

    def told(self, ident: str) -> bool:
        """Return whether somebody was told of an episode, or is being told."""
        return any(r.notice.kind in CALLS or r.notice.kind is NoticeKind.DIGEST for r in self._left(ident))

    def _left(self, ident: str) -> list[Row]:
        return [row for row in self.rows.get(ident, ()) if row.state in ("sending", "sent")]

    def active(self, account: str) -> list[Episode]:
        return [self.episodes[i] for i in self._active if self.episodes[i].account == account]

    def queued(self) -> list[Row]:
        return [row for row in (*self._ready, *(row for _, _, row in self._later)) if row.state == "queued"]

    def _scene(self, profile: AccountProfile) -> Scene:
        parent = self.newest.get((profile.parent or "", Kind.RISK))
        return Scene(self.setup, self.now, frozenset({profile.parent or ""}) if parent in self._active else frozenset())

    def _maybe(self, plan: Plan | None) -> None:
        if plan is not None:
            self._save(plan)

    def _save(self, plan: Plan) -> None:
        scene = self._scene(plan.episode.change.account)
        if (counted := rationed(plan, scene)) is not None:
            plan = ration(plan, counted, self._spent(counted), scene)
        episode = plan.episode
        before = self.episodes.get(episode.id)
        if before is not None and episode.rung not in (before.rung, before.rung + 1, 0):
            pool = shared(episode.change.account, scene.setup).recipient
            if episode.rung != before.rung + 2 or pool not in [notice.recipient for notice in plan.notices]:
                raise AssertionError(f"a step was left out: {before.rung} -> {episode.rung}")
        self.episodes[episode.id] = episode
        self.newest[episode.account, episode.kind] = episode.id
        (self._active.add if episode.active else self._active.discard)(episode.id)
        self._saved.add(episode.id)
        self._step(episode.id, episode.next_at)
        self.entries[episode.id] += plan.entries
        if episode.kind is Kind.RISK and not episode.active:
            for child in [e for e in self._active if self.episodes[e].muted == by_parent(episode.account)]:
                self.episodes[child] = replace(self.episodes[child], next_at=self.now)
                self._step(child, self.now)
        if plan.cancel:
            for row in self.rows.get(episode.id, ()):
                row.state = "cancelled" if row.state == "queued" else row.state
        for notice in plan.notices:
            self._queue_up(notice, episode)

    def _spent(self, counted: Notice) -> Spent:
        begin, end = day_of(counted.recipient, counted.due_at)
        rows = [
            row for row in self._rows_of.get(counted.recipient.id, ())
            if row.channel is counted.channel and row.recipient == counted.recipient.id and begin <= row.due_at < end and row.notice.kind.alone
        ]  # fmt: skip
        left = {row.delivery for row in rows if row.state in ("sending", "sent")}
        last = [row.due_at for row in rows if row.state != "cancelled" and row.due_at <= counted.due_at + BURST]
        return Spent(len(left), sum(row.state == "queued" for row in rows), max(last, default=None))

    def _queue_up(self, notice: Notice, episode: Episode) -> None:
        rank = priority(episode.change, episode.touched_at)
        row = Row(notice, notice.recipient.id, notice.channel, notice.address, notice.due_at, self.now, rank)
        known = next((r for r in self.rows.get(notice.episode, ()) if r.key == row.key), None)
        if known is not None and known.state == "cancelled":
            self.rows[notice.episode].remove(known)
        elif row.key in self._keys:
            return
        self._keys.add(row.key)
        self.rows.setdefault(notice.episode, []).append(row)
        self._rows_of.setdefault(row.recipient, []).append(row)
        self._wait(row)
        if notice.kind in CALLS or notice.kind is NoticeKind.DIGEST:
            self.owed.append(Owed(notice.episode, self.now, notice.due_at))

    def _at(self, moment: datetime | None) -> None:
        if moment is not None and moment > self.now:
            heapq.heappush(self._times, moment)

    def _step(self, ident: str, moment: datetime | None) -> None:
        if moment is not None:
            heapq.heappush(self._steps, (moment, ident))
            self._at(moment)

    def _wait(self, row: Row) -> None:
        heapq.heappush(self._later, (row.due_at, next(self._order), row))
        self._at(row.due_at)

    def _move(self) -> None:
        gone, here = (frozenset(ids) for ids in absent(self.setup, self.now))
        # Whoever came or went concerns every episode; otherwise only those that changed meanwhile can be with the wrong person.
        moved, self._absent, self._saved = (
            (self._active if (gone, here) != self._absent else self._saved & self._active),
            (gone, here),
            set(),
        )
        for ident in sorted(moved):
            e = self.episodes[ident]
            if e.csm in gone or (e.stands_for in here and e.state is not State.ACKNOWLEDGED):
                episode = self.see(ident)
                self._maybe(plan_away(episode, self._scene(episode.change.account)))

    def _deliver(self) -> None:
        for message in self.messages:
            if message.not_before is not None and message.not_before <= self.now:
                message.delivery = replace(message.delivery, attempts=message.delivery.attempts + 1)
                message.state, message.not_before = "sending", None
                self._attempt(message)
        self.messages = [message for message in self.messages if message.state in ("sending", "retry")]
        while fresh := self._claim():
            for message in fresh:
                self.messages.append(message)
                self._attempt(message)

    def _claim(self) -> list[Message]:
        while self._later and self._later[0][0] <= self.now:
            self._ready.append(heapq.heappop(self._later)[2])
        if not self._ready:
            return []
        busy = {(r.notice.episode, r.channel, r.address) for m in self.messages for r in m.rows if r.state == "sending"}
        places: dict[tuple[Channel, str], list[Row]] = {}
        for row in self._ready:
            if row.state == "queued" and (row.notice.episode, row.channel, row.address) not in busy:
                places.setdefault((row.channel, row.address), []).append(row)
        messages = [self._message(waiting) for waiting in places.values()]
        self._ready = [row for row in self._ready if row.state == "queued"]
        return messages

    def _message(self, waiting: list[Row]) -> Message:
        ranked = sorted(waiting, key=lambda row: -row.priority)
        ids = gather([Waiting(place, row.notice.kind) for place, row in enumerate(ranked)], self.setup.policy.merge_from)
        rows, who = [ranked[place] for place in ids], ranked[ids[0]]
        self._numbers += 1
        number = self._numbers
        for row in rows:
            row.state, row.delivery = "sending", number
        zone = who.notice.recipient.zone.key
        delivery = Delivery(
            number,
            1,
            who.recipient,
            who.recipient,
            who.channel,
            who.address,
            "en",
            zone,
            1,
            self.now,
            unknown=False,
            possible_duplicate=False,
            key="",
        )
        return Message(delivery, rows)

    def _attempt(self, message: Message) -> None:
        delivery, mine = message.delivery, [row for row in message.rows if row.state == "sending"]
        keep = [row for row in mine if wanted(Content(0, row.notice.kind, self.episodes[row.notice.episode]), self.now)]
        for row in mine:
            if row not in keep:
                row.state = "cancelled"
        if not keep:
            message.state = "cancelled"
            return
        here = delivery.channel in self.setup.channels
        found = here and delivery.unknown and delivery.channel is Channel.SLACK and any(h.message == delivery.id for h in self.heard)
        again = delivery.unknown and delivery.channel is Channel.EMAIL
        outcome = Sent("found") if found else self._hand_over(message, keep, again=again) if here else Refused("not configured any more")
        if outcome is None:
            message.not_before = self.now + LEASE
            self._at(message.not_before)
            return
        way = next_way(delivery, self.setup)
        episodes = tuple(sorted({row.notice.episode for row in keep}))
        self._works[delivery.channel] = isinstance(outcome, (Sent, Refused))
        works = way is not None and self._works.get(way.channel, True)
        again = again or delivery.possible_duplicate
        tried = Attempt(0, self.now - delivery.first_try, way, works, again, episodes)
        self._record(message, settle(delivery, outcome, tried, PATIENT))

    def _hand_over(self, message: Message, rows: list[Row], *, again: bool) -> Outcome | None:
        delivery = message.delivery
        does = self.fault(delivery.channel, self.now)
        if does == "busy":
            return Retry("busy", 30.0)
        if does == "refuse":
            return Refused("gone")
        if does == "die":
            self.crashes += 1
            return None
        told = tuple((r.notice.episode, r.notice.kind, r.notice.round) for r in rows)
        late = [r.notice.episode for r in rows if r.notice.kind in CALLS and not self.episodes[r.notice.episode].active]
        if late:
            raise AssertionError(f"a call to act on {late} after their end")
        self.heard.append(Heard(self.now, delivery.recipient, delivery.channel, delivery.address, delivery.id, told, again))
        first = {(*one, delivery.recipient, delivery.channel) for one in told if one[1] in FIRST}
        self.twice += 0 if again else len(first & self._heard)
        self._heard |= first
        if does == "crash":
            self.crashes += 1
            message.delivery = replace(delivery, unknown=True)
            return None
        return Unknown("no answer") if does == "lost" else Sent("ref")

    def _record(self, message: Message, record: Record) -> None:
        message.state, message.delivery = record.state, replace(message.delivery, unknown=bool(record.unknown))
        message.not_before = self.now + record.wait if record.wait is not None else None
        self._at(message.not_before)
        for row in [row for row in message.rows if row.state == "sending"]:
            if record.reroute is not None:
                self._reroute(row, record)
            elif record.state in ("sent", "failed", "cancelled"):
                row.state, row.sent_at = record.state, self.now if record.state == "sent" else None

    def _reroute(self, row: Row, record: Record) -> None:
        assert record.reroute is not None
        way = record.reroute
        key = (row.notice.episode, row.notice.kind, row.notice.round, way.recipient, way.channel)
        if key in self._keys:
            row.state = "cancelled"
            for twin in self.rows[row.notice.episode]:
                if twin.state == "cancelled" and (twin.notice.kind, twin.notice.round, twin.recipient, twin.channel) == key[1:]:
                    twin.address, twin.state, twin.delivery, twin.due_at = way.address, "queued", None, row.due_at
                    self._wait(twin)
            return
        self._keys.discard(row.key)
        self._keys.add(key)
        row.recipient, row.channel, row.address, row.state, row.delivery = way.recipient, way.channel, way.address, "queued", None
        self._wait(row)

    # What must hold.

    def silent_falls(self) -> list[Owed]:
        """Return falls that nobody heard of, though nothing muted them, nobody acted and no failure shows."""
        return [owed for owed in self.owed if not self._heard_or_excused(owed, self.entries[owed.episode])]

    def _heard_or_excused(self, owed: Owed, happened: list[Entry]) -> bool:
        rows = [r for r in self.rows[owed.episode] if r.made_at >= owed.since or r.state == "sent"]
        if any(r.state == "failed" or (r.sent_at is not None and r.sent_at >= owed.since) for r in rows):
            return True
        if any(r.state in {"queued", "sending"} for r in rows):
            return False
        # Void, because a person acted, it is or ended muted, it became worse and the other kind tells, or what was found, or the customer, is gone.
        after = [e for e in happened if e.at >= owed.since]
        words = {Verdict.OVERTAKEN.value, Verdict.PASSED.value, "the account is churned"}
        quiet = bool(self.episodes[owed.episode].muted) or _ended_muted(happened, owed.since)
        return quiet or any(e.actor != "churnsignal" or e.why in words for e in after)

    def most_a_day(self) -> int:
        """Return how many messages that the budget counts somebody was told at most on one day."""
        days: dict[tuple[str, datetime], set[int | None]] = {}
        for row in (row for rows in self.rows.values() for row in rows):
            who = row.notice.recipient
            if row.state == "sent" and row.channel is row.notice.channel and row.notice.kind in COUNTED and not who.id.startswith(POOL):
                days.setdefault((f"{who.id} {row.channel}", day_of(who, row.due_at)[0]), set()).add(row.delivery)
        return max(map(len, days.values()), default=0)


def working_time(start: datetime, end: datetime, opening: Callable[[datetime], datetime]) -> timedelta:
    """Return about how much of start..end was working time, to ten minutes: `opening` is the next one from a moment."""
    total, here, step = timedelta(0), start, timedelta(minutes=10)
    while here < end:
        opens = opening(here)
        if opens > here:
            here = opens
            continue
        total += min(step, end - here)
        here += step
    return total


def days(first: date, number: int) -> Iterable[datetime]:
    """Return the midnights of `number` days."""
    return (datetime(first.year, first.month, first.day, tzinfo=UTC) + timedelta(days=n) for n in range(number))


ZONES = tuple(
    ZoneInfo(name)
    for name in ("Asia/Tokyo", "Europe/London", "America/New_York", "America/Los_Angeles", "Europe/Berlin", "Australia/Sydney")
)


def _ended_muted(happened: list[Entry], since: datetime) -> bool:
    """Return whether an episode ended, at `since` or later, while something muted it."""
    muted = False
    for entry in happened:
        if entry.what == "ended" and muted and entry.at >= since:
            return True
        muted = entry.what == "muted" or (muted and entry.what == "changed")
    return False
