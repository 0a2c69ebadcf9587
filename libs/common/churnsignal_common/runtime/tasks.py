"""Root. Run named background tasks until told to stop; one that ends by itself is an error that stops the process."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


class Stop:
    """Set once by SIGTERM or SIGINT, or by a task that failed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until stopped or until the time is over; return whether it is stopped. Use this, never `sleep`, in loops."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.set)


async def run_until_stopped(stop: Stop, tasks: dict[str, Callable[[], Coroutine[Any, Any, None]]], grace_s: float = 20.0) -> int:
    """Run all `tasks`; return 0 after an orderly stop, 1 when a task failed or ended before. Tasks watch `stop` themselves."""
    running = {asyncio.create_task(body(), name=name) for name, body in tasks.items()}
    stopped = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait({*running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    failed = [task for task in done if task is not stopped and not stop.is_set()]
    for task in failed:
        log.error("task_ended", task=task.get_name(), exc_info=task.exception())
    stop.set()
    pending = running - done
    if pending:
        _, late = await asyncio.wait(pending, timeout=grace_s)
        for task in late:
            log.error("task_did_not_stop", task=task.get_name(), grace_s=grace_s)
            task.cancel()
    stopped.cancel()
    broken = [task for task in running if task.done() and not task.cancelled() and task.exception()]
    for task in broken:
        if task not in failed:
            log.error("task_failed_while_stopping", task=task.get_name(), exc_info=task.exception())
    return 1 if failed or broken else 0
