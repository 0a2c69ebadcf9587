"""Flow. End a process whose loop stands still although there is work: a restart is the cure, silence would be the harm."""

from collections.abc import Callable
from time import monotonic

import structlog
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop

log = structlog.get_logger()

LOOK_S = 1.0


class Stuck(Exception):
    """The consumer loop has not turned, or has not got on, for too long."""


class Watchdog:
    """`beat_s` and `moved_s` say when the loop last turned, and when it last got on. While Postgres is away it waits, as it should."""

    def __init__(self, after_s: float, postgres: Dependency, beat_s: Callable[[], float], moved_s: Callable[[], float]) -> None:
        self._after_s = after_s
        self._postgres = postgres
        self._beat_s = beat_s
        self._moved_s = moved_s

    async def run(self, stop: Stop) -> None:
        while not await stop.wait(LOOK_S):
            self.look(monotonic())

    def look(self, now_s: float) -> None:
        """Raise `Stuck` when the loop stands still at `now_s`."""
        if now_s - self._beat_s() > self._after_s:
            raise Stuck(f"the consumer loop has not turned for {now_s - self._beat_s():.0f} s")
        if self._postgres.ok is not False and now_s - self._moved_s() > self._after_s:
            raise Stuck(f"records wait, but none was read for {now_s - self._moved_s():.0f} s")
