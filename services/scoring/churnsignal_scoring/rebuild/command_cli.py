"""Root. `churnsignal-scoring checkpoint` and `rebuild`, and `churnsignal-verify`: wire the steps of scoring to the workbench's tables."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import cyclopts
from aiokafka.errors import KafkaError
from asyncpg import PostgresError
from churnsignal_common.contracts.topics import USAGE_TOPICS
from churnsignal_common.kafka.client import brokers_of
from churnsignal_common.kafka.feed import Feed, membership_of
from churnsignal_common.postgres.engine import RawConnection, open_engine, raw
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.logging import set_up_logging
from churnsignal_common.runtime.settings import read_settings
from sqlalchemy.exc import SQLAlchemyError

from churnsignal_scoring.app import assemble, new_engine, new_memory
from churnsignal_scoring.configs import Configs
from churnsignal_scoring.doors import Doors
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.days import open_zone, to_date
from churnsignal_scoring.load import Load
from churnsignal_scoring.metrics import Metrics
from churnsignal_scoring.ownership import Ownership
from churnsignal_scoring.rebuild.audit import Check, log_checks, stored_checks
from churnsignal_scoring.rebuild.copies import WORKBENCH, Unsettled, take_checkpoint
from churnsignal_scoring.rebuild.recompute import NoSuchCheckpoint, Recomputed, put_in_place, recompute, settled, start_of, tidy_up
from churnsignal_scoring.rebuild.replay import Moment, Muted, Replay, Works
from churnsignal_scoring.rebuild.tail import Tail, TailError
from churnsignal_scoring.settings import ScoringSettings
from churnsignal_scoring.store import Store
from churnsignal_scoring.takeover import Misconfigured

LONGEST_S = 6 * 3600.0
EXPECTED = (SQLAlchemyError, PostgresError, KafkaError, OSError, TimeoutError, TailError, NoSuchCheckpoint, Unsettled, Misconfigured)


@dataclass(frozen=True, slots=True)
class Bench:
    """What the commands work with."""

    pg: RawConnection
    replay: Replay
    tail: Tail
    engine: AccountEngine


@contextlib.asynccontextmanager
async def bench(settings: ScoringSettings) -> AsyncIterator[Bench]:
    """Yield a connection to the live tables, and a replay wired to the workbench's."""
    url, brokers = settings.database_url.get_secret_value(), brokers_of(settings)
    engine = new_engine(settings, open_zone(settings.day_zone))
    tail, moment, memory = Tail(brokers, settings.topic_prefix), Moment(), new_memory(settings)
    async with contextlib.AsyncExitStack() as stack:
        live = await stack.enter_async_context(open_engine(url, "scoring", pool=2, command_timeout_s=LONGEST_S))
        made = await stack.enter_async_context(open_engine(url, "scoring", schema=WORKBENCH, pool=3, command_timeout_s=LONGEST_S))
        # The feed stays closed: it only tells the closes which topics there are.
        feed = Feed(brokers, membership_of(settings, "churnsignal-scoring", USAGE_TOPICS), Dependency("kafka"))
        doors = Doors(feed, Store(made, Ownership("rebuild")), Load(made), Muted(), Configs(made))
        core = assemble(settings, engine, doors, memory, Metrics(), moment)
        works = Works(core.batch, core.closes, core.takeover, memory, engine.zone, moment)
        pg = await raw(await stack.enter_async_context(live.connect()))
        yield Bench(pg, Replay(works, tail, settings.partitions, _said), tail, engine)


def _said(day: int, records: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{to_date(day)}  {records:,} records", end="", file=sys.stderr, flush=True)


async def _checkpoint(settings: ScoringSettings) -> str:
    url = settings.database_url.get_secret_value()
    async with open_engine(url, "scoring", pool=1, command_timeout_s=LONGEST_S) as live, live.connect() as connection:
        pg = await raw(connection)
        return await settled(lambda: take_checkpoint(pg))


async def _rebuild(settings: ScoringSettings, start: str | None, in_place: bool) -> Recomputed:
    async with bench(settings) as it:
        try:
            found = await recompute(it.pg, it.replay, await start_of(it.pg, start))
            if not in_place:
                return found
            corrected = await put_in_place(it.pg, it.replay, settings.partitions, it.engine.scorecard.bands.settle_closes)
            return Recomputed(found.start, it.replay.records, found.days, found.differences, corrected)
        finally:
            await tidy_up(it.pg)


async def _verify(settings: ScoringSettings, start: str | None, recomputed: bool) -> list[Check]:
    async with bench(settings) as it:
        checks = [*await stored_checks(it.pg, settings.day_zone), *await log_checks(it.pg, it.tail, settings.partitions)]
        if not recomputed:
            return checks
        try:
            found = await recompute(it.pg, it.replay, await start_of(it.pg, start))
        finally:
            await tidy_up(it.pg)
        return [*checks, *_as_checks(found)]


def _as_checks(found: Recomputed) -> list[Check]:
    name = f"recomputed from {found.start}: {found.records:,} records, {found.days} closes"
    differing = [Check(f"recomputed {one.table}", one.rows, one.examples) for one in found.differences]
    return [Check(name, sum(one.rows for one in found.differences)), *differing]


def _settings() -> ScoringSettings:
    settings = read_settings(ScoringSettings)
    set_up_logging("WARNING", settings.log_format, "scoring", settings.secrets)
    return settings


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except EXPECTED as error:
        print(f"cannot {doing}: {error or type(error).__name__}", file=sys.stderr)
        raise SystemExit(1) from error


def checkpoint() -> None:
    """Copy the state of scoring as of now, beside it: what a rebuild starts from. Example: churnsignal-scoring checkpoint."""
    settings = _settings()
    with _explained("take a checkpoint"):
        print(asyncio.run(_checkpoint(settings)))


def rebuild(
    *,
    from_: Annotated[str | None, cyclopts.Parameter("--from")] = None,
    swap: bool = False,
    json_: Annotated[bool, cyclopts.Parameter("--json")] = False,
) -> None:
    """Replay the log after a checkpoint into fresh tables beside the live ones and compare; nothing is sent to anybody.

    Example: churnsignal-scoring rebuild --from scoring_checkpoint_20261128_030000 --swap

    Parameters
    ----------
    from_
        The checkpoint to start from, or "beginning"; without it the newest.
    swap
        Put the rebuilt state in the place of the live one, also where they differ. Bands that were told stay; the next close corrects them silently.
    json_
        Print what came of it as JSON.
    """
    settings = _settings()
    with _explained("rebuild"):
        found = asyncio.run(_rebuild(settings, from_, swap))
    if json_:
        print(json.dumps(asdict(found)))
    else:
        _tell(_as_checks(found))
        print(
            "nothing was swapped"
            if found.corrected is None
            else f"swapped; {found.corrected} accounts will be corrected by their next close"
        )
    raise SystemExit(1 if found.differences and found.corrected is None else 0)


verify_app = cyclopts.App(
    name="churnsignal-verify", help="Proves that what was accepted is what was applied. Example: churnsignal-verify --json"
)


@verify_app.default
def verify(
    *,
    from_: Annotated[str | None, cyclopts.Parameter("--from")] = None,
    recomputed: Annotated[bool, cyclopts.Parameter("--recompute")] = True,
    json_: Annotated[bool, cyclopts.Parameter("--json")] = False,
) -> None:
    """Check offsets, outcomes and changes of band, and recompute scores and bands from a checkpoint and the log. Safe in production.

    Example: churnsignal-verify --no-recompute

    Parameters
    ----------
    from_
        The checkpoint to recompute from, or "beginning"; without it the newest.
    recomputed
        Also recompute; without it only what is stored and published is checked, which takes seconds.
    json_
        Print the checks as JSON.
    """
    settings = _settings()
    with _explained("verify"):
        checks = asyncio.run(_verify(settings, from_, recomputed))
    if json_:
        print(json.dumps({"ok": all(one.ok for one in checks), "checks": [asdict(one) for one in checks]}))
    else:
        _tell(checks)
    raise SystemExit(0 if all(one.ok for one in checks) else 1)


def _tell(checks: list[Check]) -> None:
    for one in checks:
        print(f"{'ok' if one.ok else f'{one.problems} PROBLEMS':<14}{one.name}")
        for example in one.examples:
            print(f"    {example}")


def verify_main() -> None:
    verify_app()
