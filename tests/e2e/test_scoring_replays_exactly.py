"""The same calls on another stack end on the same bits: shuffled within a day, repeated, other batches, partitions, hash seed and zone."""

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


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("partitions", "batch", "outer"),
    [
        (3, 400, {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"}),
        (5, 1, {"PYTHONHASHSEED": "2", "TZ": "America/New_York"}),
    ],
)
async def test_another_order_batching_and_partitioning_end_on_the_same_bits(
    stack: Stack, tmp_path: Path, partitions: int, batch: int, outer: dict[str, str]
) -> None:
    runs: list[Known] = []
    for name, count, size, env in (("first", 8, 20_000, {"PYTHONHASHSEED": "0"}), ("other", partitions, batch, outer)):
        url, prefix = stack.create_database("scoring"), f"{name}{partitions}{os.getpid()}."
        hands = Hands(tmp_path / f"{name}.json")
        hands.set(DAY)
        told = stack.env(url, prefix, CHURNSIGNAL_CLOCK=hands.spec, CHURNSIGNAL_PARTITIONS=str(count), CHURNSIGNAL_BATCH_RECORDS=str(size))
        stack.apply_topics(told)
        lives = Lives(told, tmp_path / f"{name}.log", env)
        try:
            async with open_plant(told) as plant:
                runs.append(await live(plant, hands, lives, None if name == "first" else random.Random(partitions)))
        finally:
            lives.close()
            stack.drop_database(url)
            stack.drop_topics(prefix)

    first, other = runs
    assert first.closed
    assert other.closed == first.closed
    assert {name: rows for name, rows in other.state.items() if name != "accounts"} == {
        name: rows for name, rows in first.state.items() if name != "accounts"
    }
    # The second column is the partition.
    assert [(row[0], *row[2:]) for row in other.state["accounts"]] == [(row[0], *row[2:]) for row in first.state["accounts"]]
    assert other.applied == first.applied
    assert other.unaccounted == first.unaccounted == 0
