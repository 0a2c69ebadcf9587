"""Door. Prefilled topics: calls of many accounts in the envelopes that ingest writes, coalesced as ingest sends them."""

import asyncio
import contextlib
import math
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import msgspec
from aiokafka import AIOKafkaProducer
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_EVENTS
from churnsignal_common.kafka.client import Brokers, new_producer, stop_client

EVENTS = ("Signed In", "Opened Report", "Exported", "Invited User", "Searched", "Viewed Dashboard", "Edited Page", "Commented")


def uniform(accounts: int, seed: int) -> Callable[[], int]:
    """Return what picks the account of the next call, each as often as any other."""
    chance = random.Random(seed)
    return lambda: chance.randrange(accounts)


def skewed(accounts: int, seed: int) -> Callable[[], int]:
    """Return the same with a long tail: four calls of five are of a fifth of the accounts, and so on within each fifth (Pareto).

    That is as steep as a Zipf law with an exponent of 0.86: of a million accounts the busiest one has 15 % of the calls, and 300,000 calls
    are of 127,000 accounts.
    """
    chance, power = random.Random(seed), math.log(0.2) / math.log(0.8)
    return lambda: int(accounts * chance.random() ** power)


def share_of_new(pick: Callable[[], int], after: int, count: int) -> float:
    """Return which share of `count` calls, after so many others, is the first one of its account."""
    known = {pick() for _ in range(after)}
    return len({pick() for _ in range(count)} - known) / count


def call(number: int, account: str, begin: datetime, chance: random.Random) -> bytes:
    """Return a call in its envelope: about 700 bytes, as an SDK's track call becomes."""
    user = f"{account}-user-{chance.randrange(10)}"
    when = begin + timedelta(milliseconds=number % 40_000_000)
    body = {
        "type": "track",
        "event": chance.choice(EVENTS),
        "messageId": f"ajs-next-{number:012d}-{chance.getrandbits(64):016x}",
        "userId": user,
        "timestamp": when.isoformat(),
        "properties": {"path": "/reports/weekly", "duration_ms": chance.randrange(5000), "plan": "pro", "items": 7},
        "context": {"groupId": account, "library": {"name": "analytics-python", "version": "2.4.0"}, "ip": "203.0.113.7"},
        "integrations": {},
    }
    moment = when.isoformat().replace("+00:00", "Z")
    head = {"source": "web", "received_at": moment, "sent_at": moment, "id": body["messageId"], "account": account, "user": user}
    head |= {"occurred_at": moment, "stamped_at": moment}
    return msgspec.json.encode(head)[:-1] + b',"call":' + msgspec.json.encode(body) + b"}"


def calls(count: int, pick: Callable[[], int], partitions: int, since: int = 0) -> dict[int, list[tuple[bytes, bytes]]]:
    """Return keys and values of `count` calls of today by partition; their numbers begin with `since`."""
    chance, begin = random.Random(count + since), datetime.now(UTC).replace(hour=0, minute=0, second=1)
    lanes: dict[int, list[tuple[bytes, bytes]]] = {}
    for number in range(since, since + count):
        account = f"account-{pick()}"
        lanes.setdefault(partition_of(account, partitions), []).append((account.encode(), call(number, account, begin, chance)))
    return lanes


@contextlib.asynccontextmanager
async def sender(broker: str) -> AsyncIterator[AIOKafkaProducer]:
    """Yield what puts calls on a topic."""
    producer = new_producer(Brokers(broker, {}), "bench")
    await producer.start()
    try:
        yield producer
    finally:
        await stop_client(producer)


async def put(producer: AIOKafkaProducer, prefix: str, lanes: dict[int, list[tuple[bytes, bytes]]]) -> None:
    """Send calls to the usage topic under `prefix`."""
    await asyncio.gather(*(_send(producer, prefix + USAGE_EVENTS, lane, records) for lane, records in lanes.items()))


async def fill(broker: str, prefix: str, count: int, pick: Callable[[], int], partitions: int) -> None:
    """Put `count` calls of today on the usage topic under `prefix`."""
    async with sender(broker) as producer:
        await put(producer, prefix, calls(count, pick, partitions))


async def _send(producer: AIOKafkaProducer, topic: str, partition: int, records: list[tuple[bytes, bytes]]) -> None:
    place = 0
    while place < len(records):
        batch = producer.create_batch()
        while place < len(records) and batch.append(key=records[place][0], value=records[place][1], timestamp=None) is not None:
            place += 1
        await (await producer.send_batch(batch, topic, partition=partition))
