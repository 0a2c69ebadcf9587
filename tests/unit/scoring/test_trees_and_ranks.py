"""Where an account stands in the lists, and what a company of many accounts comes to."""

from datetime import date

import pytest
from churnsignal_common.contracts.risk import at_risk
from churnsignal_scoring.health.assessment import UNSCORED, Settled
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.tree import Node, roll_up
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scoring.accounts import DAY_ONE, MONDAY, apply, close_days, engine, envelope, using

ENGINE = engine()
TODAY = date(2026, 11, 20)
scores = st.none() | st.integers(0, 10_000)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([("g", 50)], {"own": 50, "worst_child": None, "average_of_children": 50, "children": 0, "scored_children": 0}),
        ([("g", 50), ("a", None)], {"own": 50, "worst_child": None, "average_of_children": 50, "children": 1, "scored_children": 0}),
        (
            [("g", None), ("a", 30), ("b", 91), ("c", None)],
            {"own": None, "worst_child": {"account": "a", "score": 30}, "average_of_children": 60, "children": 3, "scored_children": 2},
        ),
    ],
)
def test_children_are_averaged_the_worst_is_named_and_without_any_its_own_score_stands_in(
    nodes: list[tuple[str, int | None]], expected: dict[str, object]
) -> None:
    assert roll_up([Node(name, None, None, bool(place), score, None) for place, (name, score) in enumerate(nodes)]) == expected


@given(st.floats(1, 1e9), scores, scores, st.integers(0, 400))
def test_more_risk_more_revenue_and_a_nearer_renewal_never_come_later(arr: float, one: int | None, other: int | None, days: int) -> None:
    worse, better = sorted((5_000 if one is None else one, 5_000 if other is None else other))
    near, far = (date.fromordinal(TODAY.toordinal() + add) for add in (days, days + 30))

    assert at_risk(arr, worse, near, TODAY) >= at_risk(arr, better, near, TODAY)
    assert at_risk(arr * 2, one, near, TODAY) >= at_risk(arr, one, near, TODAY)
    assert at_risk(arr, one, near, TODAY) >= at_risk(arr, one, far, TODAY) >= at_risk(arr, one, None, TODAY)


def settle(state: AccountState) -> Settled:
    result = ENGINE.settle(state, MONDAY, None, DAY_ONE - 1, history=False)
    state.clean()
    return result


def test_ranks_move_by_news_and_at_closes_and_not_with_every_call() -> None:
    state = apply(ENGINE, AccountState("acme"), [envelope("g", 0, kind="group", traits={"arr": 1000})])
    first = settle(state)
    call = settle(apply(ENGINE, state, [envelope("c", 0)]))
    paid = settle(apply(ENGINE, state, [envelope("p", 0, event="Payment Failed")]))

    assert first.ranks is not None
    assert (first.ranks.standing, first.ranks.at_risk) == (UNSCORED, at_risk(1000, None, None, MONDAY.date()))
    assert call.ranks is None
    assert paid.ranks is not None
    assert paid.ranks.at_risk == at_risk(1000, 0, None, MONDAY.date())


def test_a_close_ranks_by_the_score_and_a_churned_account_is_no_risk() -> None:
    state = apply(ENGINE, AccountState("acme"), [envelope("g", 0, kind="group", traits={"arr": 1000}), *using(range(20))])
    closed = close_days(ENGINE, state, 0, 25)[-1]
    apply(ENGINE, state, [envelope("x", 26, kind="group", traits={"status": "churned"})])
    gone = close_days(ENGINE, state, 26, 26)[-1]

    assert closed.assessment.score is not None
    assert closed.ranks is not None
    assert closed.ranks.standing == closed.assessment.score
    assert (gone.ranks and gone.ranks.at_risk, gone.ranks and gone.ranks.standing) == (0, UNSCORED)
