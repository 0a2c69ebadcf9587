"""Door. Keep a working producer in the coalescer: connect, and after a failed flush build a new one, for ever."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiokafka import AIOKafkaProducer
from churnsignal_common.kafka.client import connect, stop_client
from churnsignal_common.runtime.tasks import Stop

from churnsignal_ingest.publish.coalescer import Coalescer
from churnsignal_ingest.publish.gate import Gate

log = structlog.get_logger()

_CONNECT_S = 5.0
_DRAIN_S = 8.0


async def keep_linked(
    await_topics: Callable[[Stop, Callable[[str], None]], Awaitable[bool]],
    new_producer: Callable[[], AIOKafkaProducer],
    coalescer: Coalescer,
    gate: Gate,
    drained: Stop,
) -> None:
    """Wait for the topics, run until `drained` (nobody publishes any more), then flush and close.

    A producer whose flush failed is replaced, not mended: starting again is the one way back from a dead broker, moved
    addresses and a wedged sender alike, and it is the way that every start takes.
    """
    if not await await_topics(drained, gate.kafka.down):
        return
    pump = asyncio.create_task(coalescer.run(), name="coalescer")
    closing: set[asyncio.Task[None]] = set()
    while not drained.is_set():
        producer = await connect(new_producer, drained, gate.kafka.down, _CONNECT_S)
        if producer is None:
            break
        coalescer.use(producer)
        log.info("kafka_linked")
        await _until_drained_or_broken(drained, coalescer, pump)
        if drained.is_set():
            log.info("kafka_drained", complete=await coalescer.drain(_DRAIN_S))
        coalescer.drop()
        task = asyncio.create_task(stop_client(producer), name="close-producer")
        closing.add(task)
        task.add_done_callback(closing.discard)
    pump.cancel()
    await asyncio.gather(pump, *closing, return_exceptions=True)


async def _until_drained_or_broken(drained: Stop, coalescer: Coalescer, pump: asyncio.Task[None]) -> None:
    watches = [asyncio.create_task(drained.wait()), asyncio.create_task(coalescer.broken.wait())]
    await asyncio.wait({pump, *watches}, return_when=asyncio.FIRST_COMPLETED)
    for watch in watches:
        watch.cancel()
    if pump.done():
        pump.result()
