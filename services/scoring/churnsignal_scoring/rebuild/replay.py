"""Flow. Fill the workbench: the tail of the log through the same steps as live, closing each day where it was closed, and publishing nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import structlog
from churnsignal_common.clock import Clock
from churnsignal_common.contracts.envelope import envelope_decoder
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.topics import USAGE_TOPICS
from churnsignal_common.runtime.attempt import attempt

from churnsignal_scoring.batch import Batch, Polled
from churnsignal_scoring.closes import Closes
from churnsignal_scoring.decode import UNREADABLE
from churnsignal_scoring.effects import OutboxRow
from churnsignal_scoring.health.days import DayZone
from churnsignal_scoring.memory import Memory
from churnsignal_scoring.rebuild.tail import Tail, TailError
from churnsignal_scoring.rebuild.target import RecordedClose, Target
from churnsignal_scoring.takeover import Takeover

log = structlog.get_logger()


class Muted:
    """The way out of a rebuild: everything counts as published, and nothing is."""

    def __init__(self) -> None:
        self.taken = self.acknowledged = 0
        self._done: list[int] = []

    @property
    def has_room(self) -> bool:
        return True

    def publish(self, rows: list[OutboxRow]) -> None:
        self._done.extend(row.id for row in rows)

    def take_published(self) -> list[int]:
        done, self._done = self._done, []
        return done

    def forget(self) -> None:
        self._done.clear()


class Moment(Clock):
    """The time of what is being replayed: when the newest call of the batch was received, or when the day closed."""

    def __init__(self) -> None:
        self._now = datetime(1970, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def reach(self, moment: datetime) -> None:
        self._now = max(self._now, moment)


Said = Callable[[int, int], None]
"""Whoever wants to know how far it has come: the day closed last, and the records read."""


@dataclass(frozen=True, slots=True)
class Works:
    """The steps of live scoring, on the workbench's tables."""

    batch: Batch
    closes: Closes
    takeover: Takeover
    memory: Memory
    zone: DayZone
    moment: Moment


class Replay:
    """One rebuild. It owns all partitions of the workbench."""

    def __init__(self, works: Works, tail: Tail, partitions: int, said: Said) -> None:
        self._works = works
        self._tail = tail
        self._partitions = list(range(partitions))
        self._said = said
        self.records = 0

    async def run(self, target: Target) -> None:
        """Replay until `target`; raises `TailError` when the log does not reach back far enough."""
        await self._check(target)
        await self._begin(target)
        for day, recorded in target.days.items():
            await self._read_to({place: end for one in recorded for place, end in one.positions.items()})
            await self._close(day, recorded, target)
            self._said(day, self.records)
        await self._read_to(target.ends)

    async def _check(self, target: Target) -> None:
        first, _ = await self._tail.bounds(sorted(target.ends))
        for place, start in target.starts.items():
            if start < target.ends[place] and first[place] > start:
                raise TailError(
                    f"{place.topic} partition {place.partition} begins at {first[place]}, but the replay needs it from {start}: "
                    "start from a newer checkpoint, and keep the topic longer than a checkpoint"
                )

    async def _begin(self, target: Target) -> None:
        await self._works.takeover.claim(self._partitions, target.starts, target.ends)
        for day, record in target.records.items():
            self._works.memory.ledger.records[day] = record

    async def _read_to(self, ends: dict[Place, int]) -> None:
        positions = {place: self._works.memory.positions[place] for place in ends}
        async for polled in self._tail.read(positions, ends):
            self._works.moment.reach(_newest(polled))
            await self._process(polled)
            self.records += sum(len(records) for _, records in polled)

    async def _process(self, polled: Polled) -> None:
        error = await attempt(self._run(polled))
        if error is None:
            return
        # As live does: find the one record that our own code cannot bear, and bury it.
        log.warning("batch_failed", error=type(error).__name__)
        for place, records in polled:
            for record in records:
                await self._begin_again()
                if record.offset < self._works.memory.positions[place]:
                    continue
                error = await attempt(self._run([(place, [record])]))
                if error is not None:
                    await self._begin_again()
                    await self._works.batch.bury(
                        place, record, "unprocessable", f"scoring failed on this record with {type(error).__name__}"
                    )

    async def _run(self, polled: Polled) -> None:
        await self._works.batch.run(polled)

    async def _begin_again(self) -> None:
        records = dict(self._works.memory.ledger.records)
        places = [Place(topic, partition) for topic in USAGE_TOPICS for partition in self._partitions]
        known = dict(self._works.memory.positions)
        await self._works.takeover.claim(self._partitions, {place: known.get(place, 0) for place in places}, dict.fromkeys(places, 2**62))
        self._works.memory.ledger.records.update(records)

    async def _close(self, day: int, recorded: list[RecordedClose], target: Target) -> None:
        ledger = self._works.memory.ledger
        ledger.learn(day, target.records[day])
        self._works.moment.reach(self._works.zone.end_of(day))
        for one in recorded:
            ledger.partitions[one.partition].recorded = day
            ledger.partitions[one.partition].cause = one.cause
        partitions = [one.partition for one in recorded]
        while any(ledger.partitions[partition].done < day for partition in partitions):
            await self._works.closes.visit(day, partitions)


def _newest(polled: Polled) -> datetime:
    moments = [moment for _, records in polled for record in records[-1:] if (moment := _received(record.value)) is not None]
    return max(moments, default=datetime(1970, 1, 1, tzinfo=UTC))


def _received(value: bytes | None) -> datetime | None:
    try:
        return envelope_decoder.decode(value or b"").received_at
    except (*UNREADABLE, msgspec.ValidationError):
        return None
