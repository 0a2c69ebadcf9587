"""A producer that failed is replaced: whatever Kafka said, the next request finds a fresh one."""

import asyncio
from collections.abc import Callable
from time import monotonic

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
    UnknownError,
)
from churnsignal_common.kafka import client
from churnsignal_common.runtime.tasks import Stop
from churnsignal_ingest.publish.coalescer import Pace
from churnsignal_ingest.publish.link import keep_linked
from churnsignal_ingest.validate.reasons import RequestProblem

from tests.unit.ingest.test_the_coalescer import RECORD, Bench, FakeProducer

REPLACED_S = 5.0


class Startable(FakeProducer):
    """A producer with a beginning and an end."""

    def __init__(self, refuse: KafkaError | None, unreachable: bool = False) -> None:
        super().__init__()
        self.refuse = refuse
        self.unreachable = unreachable
        self.stopped = False

    async def start(self) -> None:
        if self.unreachable:
            raise KafkaConnectionError

    async def stop(self) -> None:
        self.stopped = True


async def topics_are_there(_stop: Stop, _away: Callable[[str], None]) -> bool:
    return True


def reachable(bench: Bench) -> bool:
    return bench.kafka.ok is True


@pytest.mark.asyncio
@pytest.mark.parametrize("said", [OutOfOrderSequenceNumber, ProducerFenced, UnknownError, MessageSizeTooLargeError, NotEnoughReplicasError])
async def test_after_any_failed_flush_a_new_producer_takes_over(monkeypatch: pytest.MonkeyPatch, said: type[KafkaError]) -> None:
    monkeypatch.setattr(client, "RETRY_S", 0.01)
    wedged, dead, fresh = Startable(said()), Startable(None, unreachable=True), Startable(None)
    waiting = [wedged, dead, fresh]
    bench = Bench(wedged, Pace(linger_s=0.001))
    drained = Stop()
    link = asyncio.create_task(keep_linked(topics_are_there, lambda: waiting.pop(0), bench.coalescer, bench.gate, drained))
    await asyncio.sleep(0)

    with pytest.raises(RequestProblem):
        await bench.coalescer.publish([RECORD])
    assert not reachable(bench)
    began = monotonic()
    while not reachable(bench):
        assert monotonic() - began < REPLACED_S
        await asyncio.sleep(0.01)
    await bench.coalescer.publish([RECORD])
    drained.set()
    await link

    assert [len(values) for _, _, values in fresh.sent] == [1]
    assert (wedged.stopped, dead.stopped, fresh.stopped) == (True, True, True)
    assert bench.gate.in_hand == 0
