"""Door. Kafka: one coalescer for all requests. Records gather per partition for 5 ms or 512 KB, then go out as one flush."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from churnsignal_ingest.publish.gate import Gate
from churnsignal_ingest.validate.judge import Record
from churnsignal_ingest.validate.reasons import Problem, RequestProblem

log = structlog.get_logger()

# What a record takes beside key and value: its share of builder, batch and wire.
_RECORD_OVERHEAD = 64


@dataclass(frozen=True, slots=True)
class Pace:
    """When a flush goes out, when Kafka counts as stalled, when clients hear that it failed (they must within 6 s).

    After `forgotten_s` a flush is given up whose producer was closed without a word about it, so that its bytes do not count for ever.
    """

    linger_s: float = 0.005
    flush_bytes: int = 512 * 1024
    growth_s: float = 0.05
    stalled_s: float = 2.0
    deadline_s: float = 4.5
    forgotten_s: float = 20.0


class Flush:
    """Records of many requests on their way. All share its fate: unknown outcomes are retried and recognised as duplicates."""

    __slots__ = ("builders", "full", "pending", "problem", "producer", "settled", "size", "started_s", "timers", "waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop, producer: AIOKafkaProducer) -> None:
        self.started_s = loop.time()
        self.producer: AIOKafkaProducer | None = producer
        self.settled: asyncio.Future[None] = loop.create_future()
        self.size = 0
        self.pending = 0
        self.problem: str | None = None
        self.builders: dict[tuple[str, int], BatchBuilder] = {}
        self.full: list[tuple[str, int, BatchBuilder]] = []
        self.waiters: list[asyncio.Future[bool]] = []
        self.timers: list[asyncio.TimerHandle] = []

    def answer(self, acked: bool) -> None:
        """Tell everyone who still waits. Each has a future of its own, so that a cancelled request takes nobody along."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(acked)
        self.waiters.clear()


class Coalescer:
    """Shares one producer between all requests. `use` gives it a producer, `drop` takes it away when it failed."""

    def __init__(self, gate: Gate, pace: Pace, topic: Callable[[str], str], produced: Callable[[float], None]) -> None:
        self._gate = gate
        self._pace = pace
        self._topic = topic
        self._produced = produced
        self._producer: AIOKafkaProducer | None = None
        self._open: Flush | None = None
        self._due = asyncio.Event()
        self._flying: set[Flush] = set()
        self.broken = asyncio.Event()

    def use(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self.broken.clear()
        self._gate.kafka.up()

    def drop(self) -> None:
        self._producer = None

    def put(self, records: Iterable[Record]) -> "asyncio.Future[bool]":
        """Add `records` to the next flush and return what will say whether the brokers acked them in time; if not, they may be written.

        The records are copied: whoever waits need not hold them.
        """
        producer = self._producer
        if producer is None:
            raise RequestProblem(Problem.KAFKA_AWAY)
        loop = asyncio.get_running_loop()
        flush = self._open or self._begin(loop, producer)
        size = self._append(flush, producer, records)
        flush.size += size
        self._gate.in_hand += size
        if flush.size >= self._pace.flush_bytes:
            self._due.set()
        waiter: asyncio.Future[bool] = loop.create_future()
        flush.waiters.append(waiter)
        return waiter

    async def publish(self, records: Iterable[Record]) -> None:
        """Return after the ack, or raise RequestProblem."""
        if not await self.put(records):
            raise RequestProblem(Problem.KAFKA_AWAY)

    def _begin(self, loop: asyncio.AbstractEventLoop, producer: AIOKafkaProducer) -> Flush:
        flush = self._open = Flush(loop, producer)
        flush.timers = [
            loop.call_later(self._pace.linger_s, self._due.set),
            loop.call_later(self._pace.stalled_s, self._stalled, flush),
            loop.call_later(self._pace.deadline_s, flush.answer, False),
            loop.call_later(self._pace.forgotten_s, self._forget, flush),
        ]
        return flush

    def _append(self, flush: Flush, producer: AIOKafkaProducer, records: Iterable[Record]) -> int:
        size = 0
        builders = flush.builders
        for topic, partition, key, value in records:
            place = (topic, partition)
            builder = builders.get(place)
            if builder is None:
                builder = builders[place] = producer.create_batch()
            if builder.append(timestamp=None, key=key, value=value) is None:
                flush.full.append((topic, partition, builder))
                builder = builders[place] = producer.create_batch()
                builder.append(timestamp=None, key=key, value=value)
            size += len(key) + len(value) + _RECORD_OVERHEAD
        return size

    async def run(self) -> None:
        """Send flush after flush until cancelled. While Kafka works on one the next grows: few large batches cost far less.

        It would wait anyway, as there is one batch in flight per partition; `growth_s` bounds it for a broker that is slow alone.
        """
        while True:
            await self._due.wait()
            self._due.clear()
            flush, self._open = self._open, None
            if flush is not None:
                await self._send(flush)
                await asyncio.wait({flush.settled}, timeout=self._pace.growth_s)

    async def _send(self, flush: Flush) -> None:
        self._flying.add(flush)
        flush.pending = 1
        producer = flush.producer = self._producer
        waited_s = asyncio.get_running_loop().time() - flush.started_s
        try:
            if producer is None or waited_s > self._pace.deadline_s:
                flush.problem = "nobody waits for it any more"
            else:
                async with asyncio.timeout(self._pace.deadline_s):
                    await self._hand_over(flush, producer)
        except (KafkaError, TimeoutError) as error:
            flush.problem = type(error).__name__
        except asyncio.CancelledError:
            flush.problem = "we end"
            raise
        finally:
            self._settle(flush)

    async def _hand_over(self, flush: Flush, producer: AIOKafkaProducer) -> None:
        batches = flush.full + [(topic, partition, builder) for (topic, partition), builder in flush.builders.items()]
        for topic, partition, builder in batches:
            done = await producer.send_batch(builder, self._topic(topic), partition=partition)
            flush.pending += 1
            done.add_done_callback(lambda future: self._acked(flush, future))

    def _acked(self, flush: Flush, future: "asyncio.Future[object]") -> None:
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is not None:
            flush.problem = type(error).__name__
        self._settle(flush)

    def _stalled(self, flush: Flush) -> None:
        if flush.producer is self._producer:
            self._gate.kafka.down("no ack in time")

    def _forget(self, flush: Flush) -> None:
        if self._open is flush:
            self._open = None  # whoever comes later must not join what is settled
        flush.problem = "its producer never said"
        flush.pending = 1
        self._settle(flush)

    def _settle(self, flush: Flush) -> None:
        flush.pending -= 1
        if flush.pending or flush.settled.done():
            return
        for timer in flush.timers:
            timer.cancel()
        self._flying.discard(flush)
        flush.settled.set_result(None)
        self._gate.in_hand -= flush.size
        flush.answer(flush.problem is None)
        if flush.problem is None:
            self._produced(asyncio.get_running_loop().time() - flush.started_s)
            if self._producer is not None:
                self._gate.kafka.up()
        else:
            log.warning("flush_failed", reason=flush.problem, bytes=flush.size)
            if flush.producer is self._producer:  # how a former one ends says nothing of the one that has taken its place
                self._producer = None
                self._gate.kafka.down(flush.problem)
                self.broken.set()

    async def drain(self, timeout_s: float) -> bool:
        """Send what is open and wait until all flushes are settled; return whether that came to be in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while left := [*self._flying, *([self._open] if self._open else [])]:
                    self._due.set()
                    await asyncio.wait({flush.settled for flush in left})
        except TimeoutError:
            return False
        return True
