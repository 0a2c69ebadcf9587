"""Pure. What speaks louder than the score: facts and readings that force a band, findings, and the hand that overrides."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import assert_never

import msgspec
from churnsignal_common.contracts.risk import Band, Finding

from churnsignal_scoring.health.days import from_date, to_date
from churnsignal_scoring.health.measures.measure import Reading
from churnsignal_scoring.health.rows import Fact
from churnsignal_scoring.health.scorecard import BandIs, Condition, FactHolds, Flag, MeasureHolds
from churnsignal_scoring.health.view import View

_LAST_DAY = from_date(date.max)


@dataclass(frozen=True, slots=True)
class Forced:
    """A band that something other than the score asks for, under a reason code.

    `fact` is what said so: only then it is news between closes. `only_from` are the score's own bands from which it forces (None: any).
    """

    code: str
    band: Band
    fact: Fact | None
    only_from: tuple[Band, ...] | None = None


def knocked_out(view: View, rules: tuple[Flag, ...]) -> tuple[Forced, ...]:
    """Return the knock-outs in force, whatever the score's own band is; the scorecard's order is their order of importance."""
    known = view.state.facts
    # Most accounts know nothing of what most rules ask for.
    asked = [rule for rule in rules if rule.fact is None or rule.fact in known]
    if not asked:
        return ()
    return tuple(
        [
            Forced(rule.code, rule.band, None if rule.fact is None else view.version(rule.fact), rule.only_from)
            for rule in asked
            if rule.band is not None and all(_holds(view, condition, None) for condition in rule.conditions)
        ]
    )


def findings(view: View, rules: tuple[Flag, ...], own: Band, known: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return what is to be pointed out; what is `known` keeps its first day."""
    since = {(one.kind, one.code): one.since for one in known}
    today = to_date(view.as_of)
    return tuple(
        _found(view, rule, since.get((rule.kind, rule.code), today))
        for rule in rules
        if all(_holds(view, condition, own) for condition in rule.conditions)
    )


def _found(view: View, rule: Flag, since: date) -> Finding:
    """Return what the rule points out, with what its first measure reads."""
    found = Finding(kind=rule.kind, code=rule.code, since=since)
    for condition in rule.conditions:
        reading = condition.measure.read(view, condition.options) if isinstance(condition, MeasureHolds) else None
        if isinstance(condition, MeasureHolds) and isinstance(reading, Reading):
            on = to_date(min(_LAST_DAY, view.as_of + reading.value // 100)) if condition.measure.counts_down else None
            return msgspec.structs.replace(found, value=reading.value / 100, unit=condition.measure.unit, on=on)
    return found


def _holds(view: View, condition: Condition, own: Band | None) -> bool:
    match condition:
        case FactHolds():
            return _fact_holds(view, condition)
        case MeasureHolds():
            return _measure_holds(view, condition)
        case BandIs():
            return own is None or own in condition.bands
        case _:
            assert_never(condition)


def _fact_holds(view: View, rule: FactHolds) -> bool:
    fact = view.version(rule.fact)
    if fact is None or fact.value is None or (rule.days is not None and view.as_of - fact.day >= rule.days):
        return False
    if rule.values and str(fact.value).strip().casefold() not in rule.values:
        return False
    cleared = None if rule.cleared_by is None else view.version(rule.cleared_by)
    return cleared is None or cleared.stamp < fact.stamp


def _measure_holds(view: View, rule: MeasureHolds) -> bool:
    reading, low, high = rule.measure.read(view, rule.options), rule.at_least, rule.at_most
    return isinstance(reading, Reading) and (low is None or reading.measured >= low) and (high is None or reading.measured <= high)


def overridden(view: View, end: datetime) -> Forced | None:
    """Return the override in force at the `end` of the view's day; an expired one is as if it never was."""
    fact = view.version("override")
    if fact is None or not isinstance(fact.value, dict):
        return None
    expires = datetime.fromisoformat(str(fact.value["expires_at"]))
    if expires <= end:
        return None
    return Forced("override", Band(fact.value["band"]), fact)
