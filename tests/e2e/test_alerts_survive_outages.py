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


@pytest.mark.asyncio
@pytest.mark.timeout(240)
async def test_a_mail_that_was_taken_while_postgres_was_away_is_recorded_not_sent_again(stack: Stack, tmp_path: Path) -> None:
    postgres = stack.postgres
    async with open_world(stack, f"t{uuid.uuid4().hex[:8]}.", tmp_path, CHURNSIGNAL_SEND_TIMEOUT_S="10") as world:
        await world.csm("mia", channels=["email"])
        world.inbox.fail("smtp.data", "slow", seconds=2, match="mia", count=1)
        await world.publish(world.change("slow", "mia"))
        await world.until(lambda: world.inbox.faults.rules[0].struck)

        postgres.kill()
        await world.until(lambda: world.to("mia@example.com"))
        postgres.launch()
        postgres.wait_ready()

        async def recorded() -> bool:
            answer = await world.http.get("/v1/deliveries")
            return answer.status_code == 200 and [d["state"] for d in answer.json()["items"]] == ["sent"]

        await world.until(recorded, 60)
        delivery = (await world.http.get("/v1/deliveries")).json()["items"][0]
        assert [attempt["outcome"] for attempt in delivery["attempt_log"]] == ["sent"]
        assert len(world.to("mia@example.com")) == 1
