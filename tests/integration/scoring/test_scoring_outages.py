"""Postgres crashes, the broker dies: scoring waits, says for whom, and goes on without a loss or a double."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.plant import at, open_plant, readiness, ticks, track
from tests.support.stack import Stack, service, stack_to_hurt  # noqa: F401 takes the place of `stack`

DAY = 20_000


def calls(name: str, count: int, accounts: int = 20) -> list[Any]:
    return [track(f"a{n % accounts}", "Opened Report", at(DAY), f"{name}{n}", user=f"u{n % 7}") for n in range(count)]


@pytest.mark.asyncio
async def test_a_crash_of_postgres_loses_and_doubles_nothing(told: dict[str, str], stack: Stack, tmp_path: Path) -> None:
    async with open_plant(told) as plant:
        with service("scoring", told | {"CHURNSIGNAL_BATCH_RECORDS": "50"}, tmp_path) as process:
            crashes = 0
            # Scoring may be through with the calls before the crash: then the next one finds it at work.
            while "postgres_away" not in process.log.read_text() and crashes < 10:
                await plant.put(calls(f"{crashes}.", 2000))
                stack.postgres.restart_immediately()
                crashes += 1
            await plant.put(calls("b", 2000))
            async for _ in ticks(60, "everything is applied"):
                try:
                    if await plant.lag() == 0:
                        break
                except OSError:
                    continue
            assert process.child is not None
            assert process.child.poll() is None
            assert "postgres_away" in process.log.read_text(), "the crash was felt"

        sent = 2000 * (crashes + 1)
        assert await plant.outcomes() == {"applied": sent}
        assert await plant.value("SELECT sum(events_total) FROM scoring.accounts") == sent


@pytest.mark.asyncio
async def test_a_broker_that_dies_is_named_and_waited_for(told: dict[str, str], stack: Stack, tmp_path: Path) -> None:
    async with open_plant(told) as plant:
        with service("scoring", told, tmp_path) as process:
            await plant.put(calls("a", 500))
            await plant.drained()
            stack.kafka.kill()
            async for _ in ticks(60, "readyz names kafka"):
                status, body = await asyncio.to_thread(readiness, process)
                if status == 503 and "kafka" in body["status"]:
                    break
            stack.kafka.launch()
            await asyncio.to_thread(stack.kafka.wait_ready)
            async for _ in ticks(60, "it is ready again"):
                if (await asyncio.to_thread(readiness, process))[0] == 200:
                    break
            await plant.put(calls("b", 500))
            await plant.drained(60)

        assert await plant.outcomes() == {"applied": 1000}
