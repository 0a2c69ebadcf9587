"""Pure. What each partition contributes to a day record, as stored beside its recorded position."""

from collections import Counter
from collections.abc import Iterable

import msgspec

from churnsignal_scoring.health.norms import Partial


class PartitionSums(msgspec.Struct, frozen=True):
    """Partial norms of the partition's accounts, in chunks, and the calls of each source on the day."""

    partials: list[Partial]
    sources: dict[str, int]

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


_decoder = msgspec.json.Decoder(PartitionSums)


def merge_sums(stored: Iterable[bytes]) -> tuple[list[Partial], dict[str, int]]:
    """Return all partials and the sources' calls over all partitions."""
    partials: list[Partial] = []
    sources: Counter[str] = Counter()
    for part in map(_decoder.decode, stored):
        partials.extend(part.partials)
        sources.update(part.sources)
    return partials, dict(sorted(sources.items()))
