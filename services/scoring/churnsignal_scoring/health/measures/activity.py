"""Pure. How much an account is used: its active days, its volume against its own past, its standing among its peers."""

from churnsignal_common.mapping.usage import USE

from churnsignal_scoring.health.measures.measure import COMPARED, HABIT, Measure, Missing, Options, Reading, of_baseline
from churnsignal_scoring.health.view import WINDOW, View

PERCENT = 10_000


def _active_days(view: View, options: Options) -> Reading | Missing:
    if view.first is None and view.last is None:
        return Missing.NO_DATA
    window = options["window_days"]
    days = view.active_days(window)
    # An account younger than the window is measured over the days it had, but not over so few that one day looks like habit.
    lived = min(window, max(view.age, options["least_age_days"]))
    measured = min(window * 100, days * window * 100 // lived)
    usual = view.remembered("active_days", view.usual_active_days) if window == WINDOW else None
    return Reading(measured, days * 100, usual)


ACTIVE_DAYS = Measure(
    name="active_days",
    code="active_days",
    unit="days",
    more_is_better=True,
    about="Days with use in the last 28: four whole weeks, so weekends weigh the same at every evaluation.",
    read=_active_days,
    options={"window_days": WINDOW, "least_age_days": 14},
    limits=HABIT,
)


def _volume(view: View, options: Options) -> Reading | Missing:
    if view.last is None:
        return Missing.NO_DATA
    base_start, base_end = view.base()
    weeks = (base_end - base_start + 1) // 7
    if weeks < options["least_weeks"]:
        return Missing.NO_DATA
    if view.silent:
        return Reading(0, 0, events=0)
    now = view.count_lately(options["signal"], WINDOW)
    base = view.count(options["signal"], base_start, base_end)
    if base < options["least_events"]:
        return Missing.NO_DATA
    usual = base * 100 * 4 // weeks
    if view.calendar.holidays:
        # Whole weeks match weekdays; what is left to match are holidays.
        worked = view.working_days(base_start, base_end)
        usual = base * 100 * view.working_days(view.lived - WINDOW + 1, view.lived) // worked if worked else 0
    return Reading(now * 1_000_000 // usual, now * 100, usual, events=now) if usual else Missing.NO_DATA


VOLUME = Measure(
    name="volume",
    code="volume",
    unit="events",
    more_is_better=True,
    about="Use in the last 28 days in per cent of the account's own eight weeks before; whole weeks and no holidays, so that days match.",
    read=_volume,
    options={"signal": USE, "least_weeks": 2, "least_events": 10},
    tell=of_baseline,
    window_days=WINDOW,
)


def _change(view: View, options: Options) -> Reading | Missing:
    window, signal = options["window_days"], options["signal"]
    start = view.lived - 2 * window + 1
    if view.first is None or view.first > start:
        return Missing.NO_DATA
    if view.forgets(2 * window):
        return CHANGE.worst(view, options, Reading(0, 0, events=0))
    # What it is compared with ends before the last weeks *of use*: silence lowers the one and leaves the other.
    end = view.lived - window
    before = view.count(signal, start, end)
    if before < options["least_events"]:
        return Missing.NO_DATA
    now = 0 if view.silent_days >= window else view.count_lately(signal, window)
    usual = before * 100
    if view.calendar.holidays:
        worked = view.working_days(start, end)
        usual = usual * view.working_days(end + 1, view.lived) // worked if worked else 0
    return Reading(now * 100 * PERCENT // usual, now * 100, usual, events=now) if usual else Missing.NO_DATA


CHANGE = Measure(
    name="change",
    code="volume",
    unit="events",
    more_is_better=None,
    about="How often a signal came in the last days, in per cent of as many days before; holidays are evened out.",
    read=_change,
    options={"signal": USE, "window_days": WINDOW, "least_events": 10},
    tell=of_baseline,
    limits=COMPARED,
    reports=lambda view, options: isinstance(_change(view, options), Reading),
)


def _weekly(view: View, options: Options) -> tuple[list[int], list[int]] | None:
    """Return the sums of the last whole weeks of use, the oldest first, as they were and to be compared; None for a younger account, or too few.

    A week with holidays is compared as if all its days had been like those that were worked, and one without any as the mean, or more.
    """
    signal, weeks = options["signal"], options["weeks"]
    if view.first is None or view.lived - view.first + 1 < weeks * 7:
        return None
    starts = [view.lived - 7 * week + 1 for week in range(weeks, 0, -1)]
    # Between closes the week of the last use goes on.
    sums = [view.count(signal, start, start + 6) for start in starts]
    if sum(sums) < options["least_events"]:
        return None
    if not view.calendar.holidays:
        return sums, sums
    worked = [view.working_days(start, start + 6) for start in starts]
    mean = sum(sums) * max(worked) // max(1, sum(worked))
    return sums, [count * max(worked) // days if days else max(count, mean) for count, days in zip(sums, worked, strict=True)]


def _slope(view: View, options: Options) -> Reading | Missing:
    weeks, worst = options["weeks"], Reading(-PERCENT, -PERCENT, events=0)
    if view.forgets(weeks * 7):
        return SLOPE.worst(view, options, worst)
    found = _weekly(view, options)
    if found is None:
        return Missing.NO_DATA
    if view.silent:
        return worst
    came, sums = found
    # Least squares in integers: the rise a week in per cent of the mean week.
    number = weeks * (weeks - 1) // 2
    over = weeks * sum(place * count for place, count in enumerate(sums)) - number * sum(sums)
    under = weeks * sum(place * place for place in range(weeks)) - number * number
    percent = max(-PERCENT, min(PERCENT, over * PERCENT * weeks // (under * sum(sums))))
    return Reading(percent, percent, events=sum(came))


SLOPE = Measure(
    name="slope",
    code="slope",
    unit="percent",
    more_is_better=True,
    about="How much use rises (or, below 0, falls) a week, in per cent of the mean of the last eight weeks of use; -100 for a silent account.",
    read=_slope,
    options={"signal": USE, "weeks": 8, "least_events": 20},
    reports=lambda view, options: isinstance(_slope(view, options), Reading),
)


def _falling(view: View, options: Options) -> Reading | Missing:
    weeks = options["weeks"]
    worst = Reading((weeks - 1) * 100, (weeks - 1) * 100, events=0)
    if view.forgets(weeks * 7):
        return FALLING.worst(view, options, worst)
    found = _weekly(view, options)
    if found is None:
        return Missing.NO_DATA
    if view.silent:
        return worst
    came, sums = found
    fell = 0
    while fell < weeks - 1 and sums[-1 - fell] < sums[-2 - fell]:
        fell += 1
    return Reading(fell * 100, fell * 100, events=came[-1])


FALLING = Measure(
    name="falling_weeks",
    code="slope",
    unit="weeks",
    more_is_better=False,
    about="So many weeks in a row saw less use than the week before; all of them for a silent account.",
    read=_falling,
    options={"signal": USE, "weeks": 8, "least_events": 20},
    reports=lambda view, options: isinstance(_falling(view, options), Reading),
)


def _standing(view: View, options: Options) -> Reading | Missing:
    if view.norms is None or view.last is None or view.norms.accounts < options["least_accounts"]:
        return Missing.NOT_APPLICABLE
    rank = view.norms.standing(view.active_days(WINDOW))
    return Reading(rank, rank)


STANDING = Measure(
    name="standing",
    code="standing",
    unit="percent",
    more_is_better=True,
    about="Share of the segment's accounts with fewer active days in 28: for products whose segments have seasons of their own.",
    read=_standing,
    options={"least_accounts": 20},
    window_days=WINDOW,
)
