"""One coalescer for all requests: acked together, answered in time, memory given back, nobody taken along."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.errors import KafkaError, RequestTimedOutError
from churnsignal_common.runtime.health import Dependency
from churnsignal_ingest.publish.coalescer import Coalescer, Pace
from churnsignal_ingest.publish.gate import Gate
from churnsignal_ingest.validate.judge import Record
from churnsignal_ingest.validate.reasons import Problem, RequestProblem

RECORD: Record = ("usage.events.v1", 3, b"acme", b"{}")


class FakeBatch:
    def __init__(self, room: int) -> None:
        self.values: list[bytes] = []
        self.room = room

    def append(self, *, timestamp: None, key: bytes, value: bytes) -> object | None:
        if len(self.values) >= self.room:
            return None
        self.values.append(value)
        return object()


class FakeProducer:
    """Takes batches; the test acks or fails them."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.sent: list[tuple[str, int, list[bytes]]] = []
        self.acks: list[asyncio.Future[object]] = []
        self.ack_at_once = True
        self.refuse: KafkaError | None = None
        self.handed_over = asyncio.Event()

    def create_batch(self) -> FakeBatch:
        return FakeBatch(self.room)

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> "asyncio.Future[object]":
        if self.refuse is not None:
            raise self.refuse
        ack: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.sent.append((topic, partition, batch.values))
        self.acks.append(ack)
        self.handed_over.set()
        if self.ack_at_once:
            ack.set_result(object())
        return ack


class Bench:
    def __init__(self, producer: Any, pace: Pace) -> None:
        self.kafka = Dependency("kafka")
        self.gate = Gate(1_000_000, self.kafka, lambda: 0.0)
        self.coalescer = Coalescer(self.gate, pace, lambda topic: "p." + topic, lambda _seconds: None)
        self.producer = producer
        self.coalescer.use(producer)


async def using(producer: FakeProducer, work: Callable[[Bench], Any], pace: Pace | None = None) -> None:
    bench = Bench(producer, pace or Pace(linger_s=0.001, flush_bytes=10_000, stalled_s=0.02, deadline_s=0.2))
    pump = asyncio.create_task(bench.coalescer.run())
    try:
        await work(bench)
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)


@pytest.mark.asyncio
async def test_records_of_many_requests_leave_in_one_batch_per_partition() -> None:
    producer = FakeProducer()

    async def work(bench: Bench) -> None:
        other: Record = ("usage.events.v1", 5, b"b", b"{}")
        await asyncio.gather(*(bench.coalescer.publish([RECORD, other]) for _ in range(50)))

        assert sorted((topic, partition, len(values)) for topic, partition, values in producer.sent) == [
            ("p.usage.events.v1", 3, 50), ("p.usage.events.v1", 5, 50),
        ]  # fmt: skip
        assert bench.gate.in_hand == 0

    await using(producer, work)


@pytest.mark.asyncio
async def test_a_full_batch_is_followed_by_another_and_nothing_is_lost() -> None:
    producer = FakeProducer(room=7)

    async def work(bench: Bench) -> None:
        values = [str(i).encode() for i in range(100)]
        await bench.coalescer.publish([("t", 1, b"k", value) for value in values])

        assert [value for _, _, sent in producer.sent for value in sent] == values

    await using(producer, work)


@pytest.mark.asyncio
async def test_no_answer_before_the_ack() -> None:
    producer = FakeProducer()
    producer.ack_at_once = False

    async def work(bench: Bench) -> None:
        request = asyncio.create_task(bench.coalescer.publish([RECORD]))
        await producer.handed_over.wait()
        await asyncio.sleep(0.003)
        assert not request.done()
        producer.acks[0].set_result(object())
        await request

    await using(producer, work)


@pytest.mark.asyncio
async def test_a_failed_batch_fails_its_requests_and_breaks_the_link() -> None:
    producer = FakeProducer()
    producer.ack_at_once = False

    async def work(bench: Bench) -> None:
        request = asyncio.create_task(bench.coalescer.publish([RECORD]))
        await producer.handed_over.wait()
        producer.acks[0].set_exception(RequestTimedOutError())
        with pytest.raises(RequestProblem) as raised:
            await request

        assert raised.value.problem is Problem.KAFKA_AWAY
        assert bench.coalescer.broken.is_set()
        assert bench.kafka.ok is False
        assert bench.gate.in_hand == 0

    await using(producer, work)


@pytest.mark.asyncio
async def test_a_producer_that_refuses_fails_its_requests_too() -> None:
    producer = FakeProducer()
    producer.refuse = KafkaError()

    async def work(bench: Bench) -> None:
        with pytest.raises(RequestProblem):
            await bench.coalescer.publish([RECORD])

        assert bench.gate.in_hand == 0

    await using(producer, work)


@pytest.mark.asyncio
async def test_a_silent_broker_is_answered_for_at_the_deadline_but_its_bytes_stay_counted() -> None:
    producer = FakeProducer()
    producer.ack_at_once = False

    async def work(bench: Bench) -> None:
        with pytest.raises(RequestProblem):
            await bench.coalescer.publish([RECORD])
        assert bench.gate.in_hand > 0
        with pytest.raises(RequestProblem):
            bench.gate.check()
        producer.acks[0].set_result(object())
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert bench.gate.in_hand == 0
        bench.gate.check()

    await using(producer, work)


@pytest.mark.asyncio
async def test_a_producer_that_never_says_what_became_of_a_flush_does_not_hold_its_bytes_for_ever() -> None:
    producer = FakeProducer()
    producer.ack_at_once = False

    async def work(bench: Bench) -> None:
        with pytest.raises(RequestProblem):
            await bench.coalescer.publish([RECORD])
        await bench.coalescer.broken.wait()
        assert bench.gate.in_hand == 0
        producer.acks[0].set_result(object())
        await asyncio.sleep(0.01)

        assert bench.gate.in_hand == 0

    await using(producer, work, Pace(linger_s=0.001, stalled_s=0.01, deadline_s=0.2, forgotten_s=0.4))


@pytest.mark.asyncio
async def test_a_flush_forgotten_before_it_was_sent_is_neither_joined_nor_waited_for() -> None:
    bench = Bench(FakeProducer(), Pace(linger_s=0.001, forgotten_s=0.2))
    forgotten = bench.coalescer.put([RECORD])
    await bench.coalescer.broken.wait()
    bench.coalescer.use(bench.producer)

    later = bench.coalescer.put([RECORD])
    pump = asyncio.create_task(bench.coalescer.run())

    assert await asyncio.wait_for(later, 2)
    assert not await forgotten
    assert await bench.coalescer.drain(1.0)
    assert (len(bench.producer.sent), bench.gate.in_hand) == (1, 0)
    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)


@pytest.mark.asyncio
async def test_what_waits_behind_a_failed_flush_is_not_given_to_the_producer_that_failed() -> None:
    first = FakeProducer()
    first.ack_at_once = False

    async def work(bench: Bench) -> None:
        one = bench.coalescer.put([RECORD])
        await first.handed_over.wait()
        behind = bench.coalescer.put([RECORD])
        first.acks[0].set_exception(RequestTimedOutError())

        assert not await one
        assert not await behind
        assert len(first.sent) == 1

    await using(first, work, Pace(linger_s=0.001, growth_s=5.0, stalled_s=1.0, deadline_s=2.0))


@pytest.mark.asyncio
async def test_how_a_former_producer_ends_does_not_break_the_one_that_took_its_place() -> None:
    former, present = FakeProducer(), FakeProducer()
    former.ack_at_once = False

    async def work(bench: Bench) -> None:
        stuck = bench.coalescer.put([RECORD])
        await former.handed_over.wait()
        bench.coalescer.use(present)
        await asyncio.sleep(0.05)  # longer than a flush may stall
        former.acks[0].set_exception(RequestTimedOutError())

        assert not await stuck
        assert bench.kafka.ok
        assert not bench.coalescer.broken.is_set()
        await bench.coalescer.publish([RECORD])
        assert len(present.sent) == 1

    await using(former, work)


@pytest.mark.asyncio
async def test_a_flush_that_was_cut_off_before_its_ack_is_not_called_acked() -> None:
    class Stuck(FakeProducer):
        async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> "asyncio.Future[object]":
            self.handed_over.set()
            await asyncio.Event().wait()
            raise AssertionError

    bench = Bench(Stuck(), Pace(linger_s=0.001))
    pump = asyncio.create_task(bench.coalescer.run())
    acked = bench.coalescer.put([RECORD])
    await bench.producer.handed_over.wait()

    pump.cancel()
    await asyncio.gather(pump, return_exceptions=True)

    assert await acked is False


@pytest.mark.asyncio
async def test_a_cancelled_request_takes_nobody_along() -> None:
    producer = FakeProducer()
    producer.ack_at_once = False

    async def work(bench: Bench) -> None:
        leaving = asyncio.create_task(bench.coalescer.publish([RECORD]))
        staying = asyncio.create_task(bench.coalescer.publish([RECORD]))
        await producer.handed_over.wait()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        producer.acks[0].set_result(object())
        await staying

        assert len(producer.sent[0][2]) == 2

    await using(producer, work)


@pytest.mark.asyncio
async def test_without_a_producer_requests_are_turned_away_at_once() -> None:
    async def work(bench: Bench) -> None:
        bench.coalescer.drop()
        with pytest.raises(RequestProblem):
            await bench.coalescer.publish([RECORD])

    await using(FakeProducer(), work)


@pytest.mark.asyncio
async def test_draining_sends_what_is_open_and_waits_for_its_ack() -> None:
    producer = FakeProducer()

    async def work(bench: Bench) -> None:
        request = asyncio.create_task(bench.coalescer.publish([RECORD]))
        await asyncio.sleep(0)

        assert await bench.coalescer.drain(1.0)
        await request

    await using(producer, work, Pace(linger_s=60))


def test_the_gate_counts_bytes_and_names_why_it_is_shut() -> None:
    gate = Gate(100, Dependency("kafka"), lambda: 0.0)
    with pytest.raises(RequestProblem) as unknown:
        gate.check()
    gate.kafka.up()
    gate.in_hand = 100
    gate.check(0)
    with pytest.raises(RequestProblem) as full:
        gate.check(1)

    assert unknown.value.problem is Problem.KAFKA_AWAY
    assert full.value.problem is Problem.BUSY
