"""Background tasks: a stop is orderly, an end is an error."""

import asyncio

import pytest
from churnsignal_common.runtime.tasks import Stop, run_until_stopped

pytestmark = pytest.mark.asyncio


async def test_tasks_that_end_after_a_stop_are_a_clean_exit() -> None:
    stop = Stop()

    async def work() -> None:
        await stop.wait()

    async def ask() -> None:
        stop.set()
        await stop.wait()

    assert await run_until_stopped(stop, {"work": work, "ask": ask}) == 0


async def test_a_task_that_ends_by_itself_stops_the_others_and_fails() -> None:
    stop, saw_stop = Stop(), asyncio.Event()

    async def faithful() -> None:
        await stop.wait()
        saw_stop.set()

    async def quitter() -> None:
        return

    assert await run_until_stopped(stop, {"faithful": faithful, "quitter": quitter}) == 1
    assert saw_stop.is_set()


async def test_a_task_that_raises_stops_the_others_and_fails() -> None:
    stop = Stop()

    async def faithful() -> None:
        await stop.wait()

    async def broken() -> None:
        raise RuntimeError("boom")

    assert await run_until_stopped(stop, {"faithful": faithful, "broken": broken}) == 1


async def test_a_task_that_fails_on_the_way_out_is_a_failure_too() -> None:
    stop = Stop()

    async def breaks_late() -> None:
        await stop.wait()
        raise RuntimeError("while flushing")

    async def ask() -> None:
        stop.set()

    assert await run_until_stopped(stop, {"breaks_late": breaks_late, "ask": ask}) == 1


async def test_a_task_that_ignores_the_stop_is_cancelled_after_the_grace() -> None:
    stop = Stop()
    cancelled = asyncio.Event()

    async def deaf() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def ask() -> None:
        stop.set()

    await run_until_stopped(stop, {"deaf": deaf, "ask": ask}, grace_s=0.01)
    await asyncio.wait_for(cancelled.wait(), 5)

    assert cancelled.is_set()


async def test_waiting_for_a_stop_ends_with_the_time() -> None:
    assert await Stop().wait(0.001) is False
