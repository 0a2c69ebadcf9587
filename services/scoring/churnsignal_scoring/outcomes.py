"""Pure. What became of each record: a closed set of words that add up to the offsets."""

from collections import Counter
from enum import StrEnum

from churnsignal_common.contracts.partitions import Place


class Outcome(StrEnum):
    """Every record of a usage topic ends as exactly one of these."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    IGNORED = "ignored"
    PARKED = "parked"
    MOVED = "moved"
    DEAD = "dead"


LOST = "lost_by_broker"
"""Why a record is dead that the brokers deleted before it was read."""


class Tally:
    """Counts of outcomes by place and reason; an un-parked call turns `parked` into `moved`, so counts may be negative here."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, int, str, str]] = Counter()

    def add(self, place: Place, outcome: Outcome, reason: str = "", count: int = 1) -> None:
        self.counts[(place.topic, place.partition, outcome.value, reason)] += count

    def total(self, place: Place) -> int:
        """Return how many records of `place` are accounted for."""
        return sum(count for key, count in self.counts.items() if key[:2] == place)
