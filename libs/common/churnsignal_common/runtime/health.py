"""Door. What /readyz says: each dependency, whether it answers, since when, and why not."""

from dataclasses import dataclass, field
from time import monotonic
from typing import Any


@dataclass(slots=True)
class Dependency:
    """The last word on one dependency, noted by whoever talks to it. Unknown until the first word."""

    name: str
    ok: bool | None = None
    reason: str = "not tried yet"
    changed_s: float = field(default_factory=monotonic)
    seen_s: float = field(default_factory=monotonic)

    def up(self) -> None:
        self._note(True, "")

    def down(self, reason: str) -> None:
        self._note(False, reason)

    def _note(self, ok: bool, reason: str) -> None:
        self.seen_s = monotonic()
        if ok != self.ok:
            self.changed_s = self.seen_s
        self.ok, self.reason = ok, reason

    def report(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ok": self.ok,
            "reason": self.reason,
            "age_s": round(monotonic() - self.seen_s, 1),
            "since_s": round(monotonic() - self.changed_s, 1),
        }


@dataclass(slots=True)
class Readiness:
    """The service's state for a load balancer. `tolerant` (ingest) stays 200 `degraded` when a dependency is away."""

    dependencies: tuple[Dependency, ...]
    tolerant: bool = False
    starting: bool = True
    draining: bool = False

    def report(self) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and body of /readyz."""
        broken = [d.name for d in self.dependencies if not d.ok]
        status = "starting" if self.starting else "draining" if self.draining else f"degraded: {', '.join(broken)}" if broken else "ready"
        refuse = self.starting or self.draining or (bool(broken) and not self.tolerant)
        body = {"status": status, "dependencies": [d.report() for d in self.dependencies]}
        return (503 if refuse else 200), body
