"""Door. Prefilled topics: calls of many accounts in the envelopes that ingest writes, coalesced as ingest sends them."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import msgspec
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_EVENTS
from churnsignal_common.kafka.client import Brokers, new_producer, stop_client

EVENTS = ("Signed In", "Opened Report", "Exported", "Invited User", "Searched", "Viewed Dashboard", "Edited Page", "Commented")


def call(number: int, accounts: int, begin: datetime, chance: random.Random) -> tuple[str, bytes]:
    """Return a call's key and value: about 700 bytes, as an SDK's track call becomes in its envelope."""
    account = f"account-{chance.randrange(accounts)}"
    user = f"{account}-user-{chance.randrange(10)}"
    when = begin + timedelta(milliseconds=number)
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
    return account, msgspec.json.encode(head)[:-1] + b',"call":' + msgspec.json.encode(body) + b"}"


async def fill(broker: str, prefix: str, count: int, accounts: int, partitions: int) -> None:
    """Put `count` calls of today on the usage topic under `prefix`."""
    producer = new_producer(Brokers(broker, {}), "bench")
    await producer.start()
    chance, begin = random.Random(count), datetime.now(UTC).replace(hour=0, minute=0, second=1)
    lanes: dict[int, list[tuple[bytes, bytes]]] = {}
    for number in range(count):
        key, value = call(number, accounts, begin, chance)
        lanes.setdefault(partition_of(key, partitions), []).append((key.encode(), value))
    try:
        await asyncio.gather(*(_send(producer, prefix + USAGE_EVENTS, lane, records) for lane, records in lanes.items()))
    finally:
        await stop_client(producer)


async def _send(producer: object, topic: str, partition: int, records: list[tuple[bytes, bytes]]) -> None:
    place = 0
    while place < len(records):
        batch = producer.create_batch()  # type: ignore[attr-defined] # aiokafka is untyped
        while place < len(records) and batch.append(key=records[place][0], value=records[place][1], timestamp=None) is not None:
            place += 1
        await (await producer.send_batch(batch, topic, partition=partition))  # type: ignore[attr-defined] # aiokafka is untyped
