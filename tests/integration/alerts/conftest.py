"""Root. One alerts service for the tests of this folder; each uses accounts and people of its own."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from tests.support.alerts_world import START, World, open_world
from tests.support.stack import Stack


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def running(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with open_world(stack, f"t{uuid.uuid4().hex[:8]}.", tmp_path_factory.mktemp("alerts")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="package")
async def world(running: World) -> AsyncIterator[World]:
    """The service on a Friday at noon, without faults and with nothing left to send. Its clock never goes back, so it may be a later Friday."""
    running.set_clock(running.now + (START - running.now) % timedelta(weeks=1))
    yield running
    running.inbox.faults.clear()
    # The next test may move the clock by days: what this one left open must not follow up then, before it.
    await running.database.execute("UPDATE alerts.episodes SET next_at = NULL")
    await running.database.execute("UPDATE alerts.notices SET state = 'cancelled' WHERE state = 'queued'")
