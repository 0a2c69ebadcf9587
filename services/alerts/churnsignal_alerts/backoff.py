"""Pure. When to try a delivery again, and when to give its channel up."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits double from `first` to `most`. A channel gives way to the person's other one after `patience`, to other people after `last_resort`."""

    first: timedelta
    most: timedelta
    patience: timedelta
    last_resort: timedelta

    def wait(self, attempts: int, asked_s: float | None) -> timedelta:
        """Return how long to wait after `attempts` tries; never less than the provider asked for."""
        doubled = min(self.most, self.first * (1 << min(max(attempts - 1, 0), 20)))
        return max(doubled, timedelta(seconds=asked_s or 0))


# Longer than any greylisting before an alert goes to somebody else, shorter than a working day.
BACKOFF = Backoff(first=timedelta(seconds=1), most=timedelta(minutes=5), patience=timedelta(minutes=5), last_resort=timedelta(hours=1))
