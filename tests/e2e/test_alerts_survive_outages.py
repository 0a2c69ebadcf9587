"""Kafka and Postgres go away under alerts: it says so, waits, and tells everything afterwards, once."""

import uuid
from pathlib import Path

import pytest

from tests.support.alerts_world import World, open_world
from tests.support.stack import Stack, stack_to_hurt  # noqa: F401 takes the place of `stack`


async def readiness(world: World) -> str:
    return str((await world.http.get("/readyz")).json()["status"])


@pytest.mark.asyncio
@pytest.mark.timeout(240)
async def test_what_happens_during_an_outage_is_told_after_it(stack: Stack, tmp_path: Path) -> None:
    kafka, postgres = stack.kafka, stack.postgres
    async with open_world(stack, f"t{uuid.uuid4().hex[:8]}.", tmp_path) as world:
        await world.csm("otto")
        await world.publish(world.change("before", "otto"))
        await world.until(lambda: len(world.to("U0OTTO")) == 1)

        async def says(status: str) -> bool:
            return await readiness(world) == status

        kafka.freeze()
        await world.until(lambda: says("degraded: kafka"))
        kafka.thaw()
        await world.until(lambda: says("ready"), 60)
        await world.publish(world.change("frozen", "otto"))
        await world.until(lambda: len(world.to("U0OTTO")) == 2, 60)

        postgres.kill()
        await world.publish(world.change("orphan", "otto"))
        await world.until(lambda: says("degraded: postgres"))
        postgres.launch()
        postgres.wait_ready()
        await world.until(lambda: len(world.to("U0OTTO")) == 3, 60)

        assert sorted(m.text.split(" is ")[0] for m in world.to("U0OTTO")) == ["Before", "Frozen", "Orphan"]
        await world.until(lambda: says("ready"))
