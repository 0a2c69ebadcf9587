"""Postgres crashes, the broker dies: scoring waits, says for whom, and goes on without a loss or a double."""

import asyncio
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from churnsignal_common.postgres.engine import open_engine, transaction

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


@pytest.mark.asyncio
async def test_packets_that_get_lost_on_the_way_to_postgres_and_kafka_cost_time_and_nothing_else(
    told: dict[str, str], stack: Stack, tmp_path: Path
) -> None:
    async with open_plant(told) as plant:
        with service("scoring", told, tmp_path) as process:
            await plant.put(calls("a", 500))
            await plant.drained()
            for number, cut in enumerate(({"postgres"}, {"kafka"}, {"postgres", "kafka"})):
                try:
                    # Connections stay open and nobody answers: what a cable that is cut looks like from here.
                    if "postgres" in cut:
                        stack.postgres.freeze()
                    await plant.put(calls(f"b{number}", 500))
                    await asyncio.sleep(0.5)  # time to read them
                    if "kafka" in cut:
                        stack.kafka.freeze()
                    # A statement may take 15 s, and a call of Kafka 10: they are missed before.
                    async for _ in ticks(5 if cut == {"postgres"} else 10, "readyz names what does not answer, and nothing else"):
                        status, body = await asyncio.to_thread(readiness, process)
                        if status == 503 and set(re.findall("kafka|postgres", body["status"])) == cut:
                            break
                finally:
                    stack.postgres.thaw()
                    stack.kafka.thaw()
                async for _ in ticks(15, "it is ready again"):
                    if (await asyncio.to_thread(readiness, process))[0] == 200:
                        break
                await plant.put(calls(f"c{number}", 500))
                await plant.drained()
            assert process.is_alive()

        assert await plant.outcomes() == {"applied": 3500}
        assert await plant.value("SELECT sum(events_total)::int FROM scoring.accounts") == 3500


@pytest.mark.asyncio
async def test_a_transaction_whose_begin_had_no_answer_swallows_none_of_those_after_it(database_url: str, stack: Stack) -> None:
    async with open_engine(database_url, "scoring", pool=1, command_timeout_s=1) as engine:
        async with transaction(engine) as pg:
            await pg.execute("CREATE TABLE public.kept (id int)")
        stack.postgres.freeze()
        with pytest.raises(TimeoutError):
            async with transaction(engine):
                pass
        stack.postgres.thaw()
        async with transaction(engine) as pg:
            await pg.execute("INSERT INTO public.kept VALUES (1)")
        other = await asyncpg.connect(database_url)
        found = await other.fetchval("SELECT count(*) FROM public.kept")
        await other.close()

    assert found == 1
