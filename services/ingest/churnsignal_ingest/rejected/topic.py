"""Door. The topic of refused records, read from where a page begins: bounded in records and time, so that no question is too large."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from churnsignal_common.contracts.envelope import rejected_decoder
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.kafka.client import stop_client

from churnsignal_ingest.rejected.wanted import Found, Page, Wanted

_SCAN_RECORDS = 20_000
_HELD_BYTES = 8 * 1024 * 1024
# Records carry the brokers' time, ours is in them: a little apart.
_APART = timedelta(minutes=5)
_TIMEOUT_S = 15.0
_AT_ONCE = 2


class TopicAway(Exception):
    """Kafka does not answer; nothing was read."""


class RejectedTopic:
    """Opens a consumer per question, as operators ask seldom. `dated`: the brokers' clock is the product's, so times can be looked up."""

    def __init__(self, new_consumer: Callable[[], AIOKafkaConsumer], topic: str, partitions: int, *, dated: bool) -> None:
        self._new_consumer = new_consumer
        self._topic = topic
        self._partitions = partitions
        self._dated = dated
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def page(self, wanted: Wanted, begin: tuple[int, int], limit: int) -> Page:
        """Return up to `limit` fitting records from `begin` (partition, offset) on; fewer when much had to be looked at."""
        async with self._turn:
            consumer = self._new_consumer()
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    await consumer.start()
                    return await self._read(consumer, wanted, begin, limit)
            except (KafkaError, OSError, TimeoutError) as error:
                raise TopicAway(type(error).__name__) from error
            finally:
                await stop_client(consumer)

    async def _read(self, consumer: AIOKafkaConsumer, wanted: Wanted, begin: tuple[int, int], limit: int) -> Page:
        numbers = [partition_of(wanted.source, self._partitions)] if wanted.source else range(self._partitions)
        places = [TopicPartition(self._topic, number) for number in numbers if number >= begin[0]]
        ends = await consumer.end_offsets(places)
        starts = await self._starts(consumer, places, wanted.since)
        items: list[Found] = []
        scanned = held = 0
        for place in places:
            offset = max(starts[place], begin[1] if place.partition == begin[0] else 0)
            if offset >= ends[place]:
                continue
            # One at a time, so that nothing is fetched for those to come.
            consumer.assign([place])
            consumer.seek(place, offset)
            while offset < ends[place]:
                for record in (await consumer.getmany(place, timeout_ms=500, max_records=500)).get(place, ()):
                    scanned += 1
                    offset = record.offset + 1
                    rejected = rejected_decoder.decode(record.value)
                    if wanted.fits(rejected):
                        items.append(Found(place.partition, record.offset, rejected))
                        held += len(record.value)
                    if len(items) >= limit or scanned >= _SCAN_RECORDS or held >= _HELD_BYTES:
                        return Page(items, scanned, (place.partition, offset))
                offset = max(offset, await consumer.position(place))
        return Page(items, scanned, None)

    async def _starts(self, consumer: AIOKafkaConsumer, places: list[TopicPartition], since: datetime | None) -> dict[TopicPartition, int]:
        starts: dict[TopicPartition, int] = await consumer.beginning_offsets(places)
        if since is None or not self._dated:
            return starts
        # Kafka knows no time before 1970, and some times of ours are too early to go further back from.
        moment = max(0, int((since.timestamp() - _APART.total_seconds()) * 1000))
        found = await consumer.offsets_for_times(dict.fromkeys(places, moment))
        ends = await consumer.end_offsets(places)
        return {place: at.offset if (at := found[place]) else ends[place] for place in places}
