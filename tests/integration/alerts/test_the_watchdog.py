"""A synthetic alert travels the whole way, and what keeps it from arriving is seen."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from churnsignal_alerts.policy_file import default_text

from tests.support.alerts_world import World
from tests.support.nursery import nursery

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def watched(world: World) -> AsyncIterator[World]:
    """The service with a watchdog, and afterwards without."""
    await world.http.put("/v1/routing", json={"document": default_text() + 'watchdog: {slack: "#dog", every_minutes: 10080}\n'})
    yield world
    await world.http.put("/v1/routing", json={"document": default_text()})


async def watchdog(world: World, *words: str) -> tuple[int, str, str]:
    """Run the command as an operator does."""
    return await asyncio.to_thread(nursery().run, "alerts", ["watchdog", *words], world.told)


async def test_it_arrives_is_closed_and_shows_in_no_list(watched: World) -> None:
    code, out, err = await watchdog(watched, "--wait", "40", "--json")

    assert (code, err) == (0, "")
    assert json.loads(out)["arrived"] is True
    (message,) = [m for m in watched.kept(kind="slack") if m.channel_name == "dog"][-1:]
    assert message.text == "Test alert: delivery works"
    assert "churnsignal:watchdog" not in (await watched.http.get("/v1/episodes", params={"limit": 500})).text
    assert "churnsignal:watchdog" not in (await watched.http.get("/v1/unowned", params={"limit": 500})).text
    query = "SELECT state FROM alerts.episodes WHERE account LIKE 'churnsignal:watchdog:%' ORDER BY opened_at DESC, id LIMIT 1"
    assert await watched.database.fetchval(query) == "closed"


async def test_one_that_does_not_arrive_where_it_should_fails(watched: World) -> None:
    watched.inbox.fail("chat.postMessage", "error", error="is_archived", match="#dog")
    code, _, err = await watchdog(watched, "--wait", "3")

    await watched.database.execute("UPDATE alerts.watchdog SET arrived_at = arrived_at - interval '8 days'")

    assert code == 1
    assert "was not delivered within 3 s" in err
    late = await watched.until(lambda: lateness(watched))
    assert 80_000 < late < 90_000


async def lateness(world: World) -> float:
    """Return the metric that pages."""
    text = (await world.http.get("/metrics")).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("churnsignal_alerts_watchdog_late_seconds "))


async def test_without_a_place_to_go_the_command_says_what_to_do(world: World) -> None:
    code, _, err = await watchdog(world)

    assert code == 1
    assert "routing.yaml has no watchdog" in err
