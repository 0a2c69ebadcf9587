"""Door. The usage topics read again: each place from one offset up to another, and never beyond."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.topics import RISK_CHANGES
from churnsignal_common.kafka.client import Brokers, new_consumer, stop_client

RECORDS = 20_000
SILENCE_S = 30.0


class TailError(Exception):
    """The log does not hold what is asked of it; the message says what and what to do."""


class Tail:
    """A reader without a group: it owns nothing and commits nothing."""

    def __init__(self, brokers: Brokers, prefix: str) -> None:
        self._brokers = brokers
        self._prefix = prefix

    async def bounds(self, places: Sequence[Place]) -> tuple[dict[Place, int], dict[Place, int]]:
        """Return the first and the next offset of each place."""
        keys = {self._key(place): place for place in places}
        consumer = new_consumer(self._brokers, "churnsignal-rebuild", None)
        async with asyncio.timeout(SILENCE_S):
            await consumer.start()
        try:
            async with asyncio.timeout(SILENCE_S):
                starts, ends = await consumer.beginning_offsets(list(keys)), await consumer.end_offsets(list(keys))
        finally:
            await stop_client(consumer)
        return {keys[key]: offset for key, offset in starts.items()}, {keys[key]: offset for key, offset in ends.items()}

    async def read(self, starts: Mapping[Place, int], ends: Mapping[Place, int]) -> AsyncIterator[list[tuple[Place, list[ConsumerRecord]]]]:
        """Yield what lies from `starts` up to `ends`, in order within a place."""
        left = {self._key(place): end for place, end in ends.items() if starts[place] < end}
        if not left:
            return
        consumer = new_consumer(self._brokers, "churnsignal-rebuild", None)
        async with asyncio.timeout(SILENCE_S):
            await consumer.start()
        try:
            consumer.assign(list(left))
            for key in left:
                consumer.seek(key, starts[self._place(key)])
            while left:
                async with asyncio.timeout(SILENCE_S):
                    polled = await self._next(consumer)
                batch = []
                for key, records in sorted(polled.items()):
                    wanted = [record for record in records if record.offset < left.get(key, 0)]
                    if wanted:
                        batch.append((self._place(key), wanted))
                    if key in left and records[-1].offset + 1 >= left[key]:
                        del left[key]
                        consumer.pause(key)
                if batch:
                    yield batch
        except TimeoutError as error:
            waiting = ", ".join(f"{key.topic} partition {key.partition}" for key in sorted(left))
            raise TailError(
                f"Kafka has not sent the rest of {waiting}; are the brokers up, and is the topic the one that was read?"
            ) from error
        finally:
            await stop_client(consumer)

    async def published(self, partitions: int) -> AsyncIterator[bytes]:
        """Yield every risk change that the topic still holds."""
        places = [Place(RISK_CHANGES, partition) for partition in range(partitions)]
        starts, ends = await self.bounds(places)
        async for batch in self.read(starts, ends):
            for _, records in batch:
                for record in records:
                    yield record.value or b""

    async def _next(self, consumer: object) -> dict[TopicPartition, list[ConsumerRecord]]:
        while True:
            polled: dict[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(timeout_ms=500, max_records=RECORDS)  # type: ignore[attr-defined] # aiokafka is untyped
            found = {key: records for key, records in polled.items() if records}
            if found:
                return found

    def _key(self, place: Place) -> TopicPartition:
        return TopicPartition(self._prefix + place.topic, place.partition)

    def _place(self, key: TopicPartition) -> Place:
        return Place(key.topic.removeprefix(self._prefix), key.partition)
