"""Pure. A token bucket: so many events a second, bursts up to its size. Time is handed in."""

import math


class Bucket:
    """Starts full. One batch may go into debt, so that a batch larger than the burst is slow but not impossible."""

    __slots__ = ("_at_s", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now_s: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at_s = now_s

    def take(self, events: int, now_s: float) -> int:
        """Take `events` tokens and return 0, or return the whole seconds to wait, at least 1."""
        tokens = min(self.burst, self._tokens + (now_s - self._at_s) * self.rate)
        self._at_s = now_s
        if tokens <= 0:
            self._tokens = tokens
            return max(1, math.ceil((1 - tokens) / self.rate))
        self._tokens = tokens - events
        return 0
