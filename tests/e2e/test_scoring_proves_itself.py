"""`churnsignal-verify` proves a run of several days, finds each planted fault, and `rebuild --swap` mends what can be made again from the log."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pytest
import pytest_asyncio
from churnsignal_common.postgres.engine import open_engine, raw
from churnsignal_scoring.rebuild.copies import checkpoints, drop
from churnsignal_scoring.rebuild.daily import Daily

from tests.e2e.test_scoring_survives_kills import DAY, SEED, Lives, calls_of, history
from tests.support.nursery import nursery
from tests.support.plant import Hands, Plant, at, open_plant, track
from tests.support.stack import Stack

DAYS = 4
# Before accounts merge on the second day, and before another scorecard and another mapping come into force on the third.
CHECKPOINT_AFTER = DAY
VERSIONS_AFTER = DAY + 1
CARD = files("churnsignal_scoring.health.config").joinpath("scorecard.yaml").read_text()
VERSIONS = {
    "scorecard": CARD.replace("name: default", "name: strict").replace("green: {enter: 74, leave: 70}", "green: {enter: 99, leave: 98}"),
    "mapping": "name: ours\nsignals:\n- signal: login\n  events: [Opened Report, Exported]\n",
}


@dataclass
class World:
    """A deployment after some days, with a checkpoint from the midst of them. Scoring is stopped unless `lives` says otherwise."""

    told: dict[str, str]
    plant: Plant
    lives: Lives
    checkpoint: str

    async def run(self, name: str, *arguments: str) -> tuple[int, str]:
        return await run(self.told, name, *arguments)

    async def verify(self, *options: str) -> dict[str, dict[str, Any]]:
        return await prove(self.told, *options)


async def run(told: dict[str, str], name: str, *arguments: str) -> tuple[int, str]:
    """Run one of scoring's commands; return its exit code and what it printed."""
    code, said, complaint = await asyncio.to_thread(nursery().run, name, arguments, told, 600)
    return code, said + complaint


async def prove(told: dict[str, str], *options: str) -> dict[str, dict[str, Any]]:
    """Return the checks of `churnsignal-verify` that found something, by name."""
    code, said = await run(told, "scoring.rebuild.command_cli:verify_main", "--json", *options)
    report = json.loads(said)
    assert (code == 0) == report["ok"], said
    return {check["name"]: check for check in report["checks"] if check["problems"]}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("proof")
    url, prefix = stack.create_database("scoring"), f"proof{os.getpid()}."
    hands = Hands(folder / "clock.json")
    hands.set(DAY)
    told = stack.env(url, prefix, CHURNSIGNAL_CLOCK=hands.spec, CHURNSIGNAL_INSTANCE="scoring-proof", CHURNSIGNAL_BATCH_RECORDS="97")
    stack.apply_topics(told)
    lives = Lives(told, folder / "scoring.log")
    try:
        async with open_plant(told) as plant:
            made = World(told, plant, lives, "")
            chance = random.Random(SEED)
            async with lives.healthy():
                await plant.put(history())
                await plant.drained(60)
                for day in range(DAY, DAY + DAYS):
                    hands.set(day)
                    await plant.put(calls_of(day, chance))
                    await plant.drained(60)
                    hands.set(day + 1, 2.2)
                    await plant.closed(day, 60)
                    if day == CHECKPOINT_AFTER:
                        code, said = await made.run("scoring", "checkpoint")
                        assert code == 0, said
                        made.checkpoint = said.strip()
                    if day == VERSIONS_AFTER:
                        for kind, text in VERSIONS.items():
                            (folder / f"{kind}.yaml").write_text(text)
                            code, said = await made.run("scoring", kind, "publish", str(folder / f"{kind}.yaml"), "--activate")
                            assert code == 0, said
                await plant.put(calls_of(DAY + DAYS, chance))
                await plant.drained(60)
            yield made
    finally:
        lives.close()
        stack.drop_database(url)
        stack.drop_topics(prefix)


@pytest.mark.asyncio(loop_scope="module")
async def test_days_with_a_merge_and_new_versions_are_proved_from_a_checkpoint_before_them_and_from_the_beginning(world: World) -> None:
    versions = "SELECT count(DISTINCT record->>'scorecard'), count(DISTINCT record->>'mapping') FROM scoring.day_records WHERE day > $1"
    assert tuple((await world.plant.rows(versions, CHECKPOINT_AFTER))[0]) == (2, 2)
    assert await world.verify() == {}
    assert await world.verify("--from", "beginning") == {}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(world: World) -> None:
    code, said = await world.run("scoring", "rebuild", "--from", "scoring_checkpoint_1999")

    assert code == 1
    assert world.checkpoint in said


@pytest.mark.asyncio(loop_scope="module")
async def test_a_checkpoint_is_taken_when_the_newest_is_a_day_old_and_the_oldest_goes(world: World) -> None:
    old, ancient = "scoring_checkpoint_20010102_000000", "scoring_checkpoint_20010101_000000"
    async with open_engine(world.told["DATABASE_URL"], "scoring", pool=1) as engine, engine.connect() as connection:
        pg, daily = await raw(connection), Daily(engine, every_h=24, keep=2)
        fresh = await daily.look(pg)
        await pg.execute(f"ALTER SCHEMA {world.checkpoint} RENAME TO {old}")
        await pg.execute(f"CREATE SCHEMA {ancient}")
        taken = await daily.look(pg)
        left = await checkpoints(pg)
        await pg.execute(f"ALTER SCHEMA {old} RENAME TO {world.checkpoint}")
        await drop(pg, [str(taken)])

    assert fresh is None, "the newest is younger than a day"
    assert left == [old, taken]


LAST_DAYS = "(SELECT account, max(day) FROM scoring.day_counts GROUP BY 1 ORDER BY 1 LIMIT 1)"
LAST_CHANGE = "(SELECT account, max(sequence) FROM scoring.risk_changes GROUP BY 1 ORDER BY 1 LIMIT 1)"
MOST_APPLIED = "outcome = 'applied' AND count = (SELECT max(count) FROM scoring.outcomes)"
FAULTS = {
    "a lost call": (f"UPDATE scoring.day_counts SET counts = '{{}}' WHERE (account, day) = {LAST_DAYS}", "recomputed day_counts"),
    "a call counted twice": ("UPDATE scoring.accounts SET events_total = events_total + 1 WHERE account = 'a1'", "recomputed accounts"),
    "a changed score": (
        f"UPDATE scoring.score_history SET score = score - 1 WHERE account = 'a1' AND day = {DAY + 3}",
        "recomputed score_history",
    ),
    "a missing change": (
        f"DELETE FROM scoring.risk_changes WHERE (account, sequence) = {LAST_CHANGE}",
        "accounts agree with their last change",
    ),
    "a change told otherwise than it was decided": (
        f"UPDATE scoring.risk_changes SET to_band = 'grey' WHERE (account, sequence) = {LAST_CHANGE}",
        "changes are published as they were decided, without a gap",
    ),
    "a record without an outcome": (
        f"UPDATE scoring.outcomes SET count = count - 1 WHERE {MOST_APPLIED}",
        "every record has one outcome",
    ),
    "a forgotten id": ("DELETE FROM scoring.dedup WHERE id = (SELECT max(id) FROM scoring.dedup)", "recomputed dedup"),
}
TABLES = ("day_counts", "accounts", "score_history", "risk_changes", "outcomes", "dedup")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_planted_fault_is_found(world: World, fault: str) -> None:
    plant, found_by = FAULTS[fault]
    database = world.plant.database
    kept = {table: await database.fetch(f"SELECT * FROM scoring.{table}") for table in TABLES}
    changed = await database.execute(plant)
    assert changed.split()[-1] != "0", "the fault was planted"

    try:
        found = await world.verify("--from", world.checkpoint)
    finally:
        for table, rows in kept.items():
            await database.execute(f"TRUNCATE scoring.{table}")
            marks = ", ".join(f"${n + 1}" for n in range(len(rows[0])))
            await database.executemany(
                f"INSERT INTO scoring.{table} OVERRIDING SYSTEM VALUE VALUES ({marks})", [tuple(row) for row in rows]
            )

    assert found_by in found
    assert found[found_by]["examples"]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_rebuild_beside_live_scoring_mends_what_was_damaged_and_sends_nothing(world: World) -> None:
    database = world.plant.database
    changes = len(await world.plant.changes())
    damaged = await database.fetchval("SELECT account FROM scoring.accounts ORDER BY account LIMIT 1")
    await database.execute("UPDATE scoring.accounts SET events_total = 0, habit = '' WHERE account = $1", damaged)
    await database.execute("DELETE FROM scoring.day_counts WHERE account = $1", damaged)
    owner = world.lives.begin()
    code, said = await world.run("scoring", "rebuild", "--from", "beginning", "--swap", "--json")
    assert code == 0, said
    await world.plant.put([track(damaged, "Signed In", at(DAY + DAYS, 11), "after the swap")])
    fenced = await world.lives.ended(owner)
    async with world.lives.healthy():
        await world.plant.drained(60)

    assert fenced != 0, "the owner of the old tables could not go on"
    assert {one["table"] for one in json.loads(said)["differences"]} >= {"accounts", "day_counts"}
    assert await world.verify("--from", "beginning") == {}
    assert len(await world.plant.changes()) == changes
