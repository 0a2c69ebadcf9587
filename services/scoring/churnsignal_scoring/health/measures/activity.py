"""Pure. How much an account is used: its active days, its volume against its own past, its standing among its peers."""

from churnsignal_scoring.health.measures.measure import Measure, Missing, Options, Reading, of_baseline
from churnsignal_scoring.health.view import View

WINDOW = 28


def _active_days(view: View, options: Options) -> Reading | Missing:
    if view.first is None and view.last is None:
        return Missing.NO_DATA
    days = view.active_days(WINDOW)
    # An account younger than the window is measured over the days it had, but not over so few that one day looks like habit.
    lived = min(WINDOW, max(view.age, options["least_age_days"]))
    measured = min(WINDOW * 100, days * WINDOW * 100 // lived)
    return Reading(measured, days * 100, view.remembered("active_days", view.usual_active_days))


ACTIVE_DAYS = Measure(
    name="active_days",
    code="active_days",
    unit="days",
    window_days=WINDOW,
    more_is_better=True,
    about="Days with use in the last 28: four whole weeks, so weekends weigh the same at every evaluation.",
    read=_active_days,
    options={"least_age_days": 14},
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
    now = view.uses(view.as_of - WINDOW + 1, view.end)
    base = view.uses(base_start, base_end)
    usual = base * 100 * 4 // weeks
    if base < options["least_events"]:
        return Missing.NO_DATA
    return Reading(now * 1_000_000 // usual, now * 100, usual, events=now)


VOLUME = Measure(
    name="volume",
    code="volume",
    unit="events",
    window_days=WINDOW,
    more_is_better=True,
    about="Use in the last 28 days in per cent of the account's own eight weeks before; whole weeks, so weekdays match.",
    read=_volume,
    options={"least_weeks": 2, "least_events": 10},
    tell=of_baseline,
)


def _standing(view: View, options: Options) -> Reading | Missing:
    if view.norms is None or view.last is None or view.norms.accounts < options["least_accounts"]:
        return Missing.NOT_APPLICABLE
    return Reading(view.norms.standing(view.active_days(WINDOW)), view.norms.standing(view.active_days(WINDOW)))


STANDING = Measure(
    name="standing",
    code="standing",
    unit="percent",
    window_days=WINDOW,
    more_is_better=True,
    about="Share of the segment's accounts with fewer active days in 28: for products whose segments have seasons of their own.",
    read=_standing,
    options={"least_accounts": 20},
)
