"""Pure. Silence: how long an account has not been used, as such, and beyond what is usual for itself and for its peers."""

from itertools import pairwise

from churnsignal_common.mapping.usage import USE

from churnsignal_scoring.health.measures.measure import Measure, Missing, Options, Reading
from churnsignal_scoring.health.norms import FULL_DAY
from churnsignal_scoring.health.state import RETENTION_DAYS
from churnsignal_scoring.health.view import View

HABIT_WINDOW = 364
LEAST_GAPS = 4


def usual_gap(active: int, quantile: int, limit: int, least: int) -> int | None:
    """Return the gap in days that `quantile` per cent of the gaps between active days do not exceed, at most `limit`; None with too few gaps.

    `active` is the mask of active days. A quantile, so that one long holiday does not become the habit.
    """
    mask = active >> max(0, active.bit_length() - HABIT_WINDOW)
    gaps = mask.bit_count() - 1
    if gaps < least:
        return None
    followed = 0
    for gap in range(1, limit):
        followed |= mask >> gap
        if (followed & mask).bit_count() * 100 >= quantile * gaps:
            return gap
    return limit


def usual_pause(active: int, least: int) -> int | None:
    """Return the second longest gap of the last year, in days: what the account came back from more than once; None with too few gaps.

    The second, so that one long holiday does not excuse every silence after it.
    """
    mask = active >> max(0, active.bit_length() - HABIT_WINDOW)
    if mask.bit_count() - 1 < least:
        return None
    return sorted(len(zeros) for zeros in f"{mask:b}".strip("0").split("1")[1:-1])[-2] + 1


def _pause(view: View) -> int | None:
    return view.remembered("pause", lambda: usual_pause(view.active, LEAST_GAPS))


def is_quiet(view: View, pause_percent: int, unknown_pause_days: int) -> bool:
    """Return whether the silence has outlasted the pauses that the account came back from."""
    if pause_percent == 0:
        return True
    usual = _pause(view)
    # Plain days on both sides, as the pauses of the past were not weighed by what peers did either; but a season is no silence of its own.
    seasons = 0 if view.norms is None else view.norms.seasons(_days_without_use(view))
    return view.silent_days * FULL_DAY - seasons > pause_percent * (unknown_pause_days if usual is None else usual)


def is_sustained(view: View, active_days: int, window_days: int) -> bool:
    """Return whether use has come back for good: on so many days of the window, or of the account's own usual pause if that is longer."""
    if view.active_days(window_days) >= active_days:
        return True
    # Who works in monthly rhythm cannot show three days of use in two weeks.
    return view.active_days(max(window_days, _pause(view) or 0)) >= active_days


def _usual(view: View, options: Options) -> int | None:
    quantile, limit, least = options["habit_percent"], options["longest_habit_days"], options["least_gaps"]
    if view.calendar.rests:
        return _usual_in_working_days(view, quantile, limit, least)
    return usual_gap(view.active, quantile, limit, least)


def _usual_in_working_days(view: View, quantile: int, limit: int, least: int) -> int | None:
    mask = view.active >> max(0, view.active.bit_length() - HABIT_WINDOW)
    start = view.lived - mask.bit_length() + 1
    days = [start + place for place, bit in enumerate(reversed(f"{mask:b}")) if bit == "1"] if mask else []
    gaps = sorted(max(1, view.working_days(before + 1, after)) for before, after in pairwise(days))
    if len(gaps) < least:
        return None
    return min(limit, gaps[max(0, -(-quantile * len(gaps) // 100) - 1)])


def _days_without_use(view: View) -> int:
    return view.as_of - view.day_at(view.as_of - view.silent_days) if view.outages else view.silent_days


def worth_of_silence(view: View) -> int:
    """Return the days without use in hundredths: days off and outages count nothing, and days when the account's peers were away count less."""
    silent, norms = _days_without_use(view), view.norms
    worth = silent * FULL_DAY if norms is None else norms.worth(silent)
    if not view.calendar.rests and not view.outages:
        return worth
    ago = [view.as_of - day for day in view.days_off(view.as_of - silent + 1, view.as_of)]
    return worth - sum(FULL_DAY if norms is None else norms.worth(days + 1) - norms.worth(days) for days in ago)


def _silence(view: View, options: Options) -> Reading | Missing:
    if view.first is None and view.last is None:
        return Missing.NO_DATA
    # Gaps before the last use only: while the silence lasts the habit stays what it was.
    usual = view.remembered("gap", lambda: _usual(view, options), view.calendar, options)
    allowed = options["unknown_habit_days"] if usual is None else usual
    beyond = max(0, worth_of_silence(view) - allowed * 100)
    return Reading(beyond, view.silent_days * 100, None if usual is None else usual * 100, allowed=allowed * 100)


def _with_what_is_allowed(reading: Reading, measured: int) -> int:
    return measured + reading.allowed


SILENCE = Measure(
    name="silence",
    code="silence",
    unit="days",
    more_is_better=False,
    about="Days without use beyond the account's own usual gap; days off, and days when its peers were away, count less.",
    read=_silence,
    options={"habit_percent": 80, "longest_habit_days": 14, "least_gaps": LEAST_GAPS, "unknown_habit_days": 7},
    tell=_with_what_is_allowed,
)


def _recency(view: View, options: Options) -> Reading | Missing:
    if view.first is None and view.last is None:
        return Missing.NO_DATA
    signal = options["signal"]
    if signal == USE:
        return Reading(view.silent_days * 100, view.silent_days * 100)
    seen = view.days_with(signal, view.days)
    days = min(RETENTION_DAYS, view.age) if not seen else max(0, view.as_of - max(seen))
    return Reading(days * 100, days * 100)


RECENCY = Measure(
    name="recency",
    code="silence",
    unit="days",
    more_is_better=False,
    about="Whole days since the last use, or since the last call of a signal (17 weeks at most).",
    read=_recency,
    options={"signal": USE},
)
