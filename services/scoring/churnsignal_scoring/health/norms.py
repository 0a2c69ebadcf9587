"""Pure. What similar accounts did: partial sums of each partition, merged once a day, and read back as norms."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import msgspec
from churnsignal_common.contracts.days import DayRecord, SegmentNorms
from churnsignal_common.contracts.risk import Band

from churnsignal_scoring.health import outages
from churnsignal_scoring.health.rows import Counted
from churnsignal_scoring.health.state import AccountState

COUNTED_DAYS = 91
"""Accounts without use for 13 weeks are gone: they say nothing of what accounts do."""
NEW_DAYS = 28
"""Accounts first seen within 4 weeks are counted even before their first use."""
PEERS = 20
"""Fewer similar accounts than this are no norm."""
TYPICAL_DAYS = 91
"""What is typical of a segment moves slowly: a season of four weeks must not become the new normal."""
WORTH_DAYS = 364
FULL_DAY = 100
"""A day of silence counts in hundredths: 100 on a day as busy as usual, less when everybody was away."""
NORMS_BYTES, PARENTS_BYTES = 512 * 1024, 256 * 1024
"""A day record is one record of a topic, of at most a megabyte: so much of it may be norms, and so much parents with red children."""
SHARE = 1_000_000
"""Shares are integer millionths."""
T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class PartialNorms(msgspec.Struct):
    """Sums over a partition's accounts of one segment.

    `seen` are the accounts, and those of them active on the day, by the sources they depend on (one a line): whether the day was seen at all
    is known only when all partitions have added up.
    """

    seen: dict[str, tuple[int, int]]
    active_days_28: list[int]
    reporting: dict[str, int]


class Partial(msgspec.Struct):
    """One partition's part of a day record; sums of integers, so that the order of merging does not matter. `red` are red accounts by parent."""

    day: int
    norms: dict[str, PartialNorms]
    red: dict[str, int] = {}


@dataclass(frozen=True)
class Norms:
    """A segment's norms, ready to be asked. `worths[k]` is what the last k days of silence are worth, in hundredths of a day."""

    accounts: int
    worths: tuple[int, ...]
    below: tuple[int, ...]
    reporting: dict[str, int]

    def worth(self, days: int) -> int:
        """Return what `days` complete days of silence up to the record's day are worth; never falls when a day is added."""
        known = min(days, len(self.worths) - 1)
        return self.worths[known] + (days - known) * FULL_DAY

    def seasons(self, days: int) -> int:
        """Return how much less than whole those of the last `days` days were, in hundredths, on which most of the similar accounts were away."""
        return self._away[min(days, len(self._away) - 1)]

    @cached_property
    def _away(self) -> tuple[int, ...]:
        lost = (FULL_DAY - (after - before) for before, after in pairwise(self.worths))
        return tuple(accumulate((less if less * 2 > FULL_DAY else 0 for less in lost), initial=0))

    def standing(self, active_days: int) -> int:
        """Return the share (hundredths of a percent) of similar accounts with fewer active days, ties counted half."""
        fewer, same = self.below[active_days], self.below[active_days + 1] - self.below[active_days]
        return (2 * fewer + same) * 5000 // self.accounts

    def reported_by_some(self, family: str, *, per_mille: int) -> bool:
        """Return whether enough of the similar accounts report a family of signals for its absence to mean something."""
        reporting = self.reporting.get(family, 0)
        return reporting > 0 and reporting * 1000 >= per_mille * self.accounts


def read_norms(record: DayRecord | None) -> dict[str, Norms]:
    """Return the norms of each segment."""
    return {} if record is None else {segment: _norms(found) for segment, found in record.norms.items()}


def _norms(found: SegmentNorms) -> Norms:
    worths = tuple(accumulate(found.worths, initial=0))
    return Norms(found.accounts, worths, tuple(accumulate(found.active_days_28, initial=0)), dict(found.reporting))


def add(partial: Partial, state: AccountState | Counted) -> None:
    """Count one account as of the end of the partial's day."""
    parent = state.parent if state.memory.band is Band.RED else None
    if parent is not None and parent != state.account:
        partial.red[parent] = partial.red.get(parent, 0) + 1
    origin, since = state.origin, partial.day - state.origin + 1
    mask = state.active & (1 << since) - 1 if state.active and since > 0 else 0
    if state.memory.outages and mask:
        mask, origin = outages.lived(state.memory.outages, mask, origin)
        since = partial.day - origin + 1
    last = origin + mask.bit_length() - 1 if mask else None
    new = state.first_day is not None and partial.day - NEW_DAYS < state.first_day <= partial.day
    if not new and (last is None or partial.day - last >= COUNTED_DAYS):
        return
    sums = partial.norms.get(state.segment)
    if sums is None:
        sums = partial.norms[state.segment] = PartialNorms({}, [0] * 29, {})
    fed = "\n".join(state.memory.fed)
    accounts, active = sums.seen.get(fed, (0, 0))
    sums.seen[fed] = accounts + 1, active + (last == partial.day)
    sums.active_days_28[(mask >> max(0, since - 28)).bit_count()] += 1
    for family, day in state.reported.items():
        if day > partial.day - 28:
            sums.reporting[family] = sums.reporting.get(family, 0) + 1


def merge_norms(
    partials: Iterable[Partial], previous: DayRecord | None, silent: AbstractSet[str] = frozenset(), *, partly: bool = False
) -> dict[str, SegmentNorms]:
    """Return each segment's norms of the day; a segment that nobody is in any more ends. Accounts that depend on `silent` sources were not seen.

    `partly` says that partitions are missing: a segment that may be in them goes on, and the day teaches it nothing.
    """
    sums: dict[str, PartialNorms] = {}
    for partial in partials:
        for segment, part in partial.norms.items():
            _add_up(sums.setdefault(segment, PartialNorms({}, [0] * 29, {})), part)
    before = {} if previous is None else previous.norms
    return {
        segment: _next(sums[segment], before.get(segment), silent) if segment in sums else _unseen(before[segment])
        for segment in sorted({*sums, *(before if partly else ())})
    }


def merge_red(partials: Iterable[Partial], previous: DayRecord | None, *, partly: bool) -> dict[str, int]:
    """Return how many red children each parent has; while partitions are missing, no fewer than before."""
    found: Counter[str] = Counter()
    for partial in partials:
        found.update(partial.red)
    if partly and previous is not None:
        found |= Counter(previous.red_children)
    return dict(sorted(found.items()))


def fitting(found: Mapping[str, T], room: int, first: Callable[[str], Any] = str) -> dict[str, T]:
    """Return what fits into `room` bytes of a day record, those that are `first` before others; in the order of names."""
    kept: list[str] = []
    for name in sorted(found, key=lambda name: (first(name), name)):
        room -= len(_encode({name: found[name]}))
        if room < 0:
            break
        kept.append(name)
    return {name: found[name] for name in sorted(kept)}


def _unseen(before: SegmentNorms) -> SegmentNorms:
    return msgspec.structs.replace(before, worths=(FULL_DAY, *before.worths[: WORTH_DAYS - 1]))


def _add_up(total: PartialNorms, part: PartialNorms) -> None:
    for fed, (accounts, active) in part.seen.items():
        known = total.seen.get(fed, (0, 0))
        total.seen[fed] = known[0] + accounts, known[1] + active
    total.active_days_28 = [mine + more for mine, more in zip(total.active_days_28, part.active_days_28, strict=True)]
    for family, count in part.reporting.items():
        total.reporting[family] = total.reporting.get(family, 0) + count


def _next(sums: PartialNorms, before: SegmentNorms | None, silent: AbstractSet[str]) -> SegmentNorms:
    seen = [counts for fed, counts in sums.seen.items() if silent.isdisjoint(fed.split("\n"))]
    accounts, active = sum(count for count, _ in seen), sum(count for _, count in seen)
    days, typical = (0, 0) if before is None else (before.days, before.typical)
    # A day on which nobody was seen is a whole day, and teaches nothing.
    share = active * SHARE // accounts if accounts else typical
    # A plain mean while the segment is young, then a slow moving one: both in integers.
    learned = typical + (share - typical) // min(days + 1, TYPICAL_DAYS)
    # What is typical must be known before a day can be a quiet one. A day keeps its worth: adding a day never makes a silence shorter.
    known = days >= NEW_DAYS and accounts >= PEERS and typical > 0
    worth = min(FULL_DAY, FULL_DAY * share // typical) if known else FULL_DAY
    return SegmentNorms(
        accounts=sum(count for count, _ in sums.seen.values()),
        active=active,
        active_days_28=tuple(sums.active_days_28),
        days=days + bool(accounts),
        typical=learned,
        worths=(worth, *(() if before is None else before.worths[: WORTH_DAYS - 1])),
        reporting=dict(sorted(sums.reporting.items())),
    )
