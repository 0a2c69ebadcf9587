"""Pure. Which partition a key belongs to: murmur2 as Kafka's own clients compute it, so that every producer agrees."""

from functools import lru_cache
from typing import NamedTuple

from aiokafka.partitioner import murmur2


class Place(NamedTuple):
    """One topic-partition; `topic` without the deployment's prefix."""

    topic: str
    partition: int


@lru_cache(maxsize=200_000)
def partition_of(key: str, partitions: int) -> int:
    """Return the partition of `key`; the hash is slow pure Python, hence the cache."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)
