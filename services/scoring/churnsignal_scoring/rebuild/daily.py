"""Flow. A checkpoint a day, by whichever replica comes first, and the oldest dropped."""

from contextlib import suppress

import structlog
from churnsignal_common.postgres.engine import RawConnection, raw
from churnsignal_common.postgres.failures import put_off
from churnsignal_common.runtime.tasks import Stop
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_scoring.rebuild.copies import Unsettled, checkpoints, drop, name_of, take_checkpoint

log = structlog.get_logger()

LOOK_S = 60.0
CLOSED = "SELECT EXISTS (SELECT FROM scoring.closes WHERE stage = 'done')"
ALONE = "SELECT pg_try_advisory_lock(hashtext('churnsignal-scoring-checkpoint'))"
DONE = "SELECT pg_advisory_unlock(hashtext('churnsignal-scoring-checkpoint'))"


class Daily:
    """`every_h` hours between checkpoints, by Postgres's clock; 0 takes none. The newest `keep` stay."""

    def __init__(self, database: AsyncEngine, every_h: int, keep: int) -> None:
        self._database = database
        self._every_h = every_h
        self._keep = keep

    async def run(self, stop: Stop) -> None:
        while not await stop.wait(LOOK_S):
            if not self._every_h:
                continue
            with put_off("checkpoint_put_off"), suppress(Unsettled):
                async with self._database.connect() as connection:
                    await self.look(await raw(connection))

    async def look(self, pg: RawConnection) -> str | None:
        """Take a checkpoint if one is due; return its name."""
        if not await pg.fetchval(ALONE):
            return None
        try:
            there = await checkpoints(pg)
            due = await name_of(pg, self._every_h)
            if not await pg.fetchval(CLOSED) or (there and there[-1] > due):
                return None
            name = await take_checkpoint(pg)
            await drop(pg, [*there, name][: -self._keep])
            log.info("checkpoint_taken", name=name)
            return name
        finally:
            await pg.execute(DONE)
