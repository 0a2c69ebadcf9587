"""Flow. The loop that owns partitions: take over, close days, poll, commit; after any doubt begin again from Postgres."""

import asyncio
from dataclasses import dataclass
from time import monotonic

import structlog
from churnsignal_common.contracts.topics import USAGE_HISTORY
from churnsignal_common.postgres.failures import is_away
from churnsignal_common.runtime.attempt import attempt
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop

from churnsignal_scoring.batch import Batch, Polled
from churnsignal_scoring.brake import Brake
from churnsignal_scoring.closes import Closes
from churnsignal_scoring.decode import Record
from churnsignal_scoring.doors import Doors
from churnsignal_scoring.feed import TOPICS, Unowned
from churnsignal_scoring.memory import Memory
from churnsignal_scoring.metrics import Metrics
from churnsignal_scoring.outcomes import Place
from churnsignal_scoring.ownership import Fenced, Reconfigured
from churnsignal_scoring.takeover import Misconfigured, Takeover

log = structlog.get_logger()

IDLE_POLL_MS = 50
LOOK_S = 0.02
LONGEST_BACKOFF_S = 5.0
CRASHES_IN_A_ROW = 10
HAND_OVER_S = 30.0


@dataclass(frozen=True, slots=True)
class Voice:
    """What the loop says about itself and its dependencies."""

    postgres: Dependency
    consumer: Dependency
    metrics: Metrics


class Consume:
    """`beat_s` and `moved_s` tell the watchdog when the loop last turned, and when it last got on or had nothing to do."""

    def __init__(self, doors: Doors, batch: Batch, closes: Closes, takeover: Takeover, memory: Memory, voice: Voice, brake: Brake) -> None:
        self._feed = doors.feed
        self._relay = doors.relay
        self._batch = batch
        self._closes = closes
        self._takeover = takeover
        self._memory = memory
        self._voice = voice
        self._brake = brake
        self._lock = asyncio.Lock()
        self._generation = -1
        self._backoff_s = 0.1
        self._at_hand: Polled | None = None
        self._careful = 0
        self._crashes = 0
        self._suspect: tuple[Place, Record, str] | None = None
        self._looked_s = 0.0
        self.beat_s = self.moved_s = monotonic()

    async def run(self, stop: Stop) -> None:
        """Consume until stopped; raises when this process must not go on."""
        try:
            if not await self._feed.open(stop):
                return
            while not stop.is_set():
                self.beat_s = monotonic()
                error = await attempt(self._turn(stop))
                if error is not None:
                    await self._recover(error, stop)
        finally:
            await self._feed.close()

    async def hand_over(self) -> None:
        """Let the transaction at hand finish, then forget the partitions: another process may own them from now on."""
        self._generation = -1
        try:
            async with asyncio.timeout(HAND_OVER_S), self._lock:
                self._memory.forget()
                self._relay.forget()
        except TimeoutError:
            # The epoch refuses whatever the slow transaction still tries.
            log.warning("hand_over_timed_out", timeout_s=HAND_OVER_S)

    async def _turn(self, stop: Stop) -> None:
        if self._generation != self._feed.generation:
            await self._take(stop)
            return
        if not self._relay.has_room:
            await stop.wait(0.05)
            return
        self._brake.release()
        async with self._lock:
            busy = self._is_ours() and bool(self._memory.positions) and await self._closes.step()
        polled = await (self._feed.poll_one(IDLE_POLL_MS) if self._careful else self._feed.poll(0 if busy else IDLE_POLL_MS))
        async with self._lock:
            if not self._is_ours():
                return
            if polled:
                await self._process(polled)
            else:
                await self._batch.delete_published()
        self._watch_lag(moved=bool(polled))
        self._voice.postgres.up()
        self._backoff_s = 0.1

    def _is_ours(self) -> bool:
        return self._generation == self._feed.generation

    async def _take(self, stop: Stop) -> None:
        generation, partitions = self._feed.generation, list(self._feed.owned)
        if not partitions:
            self._generation = generation
            self._voice.consumer.up()
            return
        starts = await self._feed.starts(partitions)
        ends = await self._feed.ends(TOPICS, partitions)
        if starts is None or ends is None:
            await stop.wait(0.5)
            return
        async with self._lock:
            self._relay.forget()
            self._closes.forget()
            left = await self._takeover.claim(partitions, starts, ends)
            if self._suspect is not None:
                await self._bury(*self._suspect)
            self._feed.begin(self._memory.positions, generation)
            for partition, closing in self._memory.ledger.partitions.items():
                if closing.recorded > closing.done and closing.recorded not in self._memory.ledger.records:
                    self._feed.hold(partition)
            self._generation = generation
        self._relay.publish(left)
        self._voice.postgres.up()
        self._voice.consumer.up()

    async def _process(self, polled: Polled) -> None:
        self._at_hand = polled
        reading = await self._batch.run(polled)
        self._at_hand = None
        self._crashes = 0
        self._careful = max(0, self._careful - sum(len(records) for _, records in polled))
        for place, count in reading.lost.items():
            log.error(
                "records_lost", topic=place.topic, partition=place.partition, count=count, why="the broker deleted them before we read them"
            )
        self._brake.look(reading)

    def _watch_lag(self, *, moved: bool) -> None:
        if moved:
            self.moved_s = monotonic()
        if monotonic() < self._looked_s + LOOK_S:
            return
        self._looked_s = monotonic()
        lag = self._feed.lag(self._memory.positions)
        live = sum(count for place, count in lag.items() if place.topic != USAGE_HISTORY)
        self._feed.open_history(live == 0)
        by_partition: dict[int, int] = {}
        for place, count in lag.items():
            by_partition[place.partition] = by_partition.get(place.partition, 0) + count
        for partition, count in by_partition.items():
            self._voice.metrics.lag.labels(str(partition)).set(count)
        if not live or self._feed.holds:
            self.moved_s = monotonic()

    async def _recover(self, error: Exception, stop: Stop) -> None:
        """Decide by the kind of error: end, begin again, or look for the record that cannot be processed."""
        polled, self._at_hand = self._at_hand, None
        self._generation = -1
        self._voice.metrics.retries.inc()
        if isinstance(error, Fenced | Misconfigured):
            self._voice.consumer.down(str(error))
            raise error
        if isinstance(error, Unowned | Reconfigured):
            return
        if is_away(error):
            self._voice.postgres.down(type(error).__name__)
            log.warning("postgres_away", error=type(error).__name__, retry_in_s=self._backoff_s)
            await stop.wait(self._backoff_s)
            self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)
            return
        if polled is None:
            raise error
        self._suspect_one_of(polled, error)

    def _suspect_one_of(self, polled: Polled, error: Exception) -> None:
        size = sum(len(records) for _, records in polled)
        log.error("batch_failed", records=size, error=type(error).__name__, exc_info=error)
        if size > 1:
            # One by one from here: the culprit shows itself and only it is given up.
            self._careful = size
            return
        self._crashes += 1
        if self._crashes >= CRASHES_IN_A_ROW:
            raise error
        [(place, records)] = polled
        self._suspect = (place, records[0], type(error).__name__)

    async def _bury(self, place: Place, record: Record, error: str) -> None:
        if self._memory.positions.get(place) == record.offset:
            await self._batch.bury(place, record, "unprocessable", f"scoring failed on this record with {error}")
            log.error("record_buried", topic=place.topic, partition=place.partition, offset=record.offset, error=error)
            self._careful = max(0, self._careful - 1)
        self._suspect = None
