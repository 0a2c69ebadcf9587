"""Root. How the services' command lines begin: settings and files are judged before anything heavy is loaded, so that a mistake is told at once."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import TypeVar

import cyclopts

from churnsignal_common.clock import open_clock
from churnsignal_common.document import ConfigError
from churnsignal_common.runtime.settings import ServiceSettings, fail, read_settings

S = TypeVar("S", bound=ServiceSettings)
_LIGHT = ("serve", "check-config", "migrate")


def judged(service: str, kind: type[S]) -> tuple[S, Sequence[str]]:
    """Return the settings and what the service's `check` says of them and of the files that they name; exits 2 with a sentence when one will not do."""
    settings = read_settings(kind)
    check: Callable[[S], Sequence[str]] = resolve_name(f"churnsignal_{service}.check:check")
    try:
        open_clock(settings.clock, dev=settings.dev)
        return settings, check(settings)
    except (ConfigError, ValueError, OSError) as error:
        fail(str(error))


def add_service(app: cyclopts.App, service: str, kind: type[S], migrations: Path) -> None:
    """Add `serve`, `check-config` and `migrate`. The service itself is `churnsignal_<service>.app:run`, loaded once its settings are good."""

    def serve() -> None:
        settings, _ = judged(service, kind)
        from churnsignal_common.runtime.cli import serve_until_stopped  # noqa: PLC0415 as above

        serve_until_stopped(resolve_name(f"churnsignal_{service}.app:run"), settings, service)

    def check_config() -> None:
        said, *warnings = judged(service, kind)[1]
        print(said)  # noqa: T201 what a person asked for
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)  # noqa: T201 as above

    def migrate() -> None:
        url = read_settings(kind).database_url.get_secret_value()
        from churnsignal_common.runtime.cli import migrate_or_give_up  # noqa: PLC0415 as above

        migrate_or_give_up(url, migrations, service)

    serve.__doc__ = f"Serve until SIGTERM. Example: churnsignal-{service} serve"
    check_config.__doc__ = (
        f"Check the environment and the configured files; exit 2 and say what to do. Example: churnsignal-{service} check-config"
    )
    migrate.__doc__ = f"Bring schema `{service}` to its newest version. Example: churnsignal-{service} migrate"
    for command, name in zip((serve, check_config, migrate), _LIGHT, strict=True):
        app.command(command, name=name)


def begin(app: cyclopts.App, others: Mapping[str, str]) -> None:
    """Run the command that was asked for. `others`, by name and place, are loaded only for one of them, or to list them all."""
    if not sys.argv[1:] or sys.argv[1] not in _LIGHT:
        for name, place in others.items():
            app.command(resolve_name(place), name=name)
    app()
