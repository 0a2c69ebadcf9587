"""Pure. Silence: how long an account has not been used, beyond what is usual for itself and for its peers."""

from churnsignal_scoring.health.measures.measure import Measure, Missing, Options, Reading
from churnsignal_scoring.health.norms import FULL_DAY
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


def worth_of_silence(view: View) -> int:
    """Return the days without use in hundredths; days when the account's peers were away count less."""
    silent = view.silent_days
    return silent * FULL_DAY if view.norms is None else view.norms.worth(silent)


def is_quiet(view: View, pause_percent: int, unknown_pause_days: int) -> bool:
    """Return whether the silence has outlasted the pauses that the account came back from."""
    if pause_percent == 0:
        return True
    usual = view.remembered("pause", lambda: usual_pause(view.active, LEAST_GAPS))
    # Plain days on both sides: the pauses of the past were not weighed by what peers did either.
    return view.silent_days * 100 > pause_percent * (unknown_pause_days if usual is None else usual)


def _read(view: View, options: Options) -> Reading | Missing:
    if view.first is None and view.last is None:
        return Missing.NO_DATA
    # Gaps before the last use only: while the silence lasts the habit stays what it was.
    usual = view.remembered(
        "gap", lambda: usual_gap(view.active, options["habit_percent"], options["longest_habit_days"], options["least_gaps"])
    )
    allowed = options["unknown_habit_days"] if usual is None else usual
    beyond = max(0, worth_of_silence(view) - allowed * 100)
    return Reading(beyond, view.silent_days * 100, None if usual is None else usual * 100, allowed=allowed * 100)


def _tell(reading: Reading, measured: int) -> int:
    return measured + reading.allowed


SILENCE = Measure(
    name="silence",
    code="silence",
    unit="days",
    window_days=None,
    more_is_better=False,
    about="Days without use beyond the account's own usual gap; days when its peers were away count less.",
    read=_read,
    options={"habit_percent": 80, "longest_habit_days": 14, "least_gaps": LEAST_GAPS, "unknown_habit_days": 7},
    tell=_tell,
)
