"""Pure. Which refused records an operator asks for, and where in the topic a page ends."""

from dataclasses import dataclass
from datetime import datetime

from churnsignal_common.contracts.envelope import Rejected

# What scoring buried before its source could be read.
NO_SOURCE = "unknown"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter; None asks for all. `since` is part of it, `until` is not."""

    source: str | None = None
    reason: str | None = None
    stage: str | None = None
    id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, rejected: Rejected) -> bool:
        return (
            self.source in (None, rejected.source or NO_SOURCE)
            and self.reason in (None, rejected.reason)
            and self.stage in (None, rejected.stage)
            and self.id in (None, rejected.id)
            and (self.since is None or rejected.rejected_at >= self.since)
            and (self.until is None or rejected.rejected_at < self.until)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """One refused record and its own place in the topic of refused ones."""

    partition: int
    offset: int
    rejected: Rejected


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, how many records were looked at, and where to go on; None when the end was reached."""

    items: list[Found]
    scanned: int
    next: tuple[int, int] | None
