"""Root. What the services' command lines share: serving, migrating, and giving up with a sentence."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import cyclopts
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_common.document import ConfigError
from churnsignal_common.postgres.engine import open_engine
from churnsignal_common.postgres.failures import STORE_ERRORS
from churnsignal_common.postgres.migrate import migrate_blocking
from churnsignal_common.runtime.logging import set_up_logging
from churnsignal_common.runtime.settings import ServiceSettings, read_settings

S = TypeVar("S", bound=ServiceSettings)
T = TypeVar("T")


def give_up(message: object) -> NoReturn:
    """Say on stderr what to do, and exit 1."""
    print(message, file=sys.stderr)
    raise SystemExit(1)


def add_service(
    app: cyclopts.App, service: str, kind: type[S], checked: Callable[[], S], run: Callable[[S], Coroutine[Any, Any, int]], migrations: Path
) -> None:
    """Add `serve` with the settings that `checked` returns, and `migrate`."""

    def serve() -> None:
        settings = checked()
        set_up_logging(settings.log_level, settings.log_format, service)
        try:
            raise SystemExit(uvloop.run(run(settings)))
        except ConfigError as error:
            give_up(error)

    def migrate() -> None:
        try:
            migrate_blocking(read_settings(kind).database_url.get_secret_value(), migrations, service)
        except STORE_ERRORS as error:
            give_up(f"cannot migrate: {type(error).__name__}; is Postgres up at DATABASE_URL?")

    serve.__doc__ = f"Serve until SIGTERM. Example: churnsignal-{service} serve"
    migrate.__doc__ = f"Bring schema `{service}` to its newest version. Example: churnsignal-{service} migrate"
    app.command(serve)
    app.command(migrate)


def on_database(settings: ServiceSettings, service: str, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Run a command on the service's schema; exits with a sentence when it cannot."""

    async def go() -> T:
        async with open_engine(settings.database_url.get_secret_value(), f"{service}-cli", pool=2) as engine:
            return await work(engine)

    try:
        return asyncio.run(go())
    except STORE_ERRORS as error:
        give_up(f"cannot use Postgres: {type(error).__name__}; check DATABASE_URL, and run `churnsignal-{service} migrate`")
