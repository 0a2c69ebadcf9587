"""Flow. Stop a partition for a while that brings nothing but records that cannot be processed: somebody should look before all of it is gone."""

from time import monotonic

import structlog
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.kafka.feed import Feed

from churnsignal_scoring.decode import Reading
from churnsignal_scoring.metrics import Metrics

log = structlog.get_logger()

BRAKE_S = 60.0
BURIED_IN_A_ROW = 5
"""A record on which processing fails costs a retake of all partitions, so that few of them are enough."""
HOLD = "brake"


class Brake:
    """Counts unreadable records in a row per topic-partition; `limit` of them hold the partition for a minute."""

    def __init__(self, feed: Feed, metrics: Metrics, limit: int) -> None:
        self._feed = feed
        self._metrics = metrics
        self._limit = limit
        self._in_a_row: dict[Place, int] = {}
        self._buried: dict[Place, int] = {}
        self._until_s: dict[int, float] = {}

    def look(self, reading: Reading) -> None:
        """Count what a committed batch could not read."""
        good = {span.place for span in reading.spans if span.end > span.start}
        for place in reading.next:
            dead = sum(1 for poison in reading.dead if poison.place == place) if reading.dead else 0
            self._in_a_row[place] = 0 if place in good else self._in_a_row.get(place, 0) + dead
            self._buried.pop(place, None)
            if self._in_a_row[place] >= self._limit:
                self._stop(place, "only unreadable records")

    def buried(self, place: Place) -> None:
        """Count a record that was given up because processing failed on it."""
        self._buried[place] = self._buried.get(place, 0) + 1
        if self._buried[place] >= BURIED_IN_A_ROW:
            self._stop(place, "processing failed on each of its records")

    def begun(self) -> None:
        """Stop again what was stopped: a takeover of partitions lets all of them go."""
        self._feed.hold(HOLD, self._feed.places(self._until_s))

    def release(self) -> None:
        """Let partitions go on whose minute is over."""
        for partition in [p for p, until in self._until_s.items() if monotonic() >= until]:
            del self._until_s[partition]
            self._metrics.braked.labels(str(partition)).set(0)
            self._feed.release(HOLD, self._feed.places([partition]))

    def _stop(self, place: Place, why: str) -> None:
        self._in_a_row[place] = self._buried[place] = 0
        self._until_s[place.partition] = monotonic() + BRAKE_S
        self._feed.hold(HOLD, self._feed.places([place.partition]))
        self._metrics.braked.labels(str(place.partition)).set(1)
        log.error("partition_braked", topic=place.topic, partition=place.partition, seconds=BRAKE_S, why=why)
