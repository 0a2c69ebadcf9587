"""Root. `churnsignal-scoring scorecard` and `mapping`: validate, preview, publish, activate, shadow, and what no rule names."""

import getpass
import json as json_module
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import cyclopts
from churnsignal_common.clock import Clock, open_clock
from churnsignal_common.document import ConfigError
from churnsignal_common.runtime.cli import give_up, on_database
from churnsignal_common.runtime.config_files import read_config
from churnsignal_common.runtime.settings import read_settings
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_scoring.config_api import unknown_events
from churnsignal_scoring.configs import Configs, NothingInForce, TooEarly, UnknownVersion
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.config.parse import parse_scorecard
from churnsignal_scoring.health.days import DayZone, open_zone
from churnsignal_scoring.load import Load
from churnsignal_scoring.policy import parse
from churnsignal_scoring.preview import preview
from churnsignal_scoring.queries import Queries
from churnsignal_scoring.settings import ScoringSettings
from churnsignal_scoring.shadow import NoShadow, compare
from churnsignal_scoring.versions import Kind

T = TypeVar("T")
scorecard = cyclopts.App(
    name="scorecard", help="Versions of the scorecard.\n\nExample: churnsignal-scoring scorecard preview scorecard.yaml"
)
mapping = cyclopts.App(name="mapping", help="Versions of the mapping.\n\nExample: churnsignal-scoring mapping unknown")


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with: the versions and accounts of the database."""

    configs: Configs
    queries: Queries
    load: Load
    clock: Clock
    zone: DayZone

    async def engine(self) -> AccountEngine:
        """Return the engine under the policy in force."""
        policy = await self.configs.policy()
        engine = AccountEngine(policy.mappings[-1][1], policy.scorecards[-1][1], self.zone)
        engine.adopt(policy)
        return engine


def at_desk(work: Callable[[Desk], Awaitable[T]]) -> T:
    """Run a command on the database; exits with a sentence when it cannot."""
    settings = read_settings(ScoringSettings)

    async def on(database: AsyncEngine) -> T:
        clock, zone = open_clock(settings.clock, dev=settings.dev), open_zone(settings.day_zone)
        return await work(Desk(Configs(database), Queries(database), Load(database), clock, zone))

    try:
        return on_database(settings, "scoring", on)
    except (ConfigError, UnknownVersion, TooEarly, NothingInForce, NoShadow) as error:
        give_up(error)


def _text(file: Path) -> str:
    return read_config(file, "", "")[0]


def _say(value: Any, sentence: str, *, as_json: bool) -> None:
    print(json_module.dumps(value, indent=1) if as_json else sentence)


def _add(app: cyclopts.App, kind: Kind) -> None:
    file_name = f"{kind}.yaml"

    def validate(file: Path) -> None:
        try:
            parsed = parse(kind, _text(file), str(file))
        except ConfigError as error:
            give_up(error)
        print(f"ok: {parsed.version}")

    def publish(file: Path, *, activate: bool = False, at: datetime | None = None, json: bool = False) -> None:
        async def work(desk: Desk) -> dict[str, Any]:
            parse(kind, text, str(file))
            version = (await desk.configs.publish(kind, text, author, desk.clock.now())).version
            if not activate and at is None:
                return {"version": version, "effective_from": None}
            done = await desk.configs.activate(kind, version, _aware(at), author, desk.clock.now())
            return {"version": version, "effective_from": done.effective_from.isoformat()}

        try:
            text, author = _text(file), f"cli:{getpass.getuser()}"
        except ConfigError as error:
            give_up(error)
        done = at_desk(work)
        state = f"in force from {done['effective_from']} on" if done["effective_from"] else "not in force yet: add --activate"
        _say(done, f"{done['version']}: published, {state}", as_json=json)

    def list_versions(*, json: bool = False) -> None:
        rows = at_desk(lambda desk: desk.configs.versions(kind, desk.clock.now()))
        if json:
            print(json_module.dumps(rows, indent=1, default=str))
            return
        table = Table("version", "by", "published", "state")
        for row in rows:
            state = "in force" if row["in_force"] else "shadow" if row["shadow"] else ""
            table.add_row(row["version"], row["author"], f"{row['created_at']:%Y-%m-%d %H:%M}", state)
        Console().print(table)

    validate.__doc__ = f"Say whether the file would do. Example: churnsignal-scoring {kind} validate {file_name}."
    publish.__doc__ = f"""Keep a version of the {kind}; with --activate, or --at a time, it also goes into force.

    Example: churnsignal-scoring {kind} publish {file_name} --activate

    Parameters
    ----------
    file
        The text to keep.
    activate
        Put it into force now.
    at
        Put it into force at this time; UTC without a zone.
    json
        Print the version as JSON.
    """
    list_versions.__doc__ = f"List all versions. Example: churnsignal-scoring {kind} list."
    app.command(validate)
    app.command(publish)
    app.command(list_versions, name="list")


def _aware(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


_add(scorecard, Kind.SCORECARD)
_add(mapping, Kind.MAPPING)


@scorecard.command(name="preview")
def show(file: Path, *, json: bool = False) -> None:
    """Say which of the real accounts would change band under the file. Example: churnsignal-scoring scorecard preview scorecard.yaml."""

    async def work(desk: Desk) -> dict[str, Any]:
        return await preview(desk.load, await desk.engine(), parse_scorecard(_text(file), str(file)))

    found = at_desk(work)
    _say(found, f"{found['scorecard']} instead of {found['in_force']}: {found['summary']}", as_json=json)
    if not json:
        _tell_moved(found["examples"])


def _tell_moved(moved: list[dict[str, Any]]) -> None:
    if not moved:
        return
    table = Table("account", "name", "a year", "from", "to", "score")
    for one in moved:
        scores = " -> ".join("-" if score is None else f"{score / 100:.0f}" for score in (one["score_from"], one["score_to"]))
        table.add_row(one["account"], one["name"] or "", "" if one["arr"] is None else f"{one['arr']:,.0f}", one["from"], one["to"], scores)
    Console().print(table)


@scorecard.command(name="shadow")
def show_shadow(*, begin: str | None = None, end: bool = False, json: bool = False) -> None:
    """Compare the scorecard that runs beside the one in force with it, account by account. It alerts nobody.

    Example: churnsignal-scoring scorecard shadow --begin strict-1a2b3c4d

    Parameters
    ----------
    begin
        Run this published version beside the one in force, from the next close on.
    end
        End the one that runs.
    json
        Print the comparison as JSON.
    """

    async def work(desk: Desk) -> dict[str, Any]:
        if begin is None and not end:
            return await compare(desk.queries, desk.configs, desk.zone, desk.clock.now())
        done = await desk.configs.activate(Kind.SHADOW, begin, None, f"cli:{getpass.getuser()}", desk.clock.now())
        since = done.effective_from.isoformat()
        return {
            "scorecard": begin,
            "effective_from": since,
            "summary": "ended" if begin is None else f"runs beside the one in force from {since} on",
        }

    found = at_desk(work)
    _say(found, f"{found['scorecard'] or 'the shadow'}: {found['summary']}", as_json=json)
    if not json:
        _tell_moved([*found.get("only_shadow_red", ()), *found.get("only_in_force_red", ())])


@mapping.command
def unknown(*, days: int = 7, limit: int = 100, json: bool = False) -> None:
    """List the events that no rule names, each with a rule to paste. Example: churnsignal-scoring mapping unknown --days 7."""

    async def work(desk: Desk) -> dict[str, Any]:
        return await unknown_events(desk.queries, await desk.engine(), desk.clock, days, limit)

    found = at_desk(work)
    if json:
        print(json_module.dumps(found, indent=1))
        return
    for one in found["items"]:
        print(f"# {one['calls']} calls of {one['accounts']} accounts in {days} days\n{one['rule'].rstrip()}")
    if not found["items"]:
        print(f"every event of the last {days} days is named by {found['mapping']}")
