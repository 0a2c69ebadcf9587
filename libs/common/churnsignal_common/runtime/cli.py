"""Root. What the services' command lines do once their settings are good: serve, migrate, ask the database, and give up with a sentence."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_common.document import ConfigError
from churnsignal_common.postgres.engine import open_engine
from churnsignal_common.postgres.failures import STORE_ERRORS
from churnsignal_common.postgres.migrate import migrate_blocking
from churnsignal_common.runtime.logging import note_loop_error, set_up_logging
from churnsignal_common.runtime.settings import ServiceSettings

S = TypeVar("S", bound=ServiceSettings)
T = TypeVar("T")


def give_up(message: object) -> NoReturn:
    """Say on stderr what to do, and exit 1."""
    print(message, file=sys.stderr)
    raise SystemExit(1)


def serve_until_stopped(run: Callable[[S], Coroutine[Any, Any, int]], settings: S, service: str) -> NoReturn:
    """Run the service on its event loop and exit with its code."""
    set_up_logging(settings.log_level, settings.log_format, service, settings.secrets)

    async def watched() -> int:
        asyncio.get_running_loop().set_exception_handler(note_loop_error)
        return await run(settings)

    try:
        raise SystemExit(uvloop.run(watched()))
    except ConfigError as error:
        give_up(error)


def migrate_or_give_up(url: str, migrations: Path, service: str) -> None:
    """Bring the service's schema to its newest version; exits with a sentence when it cannot."""
    try:
        migrate_blocking(url, migrations, service)
    except STORE_ERRORS as error:
        give_up(f"cannot migrate: {type(error).__name__}; is Postgres up at DATABASE_URL?")


def on_database(settings: ServiceSettings, service: str, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Run a command on the service's schema; exits with a sentence when it cannot."""

    async def go() -> T:
        async with open_engine(settings.database_url.get_secret_value(), f"{service}-cli", pool=2) as engine:
            return await work(engine)

    try:
        return asyncio.run(go())
    except STORE_ERRORS as error:
        give_up(f"cannot use Postgres: {type(error).__name__}; check DATABASE_URL, and run `churnsignal-{service} migrate`")
