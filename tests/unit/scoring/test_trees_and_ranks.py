"""Where an account stands in the lists, and what a company of many accounts comes to."""

from dataclasses import replace
from datetime import date

import msgspec
import pytest
from churnsignal_common.contracts.days import DayRecord, SegmentNorms
from churnsignal_common.contracts.risk import Band, Cause, at_risk
from churnsignal_scoring.health.assessment import UNSCORED, Settled
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.norms import Partial, PartialNorms, merge_red
from churnsignal_scoring.health.scorecard import Flag, MeasureHolds
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.tree import Node, roll_up
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scoring.accounts import DAY_ONE, MONDAY, SCORECARD, apply, close_days, engine, envelope, record, using

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


BELOW = Flag("red_children", Band.YELLOW, (MeasureHolds(MEASURES["red_children"], {}, at_least=100),))
ROLLED_UP = engine(replace(SCORECARD, knockouts=(*SCORECARD.knockouts, BELOW)))


def company() -> list[AccountState]:
    """A parent and its child, both in daily use; a payment of the child fails on day 25 and is made up for on day 28."""
    calls = using(range(35), users=3)
    group = envelope("g", 0, kind="group", traits={"parent": "whole"})
    paid = [envelope("p1", 25, event="Payment Failed"), envelope("p2", 28, event="Payment Succeeded")]
    return [apply(ROLLED_UP, AccountState("whole"), calls), apply(ROLLED_UP, AccountState("part"), [*calls, group, *paid])]


def lived(states: list[AccountState], records: dict[int, DayRecord]) -> list[list[Band]]:
    """The bands of each account at the closes from day 24 on; records that are not there yet are made, each account on a partition of its own."""
    bands = []
    for day in range(DAY_ONE, DAY_ONE + 31):
        if day not in records:
            partials = [ROLLED_UP.partial([state], day) for state in states]
            records[day] = ROLLED_UP.merge(day, partials, {}, records, ROLLED_UP.zone.end_of(day))
        for state in states:
            ROLLED_UP.close(state, day, records[day], Cause.CLOSE)
        bands.append([state.memory.band for state in states])
    return [list(of_one) for of_one in zip(*bands[24:], strict=True)]


def test_a_red_child_turns_its_parent_yellow_at_the_next_close_until_it_is_well_again() -> None:
    whole, part = lived(company(), {})

    assert part == [*[Band.GREEN] * 1, *[Band.RED] * 3, *[Band.GREEN] * 3]
    assert whole == [*[Band.GREEN] * 2, *[Band.YELLOW] * 3, *[Band.GREEN] * 2]


def test_a_replay_of_the_parent_alone_ends_on_the_same_bands_by_the_day_records() -> None:
    records: dict[int, DayRecord] = {}
    whole, _ = lived(company(), records)

    assert lived(company()[:1], records) == [whole]


def test_while_partitions_are_missing_no_parent_loses_red_children_it_had() -> None:
    before = msgspec.structs.replace(record(ENGINE, DAY_ONE), red_children={"a": 2, "b": 1})
    partials = [Partial(DAY_ONE + 1, {}, {"b": 3}), Partial(DAY_ONE + 1, {}, {"b": 1, "c": 1})]

    assert merge_red(partials, before, partly=False) == {"b": 4, "c": 1}
    assert merge_red(partials, before, partly=True) == {"a": 2, "b": 4, "c": 1}


def test_a_day_record_is_one_record_however_many_parents_and_segments_there_are_and_says_what_is_not_in_it() -> None:
    parents = {f"{number:05}\0{'é' * 200}": number for number in range(10_000)}
    segments = {f"{number:04}{'é' * 200}": PartialNorms({"": (number + 1, 1)}, [1] * 29, {}) for number in range(500)}
    year = msgspec.structs.replace(
        record(ENGINE, DAY_ONE),
        norms={
            name: SegmentNorms(accounts=1, active=1, active_days_28=(1,) * 29, days=9, typical=1, worths=(100,) * 364) for name in segments
        },
    )

    made = ENGINE.merge(DAY_ONE + 1, [Partial(DAY_ONE + 1, segments, parents)], {}, {DAY_ONE: year}, MONDAY)

    assert 700_000 < len(msgspec.json.encode(made)) < 900_000
    assert made.omitted == {"segments": 500 - len(made.norms), "parents": 10_000 - len(made.red_children)}
    assert list(made.red_children) == sorted(parents)[: len(made.red_children)]
    assert sorted(made.norms) == sorted(segments)[-len(made.norms) :]
    assert min(len(made.red_children), len(made.norms)) > 100
    assert record(ENGINE, DAY_ONE).omitted == {}
