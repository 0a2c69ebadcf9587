"""Root. The commands `csms import`, `routes explain`, `recommend` and `watchdog`."""

import csv
import json as jsonlib
import sys
from pathlib import Path
from typing import Any

import cyclopts
from churnsignal_common.clock import open_clock
from churnsignal_common.contracts.risk import AccountProfile
from churnsignal_common.contracts.topics import RISK_CHANGES
from churnsignal_common.kafka.client import brokers_of
from churnsignal_common.runtime.cli import give_up, on_database
from churnsignal_common.runtime.http import places
from churnsignal_common.runtime.logging import set_up_logging
from churnsignal_common.runtime.start import judged
from churnsignal_common.runtime.tasks import Stop
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_alerts.api.learning import advice_out
from churnsignal_alerts.api.models import CsmIn
from churnsignal_alerts.check import configured, routing_text
from churnsignal_alerts.commands import Desk
from churnsignal_alerts.directory import Csm
from churnsignal_alerts.episodes import WATCHDOG, Kind
from churnsignal_alerts.explain import explain
from churnsignal_alerts.learn import recommend as learn
from churnsignal_alerts.people import People
from churnsignal_alerts.plan import Scene
from churnsignal_alerts.read import Reader
from churnsignal_alerts.settings import AlertsSettings
from churnsignal_alerts.wake import Wake
from churnsignal_alerts.watchdog import Publisher, Watchdog

csms = cyclopts.App(name="csms", help="The directory of customer success managers.\n\nExample: churnsignal-alerts csms import team.csv")
routes = cyclopts.App(name="routes", help="Who would be told.\n\nExample: churnsignal-alerts routes explain acme")
_LISTS = {"channels"}


@csms.command(name="import")
def csms_import(file: Path, *, json: bool = False) -> None:
    """Insert or replace CSMs from a CSV file. Example: churnsignal-alerts csms import team.csv

    Columns: id, name, email, slack, locale (en|ja), zone, country, hours (09:00-18:00), workdays (mon-fri), channels (slack;email),
    manager, delegate, away_from, away_until, active.
    """
    raise SystemExit(_import_csms(judged("alerts", AlertsSettings)[0], file, as_json=json))


@routes.command(name="explain")
def routes_explain(account: str, *, kind: Kind = Kind.RISK, json: bool = False) -> None:
    """Say who would be told about an account, when and why. Example: churnsignal-alerts routes explain acme --kind renewal"""
    raise SystemExit(_explain_route(judged("alerts", AlertsSettings)[0], account, kind, as_json=json))


def recommend(*, json: bool = False) -> None:
    """Suggest a threshold where alerts were too often wrong, with the outcomes behind it. Example: churnsignal-alerts recommend --json"""
    raise SystemExit(_recommend_thresholds(judged("alerts", AlertsSettings)[0], as_json=json))


def watchdog(*, wait: float = 60.0, json: bool = False) -> None:
    """Send a synthetic alert to the `watchdog` of routing.yaml and wait until it was delivered; exit 1 if it was not.

    Example: churnsignal-alerts watchdog --wait 30

    Parameters
    ----------
    wait
        Seconds to wait for it.
    json
        Print whether it arrived, and after how long, as JSON.
    """
    settings = judged("alerts", AlertsSettings)[0]
    # What it prints is for people or programs; what the service does is in the service's log.
    set_up_logging("critical", settings.log_format, "alerts", settings.secrets)
    raise SystemExit(_prove_delivery(settings, wait, as_json=json))


def read_csms(path: Path) -> tuple[list[Csm], list[str]]:
    """Return the CSMs of a CSV file and what is wrong with it, by line."""
    found, problems = [], []
    with path.open(newline="", encoding="utf-8-sig") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            try:
                found.append(_csm(row))
            except ValidationError as error:
                problems.append(f"{path}:{line}: {places(error.errors())}")
            except ValueError as error:
                problems.append(f"{path}:{line}: {error}")
    return found, problems


def _csm(row: dict[str, Any]) -> Csm:
    given = {key.strip(): value.strip() for key, value in row.items() if key and isinstance(value, str) and value.strip()}
    ident = given.pop("id", "")
    if not ident:
        raise ValueError("id: missing; every row needs one")
    values: dict[str, Any] = {key: value.split(";") if key in _LISTS else value for key, value in given.items()}
    return CsmIn.model_validate(values).to_csm(ident)


def _people(engine: AsyncEngine, settings: AlertsSettings) -> People:
    return People(engine, *routing_text(settings), configured(settings))


def _import_csms(settings: AlertsSettings, path: Path, *, as_json: bool) -> int:
    """Import a whole file or nothing; return the exit code."""
    try:
        found, problems = read_csms(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        print(f"{path}: cannot read it as CSV in UTF-8 ({type(error).__name__})", file=sys.stderr)
        return 1
    if problems:
        print("\n".join([*problems, "nothing was imported"]), file=sys.stderr)
        return 1
    on_database(settings, "alerts", lambda engine: _people(engine, settings).put(found))
    print(jsonlib.dumps({"imported": len(found)}) if as_json else f"{len(found)} CSMs imported")
    return 0


def _explain_route(settings: AlertsSettings, account: str, kind: Kind, *, as_json: bool) -> int:
    """Print who would be told about an account; return the exit code."""

    async def ask(engine: AsyncEngine) -> tuple[AccountProfile, Scene]:
        known = await Reader(engine).profile(account) or AccountProfile(account=account)
        red = await Reader(engine).red(known)
        return known, Scene(await _people(engine, settings).setup(), open_clock(settings.clock, dev=settings.dev).now(), red)

    known, scene = on_database(settings, "alerts", ask)
    if known.updated_at is None:
        print(f"{account}: not known yet (no profile on accounts.v1); routed as an account without owner", file=sys.stderr)
    told = explain(known, kind, scene)
    if as_json:
        print(jsonlib.dumps(told))
        return 0
    ways = ", ".join(f"{way['channel']} {way['address']}" for way in told["ways"])
    when = f"in the digest at {told['told_at']}" if told["digest"] else f"at {told['told_at']}"
    when = f"not now: {told['muted']}" if told["muted"] else when
    if not told["on"]:
        when = f"not at all: routing.yaml has {kind} off; it would be {when}"
    print(f"{told['name']} ({told['recipient']}) by {ways} {when}\n  because {told['why']}")
    for step in told["steps"]:
        print(f"  {'->' if step['taken'] else '  '} {step['rule']} {step['who']}: {step['why']}")
    return 0


def _recommend_thresholds(settings: AlertsSettings, *, as_json: bool) -> int:
    """Print where another threshold would be better; return the exit code."""
    lessons = on_database(settings, "alerts", lambda engine: Reader(engine).lessons())
    found = [advice_out(one) for one in learn(lessons)]
    if as_json:
        print(jsonlib.dumps(found))
        return 0
    for one in found:
        print(
            f"{one['kind']}: {one['precision']:.0%} of {one['judged']} judged alerts were right; at a score of {one['threshold']:g} or less it would"
        )
        print(
            f"  be {one['would_be']:.0%} of {one['still_told']}, and {one['right_ones_lost']} right ones would not have been told. Behind it:"
        )
        for lesson in one["behind"]:
            print(f"  {lesson['episode']} {lesson['account']} score {lesson['score']:g} {lesson['reason']}: {', '.join(lesson['said'])}")
    print(f"{len(lessons)} alerts with feedback or an outcome" + ("" if found else "; no better threshold to suggest"))
    return 0


def _prove_delivery(settings: AlertsSettings, wait_s: float, *, as_json: bool) -> int:
    """Send a synthetic alert and say whether the running service delivered it; return the exit code."""
    clock = open_clock(settings.clock, dev=settings.dev)
    publisher = Publisher(brokers_of(settings), settings.topic(RISK_CHANGES))

    async def prove(engine: AsyncEngine) -> tuple[bool, float]:
        people = _people(engine, settings)
        if WATCHDOG not in (await people.setup()).policy.pools:
            give_up('routing.yaml has no watchdog: say where it goes, such as `watchdog: {slack: "#churnsignal-watchdog"}`')
        return await Watchdog(engine, people, Desk(engine, people, clock, Wake()), publisher, clock).prove(wait_s, Stop())

    arrived, seconds = on_database(settings, "alerts", prove)
    if as_json:
        print(jsonlib.dumps({"arrived": arrived, "seconds": round(seconds, 3)}))
    elif arrived:
        print(f"the test alert was delivered after {seconds:.1f} s")
    else:
        print(
            f"the test alert was not delivered within {seconds:.0f} s: is alerts running? GET /v1/deliveries shows the attempts",
            file=sys.stderr,
        )
    return 0 if arrived else 1
