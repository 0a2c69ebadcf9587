"""Flow. Recompute the state from a checkpoint and the log, compare it with what is stored, and put it in its place when told to."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from churnsignal_common.postgres.engine import RawConnection

from churnsignal_scoring.ledger import RECORDS_KEPT
from churnsignal_scoring.ownership import Ownership
from churnsignal_scoring.rebuild.compare import Difference, differences
from churnsignal_scoring.rebuild.copies import (
    COMPARED,
    LIVE,
    UNSETTLED,
    WORKBENCH,
    Unsettled,
    checkpoints,
    drop,
    prepare_workbench,
    swap,
    take_checkpoint,
)
from churnsignal_scoring.rebuild.replay import Replay
from churnsignal_scoring.rebuild.target import read_target
from churnsignal_scoring.rebuild.told import keep_told

BEGINNING = "beginning"
PATIENCE_S = 120


class NoSuchCheckpoint(Exception):
    """The checkpoint to start from is not there; the message names those that are."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What was replayed and what came of it. `corrected` accounts are in another band than the one told; None: nothing was swapped."""

    start: str
    records: int
    days: int
    differences: list[Difference]
    corrected: int | None = None


async def settled(work: Callable[[], Awaitable[str]]) -> str:
    """Do `work` when no day is being closed."""
    for _ in range(PATIENCE_S):
        try:
            return await work()
        except Unsettled:
            await asyncio.sleep(1)
    return await work()


async def start_of(pg: RawConnection, wanted: str | None) -> str | None:
    """Return the checkpoint to start from: the one named, else the newest; None is the beginning of the log."""
    there = await checkpoints(pg)
    if wanted == BEGINNING:
        return None
    if wanted is None:
        return there[-1] if there else None
    if wanted not in there:
        raise NoSuchCheckpoint(f"there is no checkpoint {wanted}; there are {', '.join([*there, BEGINNING])}")
    return wanted


async def recompute(pg: RawConnection, replay: Replay, start: str | None) -> Recomputed:
    """Fill the workbench up to a copy made now, and compare the two. Live scoring goes on meanwhile."""
    stored = await settled(lambda: take_checkpoint(pg, COMPARED))
    try:
        await prepare_workbench(pg, start)
        target = await read_target(pg, stored, start, RECORDS_KEPT)
        await replay.run(target)
        found = await differences(pg, stored, target.closes)
    finally:
        await drop(pg, [stored])
    return Recomputed(start or BEGINNING, replay.records, len(target.days), found)


async def put_in_place(pg: RawConnection, replay: Replay, partitions: int, settle_closes: int) -> int:
    """Bring the workbench up to date while nobody else may write, and swap; owners begin again on what they find. Returns the corrected accounts."""
    corrected = 0

    async def once() -> str:
        nonlocal corrected
        async with pg.transaction():
            await pg.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            # From here until the commit no owner can write and none can take over: their epochs are locked.
            await Ownership("rebuild").claim(pg, range(partitions))
            if await pg.fetchval(UNSETTLED):
                raise Unsettled("a day is being closed")
            await replay.run(await read_target(pg, LIVE, WORKBENCH, RECORDS_KEPT))
            corrected = await keep_told(pg, settle_closes)
            await swap(pg)
        return LIVE

    await settled(once)
    return corrected


async def tidy_up(pg: RawConnection) -> None:
    """Leave no workbench behind."""
    await drop(pg, [WORKBENCH])
