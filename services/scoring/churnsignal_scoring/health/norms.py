"""Pure. What similar accounts did: partial sums of each partition, merged once a day, and read back as norms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import msgspec
from churnsignal_common.contracts.days import DayRecord, SegmentNorms, SourceVerdict

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
SHARE = 1_000_000
"""Shares are integer millionths."""
SOURCE_WEEKS = 4
SOURCE_EVENTS = 20
"""A source that usually sends fewer calls on such a weekday is too small to be judged."""


class PartialNorms(msgspec.Struct):
    """Sums over a partition's accounts of one segment."""

    accounts: int
    active: int
    active_days_28: list[int]
    reporting: dict[str, int]


class Partial(msgspec.Struct):
    """One partition's part of a day record; sums of integers, so that the order of merging does not matter."""

    day: int
    norms: dict[str, PartialNorms]


@dataclass(frozen=True, slots=True)
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

    def standing(self, active_days: int) -> int:
        """Return the share (hundredths of a percent) of similar accounts with fewer active days, ties counted half."""
        fewer, same = self.below[active_days], self.below[active_days + 1] - self.below[active_days]
        return (2 * fewer + same) * 5000 // self.accounts

    def reported_by_some(self, family: str, *, per_mille: int) -> bool:
        """Return whether enough of the similar accounts report a family of signals for its absence to mean something."""
        return self.reporting.get(family, 0) * 1000 >= max(1, per_mille * self.accounts)


def read_norms(record: DayRecord | None) -> dict[str, Norms]:
    """Return the norms of each segment."""
    return {} if record is None else {segment: _norms(found) for segment, found in record.norms.items()}


def _norms(found: SegmentNorms) -> Norms:
    worths = tuple(accumulate(found.worths, initial=0))
    return Norms(found.accounts, worths, tuple(accumulate(found.active_days_28, initial=0)), dict(found.reporting))


def add(partial: Partial, state: AccountState) -> None:
    """Count one account as of the end of the partial's day."""
    since = partial.day - state.origin + 1
    mask = state.active & (1 << since) - 1 if state.active and since > 0 else 0
    last = state.origin + mask.bit_length() - 1 if mask else None
    new = state.first_day is not None and partial.day - NEW_DAYS < state.first_day <= partial.day
    if not new and (last is None or partial.day - last >= COUNTED_DAYS):
        return
    sums = partial.norms.get(state.segment)
    if sums is None:
        sums = partial.norms[state.segment] = PartialNorms(0, 0, [0] * 29, {})
    sums.accounts += 1
    sums.active += last == partial.day
    sums.active_days_28[(mask >> max(0, since - 28)).bit_count()] += 1
    for family, day in state.reported.items():
        if day > partial.day - 28:
            sums.reporting[family] = sums.reporting.get(family, 0) + 1


def merge_norms(partials: Iterable[Partial], previous: DayRecord | None) -> dict[str, SegmentNorms]:
    """Return each segment's norms of the day; a segment that nobody is in any more ends."""
    sums: dict[str, PartialNorms] = {}
    for partial in partials:
        for segment, part in partial.norms.items():
            _add_up(sums.setdefault(segment, PartialNorms(0, 0, [0] * 29, {})), part)
    before = {} if previous is None else previous.norms
    return {segment: _next(sums[segment], before.get(segment)) for segment in sorted(sums)}


def _add_up(total: PartialNorms, part: PartialNorms) -> None:
    total.accounts += part.accounts
    total.active += part.active
    total.active_days_28 = [mine + more for mine, more in zip(total.active_days_28, part.active_days_28, strict=True)]
    for family, count in part.reporting.items():
        total.reporting[family] = total.reporting.get(family, 0) + count


def _next(sums: PartialNorms, before: SegmentNorms | None) -> SegmentNorms:
    share = sums.active * SHARE // sums.accounts
    days = 0 if before is None else before.days
    # A plain mean while the segment is young, then a slow moving one: both in integers.
    typical = share if before is None else before.typical + (share - before.typical) // min(days + 1, TYPICAL_DAYS)
    # What is typical must be known before a day can be a quiet one. A day keeps its worth: adding a day never makes a silence shorter.
    known = days >= NEW_DAYS and sums.accounts >= PEERS and before is not None and before.typical > 0
    worth = min(FULL_DAY, FULL_DAY * share // before.typical) if known and before is not None else FULL_DAY
    return SegmentNorms(
        accounts=sums.accounts,
        active=sums.active,
        active_days_28=tuple(sums.active_days_28),
        days=days + 1,
        typical=typical,
        worths=(worth, *(() if before is None else before.worths[: WORTH_DAYS - 1])),
        reporting=dict(sorted(sums.reporting.items())),
    )


def judge_sources(day: int, counts: Mapping[str, int], previous: Mapping[int, DayRecord]) -> dict[str, SourceVerdict]:
    """Return the verdict on each source: silent when it sent less than a tenth of what it sent on the same weekday of the weeks before."""
    known = {source for record in previous.values() for source in record.sources}
    return {source: _verdict(day, source, counts.get(source, 0), previous) for source in sorted(known | set(counts))}


def _verdict(day: int, source: str, events: int, previous: Mapping[int, DayRecord]) -> SourceVerdict:
    same_days = (previous.get(day - 7 * week) for week in range(1, SOURCE_WEEKS + 1))
    before = sorted(record.sources[source].events for record in same_days if record is not None and source in record.sources)
    usual = _lower_median(before)
    silent = len(before) >= 2 and usual >= SOURCE_EVENTS and events * 10 < usual
    return SourceVerdict(events=events, silent=silent)


def _lower_median(values: Sequence[int]) -> int:
    return values[(len(values) - 1) // 2] if values else 0
