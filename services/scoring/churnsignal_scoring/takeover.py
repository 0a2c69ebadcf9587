"""Flow. Become the owner of partitions: raise the epoch, then read what the last owner has committed."""

from dataclasses import dataclass

import structlog
from churnsignal_common.clock import Clock
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.risk import Cause
from churnsignal_common.runtime import crash

from churnsignal_scoring import load
from churnsignal_scoring.doors import Doors
from churnsignal_scoring.effects import OutboxRow
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.days import DayZone
from churnsignal_scoring.ledger import RECORDS_KEPT, Closing, Ledger
from churnsignal_scoring.load import CloseMark
from churnsignal_scoring.memory import Memory

log = structlog.get_logger()
crash.declare("scoring.on_assignment", "scoring.after_claim")


class Misconfigured(Exception):
    """The deployment's data and this process's settings or topics do not fit; nothing is read until a person has decided."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """What is fixed for life when a deployment first runs."""

    zone: DayZone
    partitions: int


class Takeover:
    """The way into ownership, the same after a rebalance and after a transaction whose fate is unknown."""

    def __init__(self, engine: AccountEngine, partitions: int, clock: Clock, doors: Doors, memory: Memory) -> None:
        self._engine = engine
        self._configs = doors.configs
        self._fixed = Fixed(engine.zone, partitions)
        self._clock = clock
        self._store = doors.store
        self._load = doors.load
        self._memory = memory

    async def claim(self, partitions: list[int], starts: dict[Place, int], ends: dict[Place, int]) -> list[OutboxRow]:
        """Fill the memory as the new owner; return what was committed and perhaps not published."""
        memory = self._memory
        memory.forget()
        crash.point("scoring.on_assignment")
        await self._configs.seed(self._clock.now())
        first_day = self._fixed.zone.day_of(self._clock.now()) - 1
        async with self._store.transaction() as pg:
            epochs = await self._store.ownership.claim(pg, partitions)
            policy = await self._configs.claim(pg)
            facts = {"first_day": str(first_day), "day_zone": self._fixed.zone.name, "partitions": str(self._fixed.partitions)}
            settled = await load.deployment(pg, facts)
            _check(settled, facts)
            positions = await load.positions(pg, starts)
            stored = await load.stored_buckets(pg, partitions)
            parked = await load.parked(pg, partitions)
            marks = await load.close_marks(pg, partitions)
            left = await load.leftovers(pg, partitions)
        _check_positions(positions, ends)
        crash.point("scoring.after_claim")
        self._store.ownership.epochs = epochs
        self._engine.adopt(policy)
        memory.positions.update(positions)
        memory.seen.own(stored)
        memory.resolver.parked.update(parked)
        _fill(memory.ledger, partitions, int(settled["first_day"]), marks)
        # Of a partition that is far behind, what it closes next is fetched when it comes to it.
        for done, recorded in sorted({(closing.done, closing.recorded) for closing in memory.ledger.partitions.values()}, reverse=True):
            memory.ledger.records.update(await self._load.records(done - RECORDS_KEPT, recorded))
        log.info("partitions_claimed", partitions=len(partitions), unpublished=len(left))
        return left


def _check(settled: dict[str, str], facts: dict[str, str]) -> None:
    for name, variable in (("day_zone", "CHURNSIGNAL_DAY_ZONE"), ("partitions", "CHURNSIGNAL_PARTITIONS")):
        if settled[name] != facts[name]:
            raise Misconfigured(f"{variable} is {facts[name]}, but this database was begun with {settled[name]}; set it back")


def _check_positions(positions: dict[Place, int], ends: dict[Place, int]) -> None:
    for place, offset in positions.items():
        if offset > ends[place]:
            raise Misconfigured(
                f"{place.topic} partition {place.partition} ends at {ends[place]}, but {offset} was read before: was the topic made anew? "
                "Restore it, or start with an empty database"
            )


def _fill(ledger: Ledger, partitions: list[int], first_day: int, marks: list[CloseMark]) -> None:
    for partition in partitions:
        mine = {mark.stage: mark for mark in marks if mark.partition == partition}
        done = mine["done"].day if "done" in mine else first_day
        recorded = mine.get("recorded")
        resolved = mine.get("resolved")
        ledger.partitions[partition] = Closing(
            done=done,
            recorded=max(done, recorded.day if recorded else done),
            cause=Cause(recorded.cause) if recorded and recorded.cause else Cause.CLOSE,
            resolved=resolved.day if resolved else -1,
        )
