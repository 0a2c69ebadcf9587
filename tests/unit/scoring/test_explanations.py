"""Drivers and what would help, on scorecards of made-up measures whose numbers can be done by hand."""

from dataclasses import replace
from typing import Any

import pytest
from churnsignal_common.contracts.risk import Band, Counterfactual
from churnsignal_scoring.health import explain
from churnsignal_scoring.health.curves import Curve, curve
from churnsignal_scoring.health.evaluate import Evaluation, evaluate
from churnsignal_scoring.health.explain import Seen
from churnsignal_scoring.health.measures.measure import Measure, Missing, Reading
from churnsignal_scoring.health.scorecard import MissingPolicy, Scorecard, Weighted
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.health.view import View

from tests.unit.scoring.accounts import DAY_ONE, SCORECARD

RISING, FALLING = curve([(0, 0), (100, 100)]), curve([(0, 100), (100, 0)])
GREEN_AT_70 = replace(SCORECARD.bands, green_enter=7_000, red_leave=4_500)


def row(name: str, weight: int, number: int | Missing, unit: str = "percent", shape: Curve = RISING, **options: Any) -> Weighted:
    """A measure that reads this number, in a group of its own."""
    found = number if isinstance(number, Missing) else Reading(number * 100, number * 100, baseline=4_200)
    measure = Measure(name, name, unit, more_is_better=shape.rising, about="", read=lambda _, __: found)
    return Weighted(name, name, measure, ((0, shape),), 100, ord(name), weight, MissingPolicy.BAD, options)


def evaluated(*rows: Weighted) -> tuple[Scorecard, Evaluation]:
    card = replace(SCORECARD, measures=rows, bands=GREEN_AT_70)
    return card, evaluate(View(AccountState("acme"), DAY_ONE, None, live=False), card)


A, B, C = row("a", 50, 90), row("b", 30, 20), row("c", 20, 50, window_days=28)


def test_what_costs_most_comes_first_and_says_what_moved_since_the_band_was_entered() -> None:
    told = explain.drivers(*evaluated(A, B, C), {"a": 4_000, "b": 900}, Seen(None, "call"))

    assert [(one.measure, one.contribution, one.possible, one.moved) for one in told] == [
        ("b", 600, 3_000, -300),
        ("c", 1_000, 2_000, None),
        ("a", 4_500, 5_000, 500),
    ]
    assert [(one.value, one.baseline, one.window_days) for one in told] == [(20, 42, None), (50, 42, 28), (90, 42, None)]
    assert told[0].evidence.event_ids == ("call",)


def test_of_what_costs_the_same_the_names_decide() -> None:
    told = explain.drivers(*evaluated(row("z", 50, 20), row("y", 50, 20)), {}, Seen(None, None))

    assert [one.measure for one in told] == ["y", "z"]


def test_a_measure_without_a_value_has_no_evidence_but_its_cost() -> None:
    [first, _] = explain.drivers(*evaluated(A, row("b", 50, Missing.NO_DATA)), {}, Seen(None, "call"))

    assert (first.measure, first.value, first.baseline, first.contribution, first.possible) == ("b", None, None, 0, 5_000)
    assert first.evidence.event_ids == ()


@pytest.mark.parametrize(
    ("rows", "own", "measure", "value"),
    [
        # 61 points; 70 and a hundredth for rounding are asked for. `b` has to rise by 30.04 %, `c` by 45.05, and `a` cannot.
        ((A, B, C), Band.YELLOW, "b", 50.04),
        ((A, C, B), Band.YELLOW, "b", 50.04),
        ((A, row("b", 30, Missing.NO_DATA), row("c", 20, 50)), Band.YELLOW, None, None),
        ((row("a", 50, 90), row("b", 30, 20, "users"), C), Band.YELLOW, "b", 51),
        ((row("a", 50, 90), row("b", 30, 80, "days", FALLING), C), Band.YELLOW, "b", 49),
        ((row("a", 50, 40), row("b", 50, 40)), Band.RED, "a", 50.02),
        ((row("a", 50, 39), row("b", 50, 41)), Band.RED, "a", 49.02),
        ((A, B, C), Band.GREEN, None, None),
        ((row("a", 50, 10), row("b", 50, 10)), Band.YELLOW, None, None),
    ],
)
def test_what_would_help_is_the_measure_that_has_to_move_least(
    rows: tuple[Weighted, ...], own: Band, measure: str | None, value: float | None
) -> None:
    found = explain.counterfactual(*evaluated(*rows), own, tenure=50)

    better = Band.YELLOW if own is Band.RED else Band.GREEN
    assert found == (None if measure is None else Counterfactual(code=measure, measure=measure, value=value or 0, band=better))
