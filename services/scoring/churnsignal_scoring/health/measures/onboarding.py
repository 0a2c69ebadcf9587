"""Pure. How far a new account has come, and how long it took to get its first value."""

from churnsignal_scoring.health.measures.measure import Measure, Missing, Options, Reading, of_baseline
from churnsignal_scoring.health.state import RETENTION_DAYS
from churnsignal_scoring.health.view import View


def _is_reached(view: View, milestone: str) -> bool:
    # A fact is remembered for ever, a signal for 17 weeks.
    return view.fact(milestone) is not None or bool(view.days_with(milestone, view.state.days))


def _onboarding(view: View, options: Options) -> Reading | Missing:
    milestones = options["milestones"]
    if not milestones:
        return Missing.NOT_APPLICABLE
    if view.first is None:
        return Missing.NO_DATA
    reached = sum(_is_reached(view, milestone) for milestone in milestones)
    return Reading(reached * 10_000 // len(milestones), reached * 100, len(milestones) * 100)


ONBOARDING = Measure(
    name="onboarding",
    code="onboarding",
    unit="milestones",
    more_is_better=True,
    about="Onboarding milestones (facts or signals) that were reached, in per cent.",
    read=_onboarding,
    options={"milestones": ()},
    tell=of_baseline,
)


def _time_to_value(view: View, options: Options) -> Reading | Missing:
    milestone = options["milestone"]
    if not milestone or view.tenure > RETENTION_DAYS:
        return Missing.NOT_APPLICABLE
    if view.first is None:
        return Missing.NO_DATA
    seen = view.days_with(milestone, view.state.days)
    began = view.as_of - view.tenure + 1
    days = max(0, min(seen) - began) if seen else view.tenure
    return Reading(days * 100, days * 100)


TIME_TO_VALUE = Measure(
    name="time_to_value",
    code="time_to_value",
    unit="days",
    more_is_better=False,
    about="Days from the account's beginning to the first call of the signal `milestone`; while it has not come, the days so far. 17 weeks.",
    read=_time_to_value,
    options={"milestone": ""},
)
