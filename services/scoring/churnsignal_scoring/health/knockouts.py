"""Pure. Facts that force a band, and the hand that overrides it."""

from dataclasses import dataclass
from datetime import datetime

from churnsignal_common.contracts.risk import Band

from churnsignal_scoring.health.days import DayZone
from churnsignal_scoring.health.rows import Fact
from churnsignal_scoring.health.scorecard import Knockout
from churnsignal_scoring.health.view import View


@dataclass(frozen=True, slots=True)
class Forced:
    """A band that something other than the score asks for, under a reason code; `fact` is what said so."""

    code: str
    band: Band
    fact: Fact


def knocked_out(view: View, knockouts: tuple[Knockout, ...]) -> Forced | None:
    """Return the first knock-out in force; the scorecard's order is its order of importance."""
    for rule in knockouts:
        fact = view.version(rule.fact)
        if fact is None or fact.value is None or view.as_of - fact.day >= rule.days:
            continue
        if rule.values and str(fact.value).casefold() not in rule.values:
            continue
        cleared = None if rule.cleared_by is None else view.version(rule.cleared_by)
        if cleared is None or cleared.stamp < fact.stamp:
            return Forced(rule.code, rule.band, fact)
    return None


def overridden(view: View, zone: DayZone) -> Forced | None:
    """Return the override in force at the end of the view's day; an expired one is as if it never was."""
    fact = view.version("override")
    if fact is None or not isinstance(fact.value, dict):
        return None
    expires = datetime.fromisoformat(str(fact.value["expires_at"]))
    if expires <= zone.end_of(view.as_of):
        return None
    return Forced("override", Band(fact.value["band"]), fact)
