"""Door. Open Postgres with every wait bounded: connect, pool, query, lock and idle transaction."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

from asyncpg import Connection as AsyncpgConnection
from asyncpg.protocol import protocol
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

# Longer than the wait for a connection of the pool, which is another trouble.
PING_S = 2.5

# A string, because asyncpg's class takes no parameter at run time.
RawConnection: TypeAlias = "AsyncpgConnection[Any]"

# asyncpg asks of every element of every array whether it is an array itself. Of abstract classes that is a call of Python each, and took
# nearly all of the time of writing accounts; our arrays are lists.
protocol.IterableABC = protocol.SizedABC = (list, tuple)  # type: ignore[attr-defined]


def driver_url(url: str) -> str:
    """Return `url` for SQLAlchemy's asyncpg dialect."""
    return "postgresql+asyncpg://" + url.split("://", 1)[1]


@contextlib.asynccontextmanager
async def open_engine(
    url: str, service: str, *, schema: str = "", pool: int = 5, command_timeout_s: float = 15.0
) -> AsyncIterator[AsyncEngine]:
    """Yield an engine; a black-holed server fails a query after `command_timeout_s`, a full pool after 2 s.

    Names without a schema are those of `schema`, by default the service's own: a rebuild runs the same statements on a copy beside it.
    """
    engine = create_async_engine(
        driver_url(url),
        pool_size=pool,
        # Errors travel far; what they quote would be content of events.
        hide_parameters=True,
        max_overflow=0,
        pool_timeout=2,
        pool_recycle=1800,
        connect_args={
            "timeout": 3,
            "command_timeout": command_timeout_s,
            "server_settings": {
                "application_name": f"churnsignal-{service}",
                "search_path": schema or service.partition("-")[0],
                "statement_timeout": str(int(command_timeout_s * 1000)),
                "lock_timeout": "5000",
                "idle_in_transaction_session_timeout": "30000",
                "timezone": "UTC",
                "jit": "off",
                # Others outside have heard of what we commit, whatever the server's default is.
                "synchronous_commit": "on",
            },
        },
    )
    # What a ping at every use would find, without asking: most statements are short, and a ping is three more of them.
    event.listen(engine.sync_engine, "checkout", _refuse_spent)
    try:
        yield engine
    finally:
        await engine.dispose()


async def ping(engine: AsyncEngine) -> None:
    """Ask for a sign of life; raises when there is none in time, long before a statement would give up."""
    async with asyncio.timeout(PING_S), engine.connect() as connection:
        pg = await raw(connection)
        try:
            await pg.fetchval("SELECT 1")
        except asyncio.CancelledError:
            # What comes of it now is nobody's any more, and another connection may be quicker.
            pg.terminate()
            raise


def _refuse_spent(connection: Any, _record: object, _proxy: object) -> None:
    """Let the pool replace a connection that the server has closed, or on which a BEGIN had no answer in time.

    asyncpg takes that one for begun, and nobody ends it: all later transactions would be savepoints in it, and lost with it though they "committed".
    """
    driver = connection.driver_connection
    if driver.is_closed() or driver._top_xact is not None or driver.is_in_transaction():  # noqa: SLF001 nothing else knows
        raise DisconnectionError


async def raw(connection: AsyncConnection) -> "AsyncpgConnection[Any]":
    """Return the asyncpg connection inside `connection`'s transaction: for array parameters and COPY on the hot path."""
    fairy = await connection.get_raw_connection()
    inner: AsyncpgConnection[Any] = fairy.driver_connection  # type: ignore[assignment] # SQLAlchemy types it as Any | None
    return inner


@contextlib.asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[RawConnection]:
    """Yield an asyncpg connection in a transaction of its own."""
    async with engine.connect() as connection:
        pg = await raw(connection)
        async with pg.transaction():
            yield pg
