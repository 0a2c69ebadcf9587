"""Door. Everything that lies on topics right now, for tests that compare it with what a client was told."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition
from churnsignal_common.kafka.client import Brokers, new_consumer


@dataclass(frozen=True, slots=True)
class Lying:
    """One record, by the topic's name in the table."""

    topic: str
    partition: int
    key: bytes
    value: bytes


async def read_records(told: Mapping[str, str], *topics: str) -> list[Lying]:
    """Return all records of the topics up to their ends as they are now."""
    prefix, count = told["CHURNSIGNAL_TOPIC_PREFIX"], int(told["CHURNSIGNAL_PARTITIONS"])
    consumer = new_consumer(Brokers(told["KAFKA_BOOTSTRAP_SERVERS"], {}), "test-reader", None)
    await consumer.start()
    try:
        places = [TopicPartition(prefix + topic, number) for topic in topics for number in range(count)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        found: list[Lying] = []
        async with asyncio.timeout(60):
            while any([await consumer.position(place) < end for place, end in ends.items()]):
                for place, records in (await consumer.getmany(timeout_ms=200, max_records=10_000)).items():
                    found += [Lying(place.topic.removeprefix(prefix), place.partition, r.key, r.value) for r in records]
        return found
    finally:
        await consumer.stop()
