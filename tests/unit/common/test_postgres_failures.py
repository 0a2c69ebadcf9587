"""Which errors are waited out, and which end the process."""

import asyncpg
import pytest
from asyncpg import exceptions as pg
from churnsignal_common.postgres.failures import put_off
from sqlalchemy import exc


def wrapped(cause: Exception) -> exc.DBAPIError:
    """Return what SQLAlchemy raises for an error of the driver that it has no name of its own for."""
    driver = Exception()
    driver.__cause__ = cause
    return exc.DBAPIError("SELECT 1", None, driver)


@pytest.mark.parametrize(
    "error",
    [OSError(), asyncpg.InternalClientError(), pg.AdminShutdownError(), wrapped(pg.ConnectionDoesNotExistError()), exc.TimeoutError()],
)
def test_what_postgres_may_do_better_later_is_put_off(error: Exception) -> None:
    with put_off("work_waits"):
        raise error


@pytest.mark.parametrize("error", [KeyError(), pg.UndefinedTableError(), wrapped(pg.UndefinedTableError())])
def test_what_will_never_get_better_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)), put_off("work_waits"):
        raise error
