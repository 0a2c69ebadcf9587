"""Flow. Keep processes running as a cluster would: what dies is started again, with backoff, and counted."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from subprocess import Popen
from typing import Protocol

LONGEST_WAIT_S = 15.0
# Whoever lived this long has recovered; its next death starts the backoff anew.
STEADY_S = 30.0


class Process(Protocol):
    """What can be kept running."""

    child: Popen[bytes] | None

    @property
    def name(self) -> str: ...
    def launch(self) -> None: ...
    def is_ready(self) -> bool: ...


@dataclass(slots=True)
class Kept:
    """One process and its history. `due_s` is when to start it again, on the monotonic clock."""

    process: Process
    started_at: datetime
    born_s: float
    restarts: int = 0
    failures: int = 0
    due_s: float | None = None
    ready: bool = False

    def report(self) -> dict[str, object]:
        """Return the row of `status --json`."""
        child = self.process.child
        return {
            "name": self.process.name,
            "pid": child.pid if child else None,
            "started_at": self.started_at.isoformat(),
            "restarts": self.restarts,
            "ready": self.ready,
        }


@dataclass(slots=True)
class Supervisor:
    """Keeps every process given to it. `tick` never waits for one."""

    monotonic: Callable[[], float] = time.monotonic
    kept: list[Kept] = field(default_factory=list)

    def keep(self, process: Process) -> None:
        """Take over a process that was just started."""
        self.kept.append(Kept(process, _now(), self.monotonic(), ready=True))

    def tick(self) -> list[str]:
        """Note who died, start whose wait is over, and return a line for each."""
        return [line for kept in self.kept if (line := self._look_at(kept))]

    def probe(self) -> bool:
        """Ask everybody whether it is ready, and say whether all are."""
        for kept in self.kept:
            kept.ready = kept.due_s is None and kept.process.is_ready()
        return all(kept.ready for kept in self.kept)

    def pids(self) -> list[int]:
        """Return the numbers of those that have one."""
        return [kept.process.child.pid for kept in self.kept if kept.process.child]

    def _look_at(self, kept: Kept) -> str | None:
        child = kept.process.child
        if kept.due_s is None and child is not None and child.poll() is not None:
            kept.failures = 1 if self.monotonic() - kept.born_s > STEADY_S else kept.failures + 1
            wait_s = min(0.25 * 2**kept.failures, LONGEST_WAIT_S)
            kept.due_s = self.monotonic() + wait_s
            kept.ready = False
            return f"{kept.process.name} ended (code {child.returncode}); starting it again in {wait_s:g} s"
        if kept.due_s is not None and self.monotonic() >= kept.due_s:
            kept.process.launch()
            kept.due_s, kept.born_s, kept.started_at = None, self.monotonic(), _now()
            kept.restarts += 1
            return f"{kept.process.name} started again ({kept.restarts})"
        return None


def _now() -> datetime:
    # When a process started is the machine's business, not the product's.
    return datetime.fromtimestamp(time.time(), UTC)  # noqa: TID251
