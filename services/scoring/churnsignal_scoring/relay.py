"""Flow. Publish what transactions left in the outbox, in order per partition, and delete it once the brokers have acknowledged it."""

import asyncio
from collections import deque

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from churnsignal_common.kafka.client import Brokers, connect, new_producer, stop_client
from churnsignal_common.runtime import crash
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop

from churnsignal_scoring.effects import OutboxRow

log = structlog.get_logger()
crash.declare("scoring.before_publish", "scoring.after_publish")

SEND_S = 15.0
ROOM_RECORDS = 50_000


class Relay:
    """The outbox's way to Kafka. A crash between acknowledgement and deletion publishes again; readers know ids and sequences.

    Rows are acknowledged in the order taken: what was taken when `taken` was n is in Kafka once `acknowledged` >= n.
    """

    def __init__(self, brokers: Brokers, prefix: str, health: Dependency) -> None:
        self._brokers = brokers
        self._prefix = prefix
        self._health = health
        self._producer: AIOKafkaProducer | None = None
        self._waiting: deque[OutboxRow] = deque()
        self._flying: list[OutboxRow] = []
        self._wake = asyncio.Event()
        self._done: list[int] = []
        self.taken = 0
        self.acknowledged = 0

    def publish(self, rows: list[OutboxRow]) -> None:
        """Take committed rows; they leave at once."""
        if rows:
            self._waiting.extend(rows)
            self.taken += len(rows)
            self._wake.set()

    def forget(self) -> None:
        """Drop what waits: the next owner, perhaps ourselves, finds it in the outbox again."""
        self.acknowledged += len(self._waiting)
        self._waiting.clear()
        self._done.clear()

    def take_published(self) -> list[int]:
        """Return the ids that may be deleted, once."""
        done, self._done = self._done, []
        return done

    @property
    def pending(self) -> int:
        """Return how many records are committed and not yet acknowledged."""
        return sum(len(row.records) for row in (*self._waiting, *self._flying))

    @property
    def has_room(self) -> bool:
        return len(self._waiting) < 64 or self.pending < ROOM_RECORDS

    async def send(self, topic: str, target: int, key: str, value: bytes) -> None:
        """Send one record of the API's own and wait for the acknowledgement; raises what Kafka raises."""
        if self._producer is None:
            raise TimeoutError
        async with asyncio.timeout(SEND_S):
            await self._producer.send_and_wait(self._prefix + topic, value, key.encode(), partition=target)

    async def run(self, stop: Stop) -> None:
        """Publish until stopped; a broker that is away is tried again for ever, in order."""
        self._producer = await connect(
            lambda: new_producer(self._brokers, "churnsignal-scoring"),
            stop,
            lambda reason: self._health.down(f"cannot produce: {reason}"),
            SEND_S,
        )
        try:
            while self._producer is not None and not (stop.is_set() and not self._waiting):
                if not self._waiting:
                    await self._sleep()
                    continue
                self._flying = [self._waiting.popleft() for _ in range(min(len(self._waiting), 256))]
                await self._publish_all(stop)
        finally:
            if self._producer is not None:
                await stop_client(self._producer)

    async def _sleep(self) -> None:
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), 0.2)
        except TimeoutError:
            return

    async def _publish_all(self, stop: Stop) -> None:
        backoff_s = 0.1
        while self._flying:
            crash.point("scoring.before_publish")
            try:
                await self._send(self._flying)
            except (KafkaError, OSError, TimeoutError) as error:
                self._health.down(f"cannot produce: {type(error).__name__}")
                log.warning("publish_failed", rows=len(self._flying), error=type(error).__name__)
                if await stop.wait(backoff_s):
                    self._flying = []
                backoff_s = min(backoff_s * 2, 5.0)
                continue
            crash.point("scoring.after_publish")
            self._done.extend(row.id for row in self._flying)
            self.acknowledged += len(self._flying)
            self._flying = []

    async def _send(self, rows: list[OutboxRow]) -> None:
        """Send all records; batches of one topic-partition are sent one after another, so a failure leaves no gap behind it."""
        lanes: dict[tuple[str, int], list[tuple[bytes, bytes]]] = {}
        for row in rows:
            lanes.setdefault((self._prefix + row.topic, row.target), []).extend(row.records)
        async with asyncio.timeout(SEND_S):
            await asyncio.gather(*(self._send_lane(topic, partition, records) for (topic, partition), records in lanes.items()))

    async def _send_lane(self, topic: str, partition: int, records: list[tuple[bytes, bytes]]) -> None:
        assert self._producer is not None
        place = 0
        while place < len(records):
            batch = self._producer.create_batch()
            while place < len(records) and batch.append(key=records[place][0], value=records[place][1], timestamp=None) is not None:
                place += 1
            sent = await self._producer.send_batch(batch, topic, partition=partition)
            await sent
