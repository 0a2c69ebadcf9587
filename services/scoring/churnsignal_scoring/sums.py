"""Pure. What each partition contributes to a day record, as stored beside its recorded position."""

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from churnsignal_scoring.health.days import DayZone, to_us
from churnsignal_scoring.health.norms import Partial
from churnsignal_scoring.health.sources import HOURS

_HOUR_US = timedelta(hours=1) // timedelta(microseconds=1)


class PartitionSums(msgspec.Struct, frozen=True):
    """Partial norms of the partition's accounts, in chunks, and the calls of each source by hour of the day."""

    partials: list[Partial]
    sources: dict[str, list[int]]

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


_decoder = msgspec.json.Decoder(PartitionSums)


def hours_of(zone: DayZone, day: int) -> range:
    """Return the hours since 1970 that begin on `day`: 23 to 25 of them."""
    first, end = (-(-to_us(moment) // _HOUR_US) for moment in (zone.start_of(day), zone.end_of(day)))
    return range(first, end)


def by_hour(calls: Iterable[tuple[str, int, int]], hours: range) -> dict[str, list[int]]:
    """Return the calls (source, hour since 1970, count) by hour of the day; an hour that the clock shows twice is one."""
    found: dict[str, list[int]] = {}
    for source, hour, count in calls:
        found.setdefault(source, [0] * HOURS)[min(HOURS - 1, hour - hours.start)] += count
    return found


def merge_sums(stored: Iterable[bytes]) -> tuple[list[Partial], dict[str, list[int]]]:
    """Return all partials and the sources' calls over all partitions."""
    partials: list[Partial] = []
    sources: dict[str, list[int]] = {}
    for part in map(_decoder.decode, stored):
        partials.extend(part.partials)
        for source, hours in part.sources.items():
            sources[source] = [mine + more for mine, more in zip(sources.get(source, [0] * HOURS), hours, strict=True)]
    return partials, sources
