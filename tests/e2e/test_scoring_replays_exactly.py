"""The same calls on another stack end on the same bits: shuffled within a day, repeated, other batches, partitions, hash seed and zone."""

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_scoring_survives_kills import DAY, SEED, Known, Lives, calls_of, history, what_is_known
from tests.support.plant import Hands, Plant, open_plant
from tests.support.stack import Stack

DAYS = 4


async def live(plant: Plant, hands: Hands, lives: Lives, order: random.Random | None) -> Known:
    """Let the days pass; with `order`, each day's calls come shuffled, and every third of them twice."""
    chance = random.Random(SEED)
    hands.set(DAY)
    async with lives.healthy():
        await plant.put(mixed(history(), order))
        await plant.drained(60)
        for day in range(DAY, DAY + DAYS):
            hands.set(day)
            await plant.put(mixed(calls_of(day, chance), order))
            await plant.drained(60)
            hands.set(day + 1, 2.2)
            await plant.closed(day, 60)
        await plant.drained(60)
    return await what_is_known(plant)


def mixed(calls: list[Any], order: random.Random | None) -> list[Any]:
    if order is None:
        return calls
    again = [*calls, *calls[::3]]
    order.shuffle(again)
    return again


def lived(stack: Stack, where: Path, partitions: int, batch: int, outer: dict[str, str], order: random.Random | None) -> Known:
    """Return what a deployment of its own knows at the end. `outer` is the environment of its interpreter."""
    url, prefix = stack.create_database("scoring"), f"replay{partitions}{os.getpid()}."
    hands = Hands(where / "clock.json")
    hands.set(DAY)
    more = {"CHURNSIGNAL_CLOCK": hands.spec, "CHURNSIGNAL_PARTITIONS": str(partitions), "CHURNSIGNAL_BATCH_RECORDS": str(batch)}
    told = stack.env(url, prefix, **more)
    stack.apply_topics(told)
    lives = Lives(told, where / "scoring.log", outer)

    async def run() -> Known:
        async with open_plant(told) as plant:
            return await live(plant, hands, lives, order)

    try:
        return asyncio.run(run())
    finally:
        lives.close()
        stack.drop_database(url)
        stack.drop_topics(prefix)


@pytest.fixture(scope="module")
def first(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Known:
    """The run that nothing disturbs."""
    return lived(stack, tmp_path_factory.mktemp("first"), 8, 20_000, {"PYTHONHASHSEED": "0"}, None)


@pytest.mark.parametrize(
    ("partitions", "batch", "outer"),
    [
        (3, 400, {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"}),
        (5, 1, {"PYTHONHASHSEED": "2", "TZ": "America/New_York"}),
    ],
)
def test_another_order_batching_and_partitioning_end_on_the_same_bits(
    stack: Stack, first: Known, tmp_path: Path, partitions: int, batch: int, outer: dict[str, str]
) -> None:
    other = lived(stack, tmp_path, partitions, batch, outer, random.Random(partitions))

    assert first.closed
    assert other.closed == first.closed
    assert {name: rows for name, rows in other.state.items() if name != "accounts"} == {
        name: rows for name, rows in first.state.items() if name != "accounts"
    }
    # The second column is the partition.
    assert [(row[0], *row[2:]) for row in other.state["accounts"]] == [(row[0], *row[2:]) for row in first.state["accounts"]]
    assert other.applied == first.applied
    assert other.unaccounted == first.unaccounted == 0
