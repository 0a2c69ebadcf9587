"""What scoring keeps, where, and for how long: states beyond memory, months of scores, calls that wait, ids that were seen."""

from pathlib import Path
from zlib import crc32

import asyncpg
import pytest
from churnsignal_common.contracts.envelope import AccountMerged
from churnsignal_scoring.api import command_envelope
from churnsignal_scoring.health import state
from churnsignal_scoring.health.days import from_date
from churnsignal_scoring.months import make_months

from tests.support.closing import open_town
from tests.support.plant import Hands, at, open_plant, track
from tests.support.stack import Stack, service

DAY = 20_000
LATE_OCTOBER = 20_025
LONG_AGO = """INSERT INTO scoring.risk_changes (account, sequence, day, cause, to_band, body) VALUES
    ('acme', -3, 15000, 'close', 'red', '{}'), ('acme', -2, 16000, 'close', 'green', '{}'), ('acme', -1, 17000, 'close', 'red', '{}'),
    ('acme', 0, 20000, 'close', 'green', '{}'), ('part', -2, 15000, 'close', 'red', '{}'), ('part', -1, 16000, 'merged', 'grey', '{}');
INSERT INTO scoring.day_records (day, record) VALUES (17000, '{}');
INSERT INTO scoring.closes (day, partition, stage) VALUES (17000, 0, 'done')"""


@pytest.mark.asyncio
async def test_accounts_beyond_memory_are_read_again_and_count_on(told: dict[str, str], tmp_path: Path) -> None:
    small = told | {"CHURNSIGNAL_RESIDENT_BYTES": "100000", "CHURNSIGNAL_RESIDENT_IDS": "10000", "CHURNSIGNAL_BATCH_RECORDS": "120"}
    async with open_plant(told) as plant:
        with service("scoring", small, tmp_path):
            for turn in range(3):
                calls = [track(f"a{n}", "Opened Report", at(DAY + turn), f"{turn}.{n}", user=f"u{turn}") for n in range(400)]
                await plant.put(calls)
                await plant.drained()
        counted = await plant.rows(
            """SELECT a.account FROM scoring.accounts a JOIN scoring.day_counts d USING (account) JOIN scoring.user_days u USING (account)
               WHERE a.events_total = 3 GROUP BY a.account HAVING count(DISTINCT d.day) = 3 AND count(DISTINCT u.user_id) = 3"""
        )

        assert await plant.outcomes() == {"applied": 1200}
        assert len(counted) == 400


@pytest.mark.asyncio
async def test_calls_of_strangers_are_let_go_after_their_time_and_counted(told: dict[str, str], tmp_path: Path) -> None:
    hands = Hands(tmp_path / "clock.json")
    hands.set(DAY)
    async with open_plant(told) as plant:
        with service("scoring", told | {"CHURNSIGNAL_CLOCK": hands.spec, "CHURNSIGNAL_PARKED_DAYS": "1"}, tmp_path):
            await plant.put([track(None, "Viewed Pricing", at(DAY), f"t{n}", user=f"u{n}") for n in range(9)])
            await plant.drained()
            kept = await plant.value("SELECT sum(count)::int FROM scoring.v_parked")
            for day in range(DAY, DAY + 3):
                hands.set(day + 1, 2.2)
                await plant.closed(day)

        assert kept == 9
        assert await plant.value("SELECT count(*) FROM scoring.v_parked") == 0
        assert await plant.outcomes() == {"dead": 9}
        assert len(await plant.records("usage.rejected.v1")) == 9
        assert await plant.value("SELECT DISTINCT reason FROM scoring.v_outcomes WHERE count > 0") == "parked_too_long"


@pytest.mark.asyncio
async def test_ids_are_forgotten_when_no_retry_can_repeat_them_and_old_changes_when_no_kept_close_refers_to_them(
    told: dict[str, str], tmp_path: Path
) -> None:
    hands = Hands(tmp_path / "clock.json")
    hands.set(LATE_OCTOBER)
    async with open_plant(told) as plant:
        with service("scoring", told | {"CHURNSIGNAL_CLOCK": hands.spec}, tmp_path):
            await plant.put([track("acme", "Opened Report", at(LATE_OCTOBER), f"t{n}", user="u") for n in range(8)])
            await plant.put([command_envelope("part", AccountMerged(into="acme", author="kei"), "m", at(LATE_OCTOBER))])
            await plant.drained()
            stored = await plant.value("SELECT sum(octet_length(ids))::int FROM scoring.dedup")
            await plant.database.execute(LONG_AGO)
            for day in range(LATE_OCTOBER, LATE_OCTOBER + 10):
                hands.set(day + 1, 2.2)
                await plant.closed(day)

        # With the merge, and what it handed over.
        assert stored == (8 + 2) * 8
        assert await plant.value("SELECT count(*) FROM scoring.dedup") == 0
        kept = await plant.rows("SELECT account, sequence FROM scoring.risk_changes WHERE sequence <= 0 ORDER BY 1, 2")
        assert [(*row,) for row in kept] == [("acme", -1), ("acme", 0), ("part", -1)]
        assert await plant.value("SELECT min(day) FROM scoring.day_records") == LATE_OCTOBER
        assert await plant.value("SELECT min(day) FROM scoring.closes") == LATE_OCTOBER


@pytest.mark.asyncio
async def test_months_of_scores_are_made_ahead_and_dropped_when_old(stack: Stack) -> None:
    url = stack.create_database("scoring")
    database = await asyncpg.connect(url, server_settings={"search_path": "scoring"})
    try:
        for year, month in ((2025, 11), (2025, 12), (2026, 1), (2026, 4)):
            async with database.transaction():
                await make_months(database, from_date(at(0).date().replace(year=year, month=month, day=15)), 2)
        names = await database.fetch(
            "SELECT inhrelid::regclass::text AS relname FROM pg_inherits WHERE inhparent = 'scoring.score_history'::regclass ORDER BY 1"
        )
    finally:
        await database.close()
        stack.drop_database(url)

    assert [row["relname"][-7:] for row in names] == ["2026_02", "2026_04", "2026_05"]


@pytest.mark.asyncio
async def test_of_more_users_than_are_kept_those_that_made_room_leave_the_table(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "BLOCK_USERS", 6)
    url = stack.create_database("scoring")
    try:
        async with open_town(url, DAY - 1) as town:
            for batch in range(3):
                await town.batch([track("acme", "Opened Report", at(DAY), f"{batch}.{n}", user=f"u{batch}.{n}") for n in range(10)])
            [acme] = await town.load.residents(["acme"])
            async with town.store.transaction() as pg:
                stored = await pg.fetchval("SELECT count(*) FROM user_days")
    finally:
        stack.drop_database(url)
    everybody = {f"u{batch}.{n}" for batch in range(3) for n in range(10)}

    assert stored == 6
    assert set(acme.state.blocks[DAY // state.BLOCK_DAYS]) == set(sorted(everybody, key=lambda user: crc32(user.encode()))[:6])
