"""Whatever an account does: a score within its range, parts that total it exactly, and no reward for doing worse."""

import itertools
from dataclasses import replace

import pytest
from churnsignal_common.contracts.risk import Cause
from churnsignal_scoring.health.evaluate import Evaluation, add_up, evaluate
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.measures.measure import Measure, Missing, Options, Reading
from churnsignal_scoring.health.scorecard import MILLION, MissingPolicy, Scorecard, share_out
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.health.view import View
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scoring.accounts import DAY_ONE, SCORECARD, apply, close_days, engine, envelope, record, using

ENGINE = engine()

habits = st.lists(st.integers(0, 120), min_size=0, max_size=60, unique=True)


def account(days: list[int], users: int, errors: int) -> AccountState:
    broken = [envelope(f"e{number}", (days or [0])[0] + number / 100, event="Error") for number in range(errors)]
    return apply(ENGINE, AccountState("acme"), [*using(days, users), *broken])


@given(habits, st.integers(1, 5), st.integers(0, 9), st.integers(0, 200), st.booleans())
@settings(max_examples=150)
def test_contributions_total_the_score_exactly_and_stay_in_range(days: list[int], users: int, errors: int, at: int, live: bool) -> None:
    view = View(account(days, users, errors), DAY_ONE + at, None, live=live)

    found = evaluate(view, SCORECARD)

    assert 0 <= found.score <= 10_000
    assert 0 <= found.coverage <= 10_000
    assert sum(found.contributions) == found.score
    assert all(part >= 0 for part in found.contributions)


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 50)), min_size=1, max_size=9))
def test_rounding_never_loses_or_invents_a_hundredth(rows: list[tuple[int, int]]) -> None:
    total = sum(weight for _, weight in rows)
    shares = share_out(MILLION, [(weight, total) for _, weight in rows])

    points = tuple(points for points, _ in rows)
    found = Evaluation(add_up(points, shares), 0, (), points, shares)

    assert sum(shares) == MILLION
    assert sum(found.contributions) == found.score
    # To the nearest hundredth; the shares themselves are rounded to a millionth.
    assert 10 * abs(found.score * total - sum(points * weight for points, weight in rows)) <= 7 * total


@given(st.integers(0, (1 << len(SCORECARD.measures)) - 1))
def test_whatever_is_missing_the_rest_shares_the_whole(present: int) -> None:
    shares = SCORECARD.shares(present)

    assert sum(shares) == (MILLION if present else 0)
    assert all(share == 0 for place, share in enumerate(shares) if not present >> place & 1)


def test_a_missing_measure_gives_its_weight_to_its_group_before_the_other_groups() -> None:
    names = [row.measure.name for row in SCORECARD.measures]
    everything = (1 << len(names)) - 1

    shares = SCORECARD.shares(everything & ~(1 << names.index("seats_used")))

    assert shares[names.index("users")] == 200_000
    assert shares[names.index("silence")] == 325_000


@pytest.mark.parametrize(("policy", "score", "coverage"), [("skip", 10_000, 5_000), ("neutral", 7_500, 5_000), ("bad", 5_000, 5_000)])
def test_missing_data_does_what_its_policy_says_and_is_no_evidence(policy: str, score: int, coverage: int) -> None:
    view = View(apply(ENGINE, AccountState("acme"), using(range(28))), DAY_ONE + 27, None, live=False)

    found = evaluate(view, two_measures(Missing.NO_DATA, MissingPolicy(policy)))

    assert (found.score, found.coverage) == (score, coverage)


def test_a_measure_that_means_nothing_here_costs_no_coverage() -> None:
    view = View(apply(ENGINE, AccountState("acme"), using(range(28))), DAY_ONE + 27, None, live=False)

    found = evaluate(view, two_measures(Missing.NOT_APPLICABLE, MissingPolicy.BAD))

    assert (found.score, found.coverage) == (10_000, 10_000)


def test_without_any_measure_that_means_something_here_there_is_no_evidence() -> None:
    view = View(apply(ENGINE, AccountState("acme"), using(range(28))), DAY_ONE + 27, None, live=False)
    row = two_measures(Missing.NOT_APPLICABLE, MissingPolicy.SKIP).measures[1]

    found = evaluate(view, replace(SCORECARD, measures=(row,)))

    assert (found.score, found.coverage, found.contributions) == (0, 0, (0,))


def two_measures(reason: Missing, policy: MissingPolicy) -> Scorecard:
    def read(_: View, __: Options) -> Reading | Missing:
        return reason

    silent = next(row for row in SCORECARD.measures if row.measure.name == "silence")
    absent = Measure("absent", "absent", "points", more_is_better=True, about="never there", read=read)
    rows = (replace(silent, share=100, weight=50, group=0), replace(silent, measure=absent, share=100, weight=50, group=1, missing=policy))
    return replace(SCORECARD, measures=rows)


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=6), st.integers(0, 5), st.integers(1, 5_000))
def test_more_points_for_one_measure_never_lower_the_score(points: list[int], place: int, more: int) -> None:
    shares = share_out(MILLION, [(1, len(points))] * len(points))
    place %= len(points)
    better = [min(10_000, value + more) if index == place else value for index, value in enumerate(points)]

    assert add_up(better, shares) >= add_up(points, shares)


@given(habits, st.integers(1, 4), st.integers(0, 6), st.integers(0, 250))
@settings(max_examples=80)
def test_a_day_more_of_silence_never_raises_the_score(days: list[int], users: int, errors: int, start: int) -> None:
    state = account(days, users, errors)
    first = DAY_ONE + max([start, *days])
    close_days(engine(), state, first - DAY_ONE, first - DAY_ONE)  # notes what the account shows
    scores = [evaluate(View(state, first + day, None, live=False), SCORECARD).score for day in range(60)]

    assert all(after <= before for before, after in itertools.pairwise(scores))


@given(habits.filter(bool), st.integers(1, 3), st.integers(0, 6))
@settings(max_examples=15)
def test_silence_never_raises_a_score_through_real_closes_that_forget_old_days(days: list[int], users: int, errors: int) -> None:
    state = account(days, users, errors)
    closed = close_days(ENGINE, state, max(days), max(days) + 160)

    scores = [one.assessment.score for one in closed if one.assessment.score is not None]
    assert all(after <= before for before, after in itertools.pairwise(scores))


@given(habits.filter(bool), st.integers(0, 130))
@settings(max_examples=80)
def test_between_closes_the_clock_takes_nothing_away(days: list[int], extra: int) -> None:
    state = account(days, 1, 0)
    last = DAY_ONE + max(days) + 1
    closed = evaluate(View(state, last, None, live=False), SCORECARD).score

    apply(ENGINE, state, [envelope("more", max(days) + 1 + extra / 100)])

    assert evaluate(View(state, last, None, live=True), SCORECARD).score >= closed


def test_a_live_evaluation_leaves_the_state_as_it_was() -> None:
    state = apply(ENGINE, AccountState("acme"), using(range(40)))
    close_days(ENGINE, state, 0, 39)
    state.mark_all()
    before = state.rows()

    ENGINE.explain(state, record(ENGINE, DAY_ONE + 39, [state]), DAY_ONE + 39)

    state.mark_all()
    assert state.rows() == before


def test_adding_a_measure_takes_one_definition() -> None:
    assert set(MEASURES) >= {row.measure.name for row in SCORECARD.measures}
    assert all(measure.about and measure.unit and measure.code for measure in MEASURES.values())


def test_closing_a_day_twice_changes_nothing() -> None:
    state = apply(ENGINE, AccountState("acme"), using(range(20)))
    day = record(ENGINE, DAY_ONE + 19, [state])
    first = ENGINE.close(state, DAY_ONE + 19, day, Cause.CLOSE)
    state.mark_all()
    rows = state.rows()

    second = ENGINE.close(state, DAY_ONE + 19, day, Cause.CLOSE)

    assert first.change is not None
    assert second.change is None
    assert second.assessment == first.assessment
    assert state.rows() == rows
