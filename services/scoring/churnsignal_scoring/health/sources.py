"""Pure. The source guard: whether a source is silent by its own habit of weekday and hour, and which accounts depend on it.

Judged once a day over all partitions, before the first account is closed; the verdict is in the day record, so that a replay reads it and
never judges again. What an account depends on is worked out at its closes, while its sources are heard.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import accumulate

from churnsignal_common.contracts.days import DayRecord, SourceVerdict
from churnsignal_common.contracts.risk import SilentSource
from churnsignal_common.mapping.usage import SOURCE_PREFIX

from churnsignal_scoring.health import outages
from churnsignal_scoring.health.days import DayZone, from_date, to_date
from churnsignal_scoring.health.state import HABIT_DAYS, AccountState
from churnsignal_scoring.health.view import WINDOW, View

HOURS = 24
HABIT_WEEKS = 8
"""A source is compared with itself at the same weekday and hour of so many weeks; days on which it was silent are no habit."""
LEAST_WEEKS = 2
LEAST_CALLS = 20
"""A gap in which fewer calls are missing than this is none: such a source is too small to be judged."""
LEAST_SHARE = 4
"""A gap has at least this part (1/n) of the calls of such a weekday: a short hiccup costs no account its day."""
LITTLE = 10
"""In a gap comes less than this part (1/n) of what is usual."""
GONE_DAYS = 28
"""A source silent for so long is taken for retired."""
DEPENDS = 5
"""An account depends on the sources that bring at least this part (1/n) of its calls in four weeks of use."""


def judge_sources(
    day: int,
    zone: DayZone,
    hours: Mapping[str, Sequence[int]],
    previous: Mapping[int, DayRecord],
    retired: Mapping[str, int],
    *,
    partly: bool = False,
) -> dict[str, SourceVerdict]:
    """Return the verdict on each source. `hours` are its calls by hour of the day; `retired` the days on which operators called sources gone.

    `partly` says that partitions are missing: what did not come may be theirs, so that no source falls silent on such a day.
    """
    yesterday = previous.get(day - 1)
    known = set() if yesterday is None else set(yesterday.sources)
    return {
        source: _verdict(day, zone, hours.get(source, (0,) * HOURS), _past(source, day, previous), retired.get(source), partly)
        for source in sorted(known | set(hours))
    }


def _past(source: str, day: int, previous: Mapping[int, DayRecord]) -> dict[int, SourceVerdict]:
    """Return what was judged of a source, back to when it was last retired: what it did before is no habit any more."""
    found: dict[int, SourceVerdict] = {}
    for past in range(day - 1, day - HABIT_WEEKS * 7 - 1, -1):
        record = previous.get(past)
        if record is None or source not in record.sources:
            continue
        found[past] = record.sources[source]
        if found[past].retired:
            break
    return found


def _verdict(
    day: int, zone: DayZone, hours: Sequence[int], past: Mapping[int, SourceVerdict], retired_on: int | None, partly: bool
) -> SourceVerdict:
    before, events = past.get(day - 1), sum(hours)
    heard = to_date(day) if events else None if before is None else before.heard_on
    habit = _habit(day, past)
    usual, start = sum(habit), _gap(hours, habit)
    since = None if start is None or partly else zone.start_of(day) + timedelta(hours=start)
    if before is not None and before.silent and (start is not None or events * LITTLE <= usual):
        since = before.silent_since
    over = since is not None and day - zone.day_of(since) >= GONE_DAYS
    stays = before is not None and before.retired and not events
    told = retired_on is not None and (heard is None or from_date(heard) <= retired_on)
    gone = over or stays or told
    return SourceVerdict(
        events=events,
        silent=since is not None and not gone,
        hours=tuple(hours),
        usual=usual,
        silent_since=None if gone else since,
        heard_on=heard,
        retired=gone,
    )


def _habit(day: int, past: Mapping[int, SourceVerdict]) -> tuple[int, ...]:
    """Return what each hour of such a weekday usually brings: the lower median of the weeks, so that neither a rush nor a holiday moves it."""
    weeks = (past.get(day - 7 * week) for week in range(1, HABIT_WEEKS + 1))
    known = [verdict.hours for verdict in weeks if verdict is not None and verdict.hours and not (verdict.silent or verdict.retired)]
    if len(known) < LEAST_WEEKS:
        return (0,) * HOURS
    return tuple(sorted(column)[(len(known) - 1) // 2] for column in zip(*known, strict=True))


def _gap(hours: Sequence[int], habit: Sequence[int]) -> int | None:
    """Return the hour in which the day's clearest gap begins; None when nothing is missing that did not come at another hour."""
    usual = sum(habit)
    if sum(hours) * LEAST_SHARE >= usual * (LEAST_SHARE - 1):
        return None
    came, due = list(accumulate(hours, initial=0)), list(accumulate(habit, initial=0))
    best, found = 0, None
    for first in range(HOURS):
        for end in range(first + 1, HOURS + 1):
            missing = due[end] - due[first]
            clear = missing - LITTLE * (came[end] - came[first])
            if clear > best and missing >= LEAST_CALLS and missing * LEAST_SHARE >= usual:
                best, found = clear, first
    return found


def feeding(view: View, record: DayRecord) -> tuple[str, ...]:
    """Return the sources that the account depends on, by what they brought in its last four weeks."""
    window = (view.days[day] for day in range(view.as_of, view.as_of - WINDOW, -1) if day in view.days)
    if len(record.sources) == 1:
        [source] = record.sources
        return (source,) if any(SOURCE_PREFIX + source in bucket for bucket in window) else ()
    calls = dict.fromkeys(sorted(record.sources), 0)
    for bucket in window:
        for source in calls:
            calls[source] += bucket.get(SOURCE_PREFIX + source, 0)
    total = sum(calls.values())
    return tuple(source for source, count in calls.items() if count and count * DEPENDS >= total)


def silent_in(record: DayRecord) -> dict[str, SilentSource]:
    """Return the sources that were silent, by name."""
    return {
        source: SilentSource(source, verdict.silent_since or record.made_at) for source, verdict in record.sources.items() if verdict.silent
    }


def freeze(state: AccountState, sources: Mapping[str, SilentSource], day: int) -> bool:
    """Freeze the account, thaw it or leave it as the silent `sources` of `day` say; return whether that is news."""
    memory = state.memory
    silent = tuple([sources[source] for source in memory.fed if source in sources]) if sources else ()
    if not (silent or memory.silent or memory.outages):
        return False
    news = silent != memory.silent
    memory.silent = silent
    if silent:
        memory.outages = outages.added(memory.outages, day)
    if silent or (memory.outages and memory.outages[0][1] <= day - HABIT_DAYS):
        memory.outages = tuple(one for one in memory.outages if one[1] > day - HABIT_DAYS)
        state.memo.clear()
    return news
