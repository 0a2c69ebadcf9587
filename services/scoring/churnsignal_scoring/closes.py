"""Flow. Close days: agree that the log of the day is read, fix the position, make the day record, then visit every account.

A day goes through four stages per partition. *resolved*: the calls without an account that were there when the day was due
have moved to their accounts. *recorded*: everything that was there after all partitions had resolved is applied; position and
sums are stored and the partition waits for the day record. *record*: the owner of partition 0 merges the sums. *done*: all
accounts are closed, in chunks between polls; an account touched meanwhile is closed by `apply` when it is touched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

import msgspec
import structlog
from asyncpg import UniqueViolationError
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.risk import Cause
from churnsignal_common.contracts.topics import SCORING_DAYS, USAGE_TOPICS, USAGE_UNRESOLVED
from churnsignal_common.runtime import crash

from churnsignal_scoring.conclude import Conclude
from churnsignal_scoring.doors import Doors
from churnsignal_scoring.effects import CloseRow, Effects
from churnsignal_scoring.health.days import to_date
from churnsignal_scoring.health.norms import Partial
from churnsignal_scoring.memory import Memory
from churnsignal_scoring.metrics import Metrics, count_effects
from churnsignal_scoring.sums import PartitionSums, by_hour, hours_of, merge_sums
from churnsignal_scoring.tidy import Tidy

log = structlog.get_logger()
crash.declare(
    "scoring.close_before_sums",
    "scoring.close_after_sums",
    "scoring.close_before_record",
    "scoring.close_after_record",
    "scoring.close_before_chunk",
    "scoring.close_after_chunk",
)

CHUNK_ACCOUNTS = 250
SUM_ACCOUNTS = 2_000
LOOK_AGAIN_S = 0.05
# Partitions whose sums are made stand still until the last one's are, so that few live batches may come between them.
STEP_S = 0.5
LATE_AT_LEAST = timedelta(minutes=5)
# Why a partition stands still: its day is recorded, and the day record is not there yet.
HOLD = "close"


@dataclass(frozen=True, slots=True)
class CloseRules:
    """`grace` after a day's end it is due; later than another grace it is late. `patience_s` is how long a stuck partition is waited for."""

    grace: timedelta
    patience_s: float
    partitions: int

    @property
    def late_after(self) -> timedelta:
        return self.grace + max(self.grace, LATE_AT_LEAST)


@dataclass(slots=True)
class Goal:
    """Offsets to reach before a stage of `day` is over, and the relay's mark to be acknowledged."""

    day: int
    stage: str
    partitions: tuple[int, ...]
    ends: dict[Place, int]
    relayed: int | None = None


class Closes:
    """The closes of the owned partitions, a bounded piece of work at a time."""

    def __init__(
        self,
        doors: Doors,
        rules: CloseRules,
        memory: Memory,
        conclude: Conclude,
        tidy: Tidy,
        metrics: Metrics,
        new_effects: Callable[[], Effects],
    ) -> None:
        self._feed = doors.feed
        self._store = doors.store
        self._load = doors.load
        self._relay = doors.relay
        self._rules = rules
        self._memory = memory
        self._residents = memory.residents
        self._ledger = memory.ledger
        self._positions = memory.positions
        self._conclude = conclude
        self._engine = conclude.engine
        self._tidy = tidy
        self._metrics = metrics
        self._new_effects = new_effects
        self.forget()

    def forget(self) -> None:
        """Begin anew from what is stored."""
        self._goal: Goal | None = None
        self._cursor: tuple[tuple[int, ...], str] = ((), "")
        self._look_at = 0.0
        self._metrics.days_behind.set(0)

    async def step(self) -> bool:
        """Do the next piece of the oldest open day, if it is due; return whether there is more to do at once."""
        day, due = self._ledger.next_day(), self._engine.zone.day_of(self._new_effects().now - self._rules.grace) - 1
        self._metrics.days_behind.set(0 if day is None else max(0, due - day + 1))
        if day is None or day > due:
            return False
        behind = {p: self._ledger.partitions[p] for p in self._ledger.behind(day)}
        recorded = [p for p, closing in behind.items() if closing.recorded >= day]
        if recorded and day in self._ledger.records:
            return await self.visit(day, recorded)
        if monotonic() < self._look_at:
            return False
        unresolved = [p for p, closing in behind.items() if closing.resolved < day and closing.recorded < day]
        resolved = [p for p, closing in behind.items() if closing.resolved >= day and closing.recorded < day]
        if unresolved:
            return await self._resolve(day, unresolved)
        if resolved:
            return await self._record(day, resolved)
        return await self._make_or_fetch_record(day, recorded)

    def _later(self) -> bool:
        self._look_at = monotonic() + LOOK_AGAIN_S
        return False

    async def _reached(self, day: int, stage: str, topics: tuple[str, ...], partitions: list[int]) -> bool:
        """Say whether we have read up to the logs' ends as they were when first asked in this stage."""
        wanted = tuple(partitions)
        if self._goal is None or (self._goal.day, self._goal.stage, self._goal.partitions) != (day, stage, wanted):
            ends = await self._feed.ends(topics, partitions)
            # Nothing closes while Kafka does not answer: the clock never outruns the log.
            if ends is None:
                return False
            self._goal = Goal(day, stage, wanted, ends)
        return all(self._positions[place] >= end for place, end in self._goal.ends.items())

    async def _resolve(self, day: int, partitions: list[int]) -> bool:
        if not await self._reached(day, "resolve", (USAGE_UNRESOLVED,), partitions):
            return self._later()
        assert self._goal is not None
        if self._goal.relayed is None:
            self._goal.relayed = self._relay.taken
        if self._relay.acknowledged < self._goal.relayed:
            return self._later()
        effects = self._new_effects()
        effects.partitions.update(partitions)
        effects.closes.extend(CloseRow(day, partition, "resolved") for partition in partitions)
        await self._store.save(effects)
        for partition in partitions:
            self._ledger.partitions[partition].resolved = day
        return True

    async def _record(self, day: int, partitions: list[int]) -> bool:
        parts = await self._load.parts(day)
        waited_s = max((part.waited_s for part in parts), default=0.0)
        if len(parts) < self._rules.partitions and waited_s < self._rules.patience_s:
            return self._later()
        if not await self._reached(day, "record", USAGE_TOPICS, partitions):
            return self._later()
        await self._tidy.before_close(day)
        crash.point("scoring.close_before_sums")
        effects = self._new_effects()
        cause = self._cause(day, effects.now)
        started = monotonic()
        for partition in partitions:
            effects.closes.append(await self._sum(day, partition, cause))
            effects.partitions.add(partition)
            if monotonic() - started > STEP_S:
                break
        await self._store.save(effects)
        crash.point("scoring.close_after_sums")
        for row in effects.closes:
            closing = self._ledger.partitions[row.partition]
            closing.recorded, closing.cause = day, cause
            if day not in self._ledger.records:
                self._feed.hold(HOLD, self._feed.places([row.partition]))
        return True

    def _cause(self, day: int, now: datetime) -> Cause:
        return Cause.CATCH_UP if now >= self._engine.zone.end_of(day) + self._rules.late_after else Cause.CLOSE

    async def _sum(self, day: int, partition: int, cause: Cause) -> CloseRow:
        partials: list[Partial] = []
        after = ""
        while accounts := await self._load.counted(partition, after, SUM_ACCOUNTS):
            partials.append(self._engine.partial(accounts, day))
            after = accounts[-1].account
        hours = hours_of(self._engine.zone, day)
        sums = PartitionSums(partials, by_hour(await self._load.source_calls(partition, hours), hours))
        positions = {topic: self._positions[Place(topic, partition)] for topic in USAGE_TOPICS}
        return CloseRow(day, partition, "recorded", cause.value, positions, sums.encode())

    async def _make_or_fetch_record(self, day: int, recorded: list[int]) -> bool:
        found = (await self._load.records(day, day)).get(day)
        if found is None and 0 in self._feed.owned:
            await self._make_record(day)
            found = (await self._load.records(day, day)).get(day)
        if found is None:
            return self._later()
        self._ledger.learn(day, found)
        self._feed.release(HOLD, self._feed.places(recorded))
        return True

    async def _make_record(self, day: int) -> None:
        parts = await self._load.parts(day)
        ready = {part.partition: part.partial for part in parts if part.partial is not None}
        waited_s = max((part.waited_s for part in parts), default=0.0)
        left_out = tuple(sorted(set(range(self._rules.partitions)) - ready.keys()))
        if left_out and waited_s < 2 * self._rules.patience_s:
            return
        crash.point("scoring.close_before_record")
        partials, sources = merge_sums(ready.values())
        effects = self._new_effects()
        previous = {known: record for known, record in self._ledger.records.items() if known < day}
        record = self._engine.merge(day, partials, sources, previous, effects.now, left_out, await self._load.retired())
        body = msgspec.json.encode(record)
        effects.partitions.add(0)
        effects.record = (day, body)
        effects.send(0, SCORING_DAYS, 0, to_date(day).isoformat(), body)
        try:
            self._relay.publish(await self._store.save(effects))
        except UniqueViolationError:
            log.info("day_record_exists", day=day)
        crash.point("scoring.close_after_record")
        if left_out:
            log.error("day_record_without_partitions", day=to_date(day).isoformat(), left_out=left_out)
        if record.omitted:
            log.error("day_record_without_room", day=to_date(day).isoformat(), omitted=record.omitted)

    async def visit(self, day: int, partitions: list[int]) -> bool:
        """Close the next accounts by name; the last chunk also ends the day for these partitions."""
        group = tuple(partitions)
        after = self._cursor[1] if self._cursor[0] == group else ""
        names = await self._load.unclosed(partitions, after, day, CHUNK_ACCOUNTS)
        missing = self._residents.missing(names)
        loaded = {one.state.account: one for one in (await self._load.residents(missing) if missing else ())}
        # A close looks at every account, and must not push those out of memory that calls come for.
        residents = [loaded[name] if name in loaded else self._residents.peek(name) for name in names]
        crash.point("scoring.close_before_chunk")
        effects = self._new_effects()
        effects.partitions.update(partitions)
        effects.changes_from = self._tidy.changes_from(day)
        for resident in residents:
            self._conclude.close(resident, effects)
        last = len(names) < CHUNK_ACCOUNTS and not await self._tidy.reject_expired(day, partitions, effects)
        if last:
            effects.closes.extend(CloseRow(day, partition, "done") for partition in partitions)
            self._tidy.at_close(day, partitions, effects)
        self._relay.publish(await self._store.save(effects))
        crash.point("scoring.close_after_chunk")
        for row in effects.accounts.values():
            row.state.clean()
        self._residents.keep(residents)
        self._memory.resolver.committed(effects)
        count_effects(self._metrics, effects)
        self._cursor = (group, names[-1] if names else after)
        if last:
            self._finish(day, partitions)
        return True

    def _finish(self, day: int, partitions: list[int]) -> None:
        for partition in partitions:
            self._ledger.partitions[partition].done = day
        self._cursor = ((), "")
        log.info("day_closed", day=to_date(day).isoformat(), partitions=len(partitions))
