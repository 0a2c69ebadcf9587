"""Root. The ceiling: a bare ASGI program that does ingest's job with the same coalescer and record, and nothing else.

No authentication, limits, checks, corrections or metrics. What remains is HTTP, one typed pass and one raw pass over the
body, the contract's envelope written by its own encoder, and Kafka. Run: python -m benchmarks.ingest.ceiling PORT.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import uvicorn
import uvloop
from churnsignal_common.contracts.envelope import Envelope, encoder
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.kafka.client import Brokers, new_producer
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop
from churnsignal_ingest.publish.coalescer import Coalescer, Pace
from churnsignal_ingest.publish.gate import Gate
from churnsignal_ingest.publish.link import keep_linked
from churnsignal_ingest.validate.judge import Record

PARTITIONS = 8
OK = b'{"success":true}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(OK)).encode())]


class Context(msgspec.Struct):
    groupId: str  # noqa: N815 the wire's name


class Head(msgspec.Struct):
    messageId: str  # noqa: N815 the wire's name
    userId: str  # noqa: N815 the wire's name
    timestamp: datetime
    context: Context


class Heads(msgspec.Struct):
    batch: list[Head]


class Raws(msgspec.Struct):
    batch: list[msgspec.Raw]


heads_decoder = msgspec.json.Decoder(Heads)
raws_decoder = msgspec.json.Decoder(Raws)
head_decoder = msgspec.json.Decoder(Head)


class Program:
    """The ASGI application."""

    def __init__(self, coalescer: Coalescer, topic: str) -> None:
        self.coalescer = coalescer
        self.topic = topic

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        acked = self.coalescer.put(self.records(body, single=scope["path"] == "/v1/track"))
        if not await acked:
            raise RuntimeError("Kafka did not take it")
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": OK})

    def records(self, body: bytes, *, single: bool) -> list[Record]:
        now = datetime.now(UTC)
        made = []
        heads = [head_decoder.decode(body)] if single else heads_decoder.decode(body).batch
        raws = [msgspec.Raw(body)] if single else raws_decoder.decode(body).batch
        for head, raw in zip(heads, raws, strict=True):
            account = head.context.groupId
            envelope = Envelope(
                id=head.messageId, source="web", account=account, user=head.userId, occurred_at=head.timestamp,
                received_at=now, stamped_at=head.timestamp, call=raw,
            )  # fmt: skip
            made.append((self.topic, partition_of(account, PARTITIONS), account.encode(), encoder.encode(envelope)))
        return made


async def _topics_are_there(_stop: Stop, _away: Callable[[str], None]) -> bool:
    return True


async def main(port: int) -> None:
    prefix = os.environ["CHURNSIGNAL_TOPIC_PREFIX"]
    gate = Gate(1 << 30, Dependency("kafka"), time.monotonic)
    coalescer = Coalescer(gate, Pace(), lambda topic: topic, lambda _seconds: None)
    producer = partial(new_producer, Brokers(os.environ["KAFKA_BOOTSTRAP_SERVERS"], {}), "ceiling")
    link = asyncio.create_task(keep_linked(_topics_are_there, producer, coalescer, gate, Stop()))
    program = Program(coalescer, prefix + "usage.events.v1")
    config = uvicorn.Config(program, host="127.0.0.1", port=port, http="httptools", access_log=False, log_level="warning", lifespan="off")
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await uvicorn.Server(config).serve()
    link.cancel()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
