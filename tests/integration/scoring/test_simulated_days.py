"""Simulated time says what real time says: a backtest and the running service close every day of the same events on the same scores and bands."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_scoring.backtest.calls import Caller
from churnsignal_scoring.backtest.files import Events, read_events
from churnsignal_scoring.backtest.shares import Policies, replay
from churnsignal_scoring.health.days import from_date, open_zone

from tests.support.plant import Hands, open_plant
from tests.support.simulated import use
from tests.support.stack import service

ACCOUNTS, DAYS = (int(number) for number in os.environ.get("SIMULATED", "20x20").split("x"))
ZONE = "Europe/Berlin"
FIRST = datetime(2026, 3, 16, tzinfo=UTC)
"""Two weeks before the clocks go forward."""
POLICIES = Policies(None, None, ZONE)


def sent(events: Events) -> Iterator[tuple[int, list[Envelope]]]:
    """Yield the days, each with its calls as ingest would publish them."""
    caller = Caller(POLICIES.engine().mapper, events.names)
    for day, rows in events.by_day():
        yield day, list(caller.calls(rows))


@pytest.mark.asyncio
async def test_a_backtest_closes_every_day_as_the_running_service_does_when_the_clocks_change_too(
    told: dict[str, str], tmp_path: Path
) -> None:
    use(ACCOUNTS, DAYS, FIRST).write_parquet(tmp_path / "events.parquet")
    events = read_events(tmp_path / "events.parquet", open_zone(ZONE))
    first = from_date(FIRST.date())
    hands = Hands(tmp_path / "clock.json")
    hands.set(first)
    async with open_plant(told) as plant:
        with service("scoring", told | {"CHURNSIGNAL_CLOCK": hands.spec, "CHURNSIGNAL_DAY_ZONE": ZONE}, tmp_path):
            for day, calls in sent(events):
                hands.set(day, 23.5)
                await plant.put(calls)
                await plant.drained()
                hands.set(day + 1, 2.2)
                await plant.closed(day)
        rows = await plant.rows("SELECT account, day, score, band FROM scoring.score_history")
    live = {(row["account"], row["day"]): (row["score"], row["band"]) for row in rows}
    asked = pl.DataFrame(list(live), schema=["account_id", "day"], orient="row").with_columns(pl.col("day").cast(pl.Int32))

    found = replay(POLICIES, events, asked, {}, lambda _: None)

    assert {(one.account, one.day): (one.score, one.band.value) for one in found.answers} == live
    assert len(live) > ACCOUNTS * DAYS // 2
    assert {band for _, band in live.values()} == {"grey", "green", "yellow", "red"}
