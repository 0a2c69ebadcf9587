"""Pure. When to try a delivery again, and when to give its channel up."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits double from `first` to `most`. A channel that has another one behind it is given up after `patience`."""

    first: timedelta
    most: timedelta
    patience: timedelta

    def wait(self, attempts: int, asked_s: float | None) -> timedelta:
        """Return how long to wait after `attempts` tries; never less than the provider asked for."""
        doubled = min(self.most, self.first * (1 << min(max(attempts - 1, 0), 20)))
        return max(doubled, timedelta(seconds=asked_s or 0))


BACKOFF = Backoff(first=timedelta(seconds=1), most=timedelta(minutes=10), patience=timedelta(minutes=5))
