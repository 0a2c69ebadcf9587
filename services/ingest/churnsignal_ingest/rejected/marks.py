"""Door. Postgres: which refused calls were published again, kept for longer than the calls themselves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeAlias

from churnsignal_common.clock import Clock
from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_ingest.auth.tables import replays

# The topic keeps calls for 14 days, in segments that may end a little later.
_KEPT = timedelta(days=16)
# The source and the id of a refused call.
Name: TypeAlias = tuple[str, str]


class Marks:
    """One mark per refused call that was published again."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def among(self, names: set[Name]) -> set[Name]:
        """Return those of `names` that are marked."""
        wanted = select(replays.c.source, replays.c.id).where(tuple_(replays.c.source, replays.c.id).in_(sorted(names)))
        async with self._engine.connect() as connection:
            return {(row.source, row.id) for row in await connection.execute(wanted)} if names else set()

    @asynccontextmanager
    async def marking(self, names: set[Name]) -> AsyncIterator[set[Name]]:
        """Mark `names` and yield those that had no mark; the marks hold if the block ends well. Who marks the same ones at that moment waits."""
        now = self._clock.now()
        new = [{"source": source, "id": id_, "at": now} for source, id_ in sorted(names)]
        marked = upsert(replays).values(new).on_conflict_do_nothing().returning(replays.c.source, replays.c.id)
        async with self._engine.begin() as connection:
            await connection.execute(delete(replays).where(replays.c.at < now - _KEPT))
            yield {(row.source, row.id) for row in await connection.execute(marked)}
