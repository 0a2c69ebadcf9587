"""Door. Which errors mean that Postgres is away, busy or turned over, so that the same transaction may succeed later."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import structlog
from asyncpg import exceptions as pg
from sqlalchemy import exc

log = structlog.get_logger()

AWAY: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    # A connection that was cut between two messages of the protocol.
    asyncpg.InternalClientError,
    pg.PostgresConnectionError,
    pg.InsufficientResourcesError,
    pg.OperatorInterventionError,
    pg.PostgresSystemError,
    pg.TransactionRollbackError,
    pg.LockNotAvailableError,
    pg.IdleInTransactionSessionTimeoutError,
    # A standby that is not yet promoted.
    pg.ReadOnlySQLTransactionError,
    pg.InvalidAuthorizationSpecificationError,
    pg.InvalidCatalogNameError,
    exc.InterfaceError,
    exc.OperationalError,
    exc.TimeoutError,
)
# All connections of our own pool are at work, which says nothing of Postgres.
NO_CONNECTION_FREE = exc.TimeoutError
# Whatever a statement may end with.
STORE_ERRORS: tuple[type[Exception], ...] = (exc.SQLAlchemyError, *AWAY)


def is_away(error: BaseException) -> bool:
    """Say whether trying again later makes sense; a programming error or bad data is the other kind."""
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        cause = getattr(error.orig, "__cause__", None)
        return error.connection_invalidated or isinstance(error, AWAY) or (cause is not None and isinstance(cause, AWAY))
    # asyncpg calls an argument of the wrong type an InterfaceError, too; that one will never get better.
    return isinstance(error, AWAY) and not isinstance(error, ValueError)


@contextmanager
def put_off(event: str, **fields: str) -> Iterator[None]:
    """Log `event` with its `fields` and go on when Postgres is away: the caller tries again at its next turn. Other errors go through."""
    try:
        yield
    except STORE_ERRORS as error:
        if not is_away(error):
            raise
        log.warning(event, error=type(error).__name__, **fields)
