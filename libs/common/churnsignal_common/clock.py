"""Door. The product's clock: real time, or one file that a development stack moves for all processes at once."""

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What the product means by *now*. Waiting for machines uses monotonic time instead, never this."""

    def now(self) -> datetime:
        """Return the aware UTC time."""


class RealClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ClockFile:
    """What the clock file says: at the machine's `real_s` (epoch seconds) it was `product_s`, and it runs at `rate`."""

    real_s: float
    product_s: float
    rate: float

    def write(self, path: Path) -> None:
        """Replace the file atomically, so that no reader ever sees half of it."""
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(json.dumps({"real_s": self.real_s, "product_s": self.product_s, "rate": self.rate}))
        fresh.replace(path)


class FileClock:
    """A clock for development: reads `path` again whenever it was replaced. `rate` 0 means paused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._file = ClockFile(0.0, 0.0, 0.0)
        self.now()

    def now(self) -> datetime:
        stat = self._path.stat()
        if (stat.st_mtime_ns, stat.st_ino) != self._seen:
            self._file = ClockFile(**json.loads(self._path.read_text()))
            self._seen = (stat.st_mtime_ns, stat.st_ino)
        elapsed = time.time() - self._file.real_s
        return datetime.fromtimestamp(self._file.product_s + elapsed * self._file.rate, UTC)


def paused_at(moment: datetime) -> ClockFile:
    """Return a clock that stands at `moment` until the file is replaced."""
    return ClockFile(real_s=time.time(), product_s=moment.timestamp(), rate=0.0)


def open_clock(spec: str, *, dev: bool) -> Clock:
    """Return the clock that `CHURNSIGNAL_CLOCK` names: `real`, or `file:<path>` in development only."""
    if spec == "real":
        return RealClock()
    if not spec.startswith("file:"):
        raise ValueError("CHURNSIGNAL_CLOCK must be `real` or `file:<path>`")
    if not dev:
        raise ValueError("CHURNSIGNAL_CLOCK=file:... is for development: set CHURNSIGNAL_ENV=dev or use `real`")
    return FileClock(Path(spec.removeprefix("file:")))
