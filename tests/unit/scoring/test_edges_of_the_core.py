"""The exact edges of small rules: the day, the count or the remainder on which each of them turns."""

from dataclasses import replace
from datetime import date
from typing import Any

import msgspec
import pytest
from churnsignal_common.contracts.risk import Band, Cause, FindingKind
from churnsignal_scoring.health.calendars import Calendar
from churnsignal_scoring.health.knockouts import findings, knocked_out, overridden
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.measures.measure import Measure, Missing, Reading, of_baseline
from churnsignal_scoring.health.measures.silence import usual_gap, usual_pause
from churnsignal_scoring.health.memory import BandMemory
from churnsignal_scoring.health.norms import Norms
from churnsignal_scoring.health.profile import Lifecycle, lifecycle
from churnsignal_scoring.health.scorecard import BandIs, FactHolds, Flag, MeasureHolds, Whom, share_out
from churnsignal_scoring.health.state import HABIT_DAYS, AccountState, retold
from churnsignal_scoring.health.values import as_date
from churnsignal_scoring.health.view import View

from tests.unit.scoring.accounts import DAY_ONE, SCORECARD, UTC_DAYS, apply, close_days, command, engine, envelope, using
from tests.unit.scoring.reading import profile, read_of

ENGINE = engine()


def seen(day: int, *calls: Any, live: bool = False) -> View:
    """What is seen of an account with these calls as of the end of a day."""
    return View(apply(ENGINE, AccountState("acme"), calls), DAY_ONE + day, None, live=live)


def fact(name: str, day: float, value: object = "yes") -> Any:
    return profile(day, **{name: value})


@pytest.mark.parametrize(
    ("rule", "day", "holds"),
    [
        (FactHolds("plan"), 3, True),
        (FactHolds("seats"), 3, False),
        (FactHolds("plan", days=3), 3, True),
        (FactHolds("plan", days=2), 3, False),
        (FactHolds("plan", values=("pro",)), 3, True),
        (FactHolds("plan", values=("free",)), 3, False),
        (FactHolds("plan", cleared_by="owner"), 3, False),
        (FactHolds("plan", cleared_by="owner"), 1, True),
        (FactHolds("owner", cleared_by="plan"), 3, True),
        (FactHolds("plan", cleared_by="seats"), 3, True),
    ],
)
def test_a_fact_holds_for_its_days_with_its_values_until_it_is_cleared(rule: FactHolds, day: int, holds: bool) -> None:
    view = seen(day, *using(range(4)), fact("plan", 1, " Pro "), fact("owner", 2, "kei"))
    # Another condition holds of itself, so that it is this one that is asked.
    flag = Flag("f", None, (BandIs((Band.GREEN,)), rule))

    assert bool(findings(view, (flag,), Band.GREEN, ())) is holds
    assert findings(view, (flag,), Band.RED, ()) == ()


NUMBER = Measure("n", "n", "days", more_is_better=False, about="", read=lambda _, __: Reading(1_200, 1_300))
ABSENT = replace(NUMBER, read=lambda _, __: Missing.NO_DATA)


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (MeasureHolds(NUMBER, {}), True),
        (MeasureHolds(NUMBER, {}, at_least=1_200), True),
        (MeasureHolds(NUMBER, {}, at_least=1_201), False),
        (MeasureHolds(NUMBER, {}, at_most=1_200), True),
        (MeasureHolds(NUMBER, {}, at_most=1_199), False),
        (MeasureHolds(NUMBER, {}, at_least=1_200, at_most=1_199), False),
        (MeasureHolds(ABSENT, {}), False),
    ],
)
def test_a_measure_holds_between_its_bounds_and_its_reading_is_told(rule: MeasureHolds, holds: bool) -> None:
    found = findings(seen(3, *using(range(4))), (Flag("f", None, (rule,), FindingKind.RENEWAL),), Band.GREEN, ())

    told = [(one.kind, one.code, one.value, one.unit, one.on) for one in found]
    assert told == ([(FindingKind.RENEWAL, "f", 13, "days", None)] if holds else [])


def test_what_forces_a_band_names_the_fact_that_said_so() -> None:
    view = seen(3, *using(range(4)), fact("plan", 1))
    by_fact = Flag("f", Band.RED, (FactHolds("plan"),))
    by_number = Flag("n", Band.YELLOW, (MeasureHolds(NUMBER, {}), BandIs((Band.GREEN,))))
    unknown = Flag("u", Band.RED, (FactHolds("seats"),))
    told_only = Flag("t", None, (MeasureHolds(NUMBER, {}),))

    forced = knocked_out(view, (by_fact, by_number, unknown, told_only))

    assert [(one.code, one.band, one.fact and one.fact.day, one.only_from) for one in forced] == [
        ("f", Band.RED, DAY_ONE + 1, None),
        ("n", Band.YELLOW, None, (Band.GREEN,)),
    ]


def test_an_override_ends_with_the_day_on_which_it_expires() -> None:
    hand = {"band": "green", "reason": "new owner", "author": "eve", "expires_at": "2026-01-08T00:00:00Z"}
    calls = [*using(range(4)), command("o", 1, type="override.set", **hand)]

    forced = overridden(seen(1, *calls), UTC_DAYS.end_of(DAY_ONE + 1))

    assert forced is not None
    assert (forced.band, forced.fact and forced.fact.event_id) == (Band.GREEN, "o")
    assert overridden(seen(2, *calls), UTC_DAYS.end_of(DAY_ONE + 2)) is None
    assert overridden(seen(0, *calls), UTC_DAYS.end_of(DAY_ONE + 0)) is None


def test_working_days_are_those_from_the_first_to_the_last() -> None:
    view = seen(8, *using(range(4)))
    view.calendar = Calendar(frozenset({5, 6}), frozenset({DAY_ONE + 1}))

    assert [view.working_days(DAY_ONE, DAY_ONE + days) for days in (0, 1, 6, 7)] == [1, 1, 4, 5]


@pytest.mark.parametrize(("percent", "days"), [(1, 1), (20, 1), (21, 5), (100, 5)])
def test_the_usual_gap_of_who_rests_at_weekends_is_in_working_days(percent: int, days: int) -> None:
    state = apply(ENGINE, AccountState("acme"), using([0, 1, 8, 15, 22, 29]))

    found = read_of(state, "silence", 29, calendar=Calendar(frozenset({5, 6})), habit_percent=percent)

    assert isinstance(found, Reading)
    assert found.baseline == days * 100


@pytest.mark.parametrize(("day", "life"), [(2, Lifecycle.PAUSED), (3, Lifecycle.ACTIVE)])
def test_a_pause_ends_on_the_day_that_was_named(day: int, life: Lifecycle) -> None:
    assert lifecycle(seen(day, *using(range(4)), profile(1, lifecycle="paused", paused_until="2026-01-08"))) is life


def test_what_is_told_of_a_share_is_that_part_of_its_baseline() -> None:
    assert [of_baseline(Reading(0, 0, baseline), 5_000) for baseline in (800, None)] == [400, 0]


def test_the_last_call_is_the_latest_of_the_day_that_is_seen() -> None:
    call = seen(2, *using(range(4))).last_call()

    assert call is not None
    assert call[1] == "d2u0n1"


def test_a_score_of_nothing_is_remembered_as_a_score() -> None:
    memory = BandMemory()
    for score in (None, 0, 1):
        memory.note(score)

    assert memory.scores == (None, 0, 1)


def test_shares_that_do_not_divide_go_to_the_largest_remainders() -> None:
    assert share_out(100, [(1, 3)] * 3) == (34, 33, 33)
    assert share_out(10, [(1, 7), (5, 7), (1, 7)]) == (2, 7, 1)
    assert share_out(10, [(1, 3), (1, 6), (1, 2)]) == (3, 2, 5)
    assert share_out(10, [(1, 4), (5, 12), (1, 3)]) == (3, 4, 3)


def test_a_variant_is_for_whom_all_that_it_names_fits() -> None:
    whom = Whom(("pro",), (Lifecycle.ACTIVE,), 30)

    assert whom.fits("pro", Lifecycle.ACTIVE, 29)
    assert not whom.fits("pro", Lifecycle.ACTIVE, 30)
    assert not whom.fits("free", Lifecycle.ACTIVE, 29)
    assert not whom.fits("pro", Lifecycle.TRIAL, 29)
    assert Whom().fits("free", Lifecycle.TRIAL, 1_000)


def test_a_band_is_settled_after_the_longer_dwell() -> None:
    assert [replace(SCORECARD.bands, worse_closes=a, better_closes=b).settle_closes for a, b in ((2, 14), (3, 1))] == [14, 3]


@pytest.mark.parametrize(("reporting", "per_mille", "enough"), [(1, 0, True), (0, 0, False), (1, 1, False), (2, 1, True), (2, 2, False)])
def test_a_family_means_something_where_enough_accounts_report_it(reporting: int, per_mille: int, enough: bool) -> None:
    assert Norms(1_001, (0,), (0,), {"x": reporting}).reported_by_some("x", per_mille=per_mille) is enough


def test_a_gap_is_usual_when_enough_of_all_gaps_are_no_longer() -> None:
    assert usual_gap(0b11001, 100, 30, 2) == 3
    assert usual_gap(0b11001, 50, 30, 2) == 1
    assert usual_gap(0b11001, 100, 30, 3) is None
    assert usual_gap(0b11001, 100, 2, 2) == 2


def test_only_the_last_year_makes_a_habit() -> None:
    long_ago = sum(1 << day for day in (0, 50, 100, *range(150, 600)))

    assert usual_pause(long_ago, 4) == 1
    assert usual_gap(long_ago, 100, 60, 4) == 1
    state = AccountState("acme", DAY_ONE - 599, DAY_ONE, origin=DAY_ONE - 599, active=long_ago)
    found = read_of(state, "silence", 0, calendar=Calendar(frozenset({5, 6})), habit_percent=100, longest_habit_days=60)
    assert isinstance(found, Reading)
    assert found.baseline == 100


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (1, date(1970, 1, 1)),
        (0, None),
        (1e11, None),
        (1e11 + 1, date(1973, 3, 3)),  # in milliseconds
        (1e14, None),
        (10**400, None),
        (True, None),
        ("2026-01-05T09:00:00Z", date(2026, 1, 5)),
    ],
)
def test_dates_come_as_text_or_as_seconds_since_1970(value: object, found: date | None) -> None:
    assert as_date(value) == found


def test_nothing_is_seen_of_an_account_before_its_first_day() -> None:
    view = seen(-1, *using(range(4)))

    assert (view.active, view.first, view.last, view.age) == (0, None, None, 0)


@pytest.mark.parametrize(
    ("days", "first", "last", "usual"),
    [
        (range(84), 0, 55, 2_800),
        (range(83), 6, 54, 2_800),
        (range(0, 84, 2), 6, 54, 1_428),
        (range(41), 6, 12, None),
        (range(42), 0, 13, 2_800),
    ],
)
def test_the_past_that_use_is_compared_with_is_whole_weeks_before_the_last_four(
    days: range, first: int, last: int, usual: int | None
) -> None:
    view = seen(200, *using(days))

    assert view.base() == (DAY_ONE + first, DAY_ONE + last)
    assert view.usual_active_days() == usual


def test_a_fact_of_today_is_no_day_old_between_closes_either() -> None:
    view = seen(2, *using(range(4)), envelope("f", 3, event="Payment Failed"), live=True)

    found = MEASURES["days_since"].read(view, {"fact": "payment_failed"})

    assert isinstance(found, Reading)
    assert (found.measured, found.value) == (0, 0)


@pytest.mark.parametrize(("less", "days"), [("", 10), ("notice_days", 7)])
def test_a_date_is_as_far_as_it_is_or_nearer_by_another_fact(less: str, days: int) -> None:
    view = seen(3, *using(range(4)), profile(1, renewal_date="2026-01-18", notice_days=3))

    found = MEASURES["days_until"].read(view, {"fact": "renewal_on", "less": less})

    assert isinstance(found, Reading)
    assert (found.measured, found.value) == (days * 100, days * 100)
    rule = Flag("ends", None, (MeasureHolds(MEASURES["days_until"], {"fact": "renewal_on", "less": less}),))
    [told] = findings(view, (rule,), Band.GREEN, ())
    assert told.on == date(2026, 1, 8 + days)


def test_a_close_keeps_of_each_thing_only_what_the_next_one_can_see() -> None:
    state = apply(ENGINE, AccountState("acme"), [*using([0, 2]), fact("plan", 0, "a"), fact("plan", 2, "b")])

    close_days(ENGINE, state, 0, 2)

    assert list(state.lasts) == [DAY_ONE + 2]
    assert [version.value for version in state.facts["plan"]] == ["b"]


def test_a_block_of_users_goes_when_its_last_day_does() -> None:
    state = apply(ENGINE, AccountState("acme"), using([0, 200]))
    [first, _] = sorted(state.blocks)
    last_seen = (first + 1) * 28 - 1 + 119

    state.prune(last_seen - 1)
    assert len(state.blocks) == 2
    state.prune(last_seen)
    assert len(state.blocks) == 1


def test_the_habit_is_remembered_for_two_years_to_the_day() -> None:
    state = apply(ENGINE, AccountState("acme"), using([0, 3, 5]))

    state.prune(DAY_ONE + HABIT_DAYS - 1)
    assert (state.origin, state.active) == (DAY_ONE, 0b101001)
    state.prune(DAY_ONE + HABIT_DAYS)
    assert (state.origin, state.active) == (DAY_ONE + 3, 0b101)
    state.prune(DAY_ONE + HABIT_DAYS + 5)
    assert (state.active, View(state, DAY_ONE + HABIT_DAYS + 5, None, live=False).last) == (0, DAY_ONE + 5)


def test_the_last_call_is_known_of_the_four_newest_days() -> None:
    assert list(apply(ENGINE, AccountState("acme"), using(range(6))).lasts) == [DAY_ONE + day for day in range(2, 6)]


def test_a_late_call_counts_in_what_was_counted_before() -> None:
    state = apply(ENGINE, AccountState("acme"), using([0, 3, 5]))
    counts = []
    for late in ([], [envelope("late", 3, received_day=5)]):
        apply(ENGINE, state, late)
        counts.append(View(state, DAY_ONE + 5, None, live=False).count("use", DAY_ONE, DAY_ONE + 5))

    assert counts == [6, 7]


@pytest.mark.parametrize(("day", "several"), [(4, False), (5, True)])
def test_several_users_are_those_who_came_within_the_days(day: int, several: bool) -> None:
    view = seen(95, *using([9, 95]), envelope("other", day, user="other"))

    assert view.users(91) == 1 + several


def test_an_account_knows_when_it_was_last_heard_of_whatever_came_last() -> None:
    state = apply(ENGINE, AccountState("acme"), [envelope("late", 5), envelope("early", 2)])

    assert state.last_event == envelope("late", 5).occurred_at
    assert state.events_total == 2


@pytest.mark.parametrize(("told", "moved"), [(Band.RED, True), (Band.GREEN, False)])
def test_a_recomputed_account_keeps_what_people_were_told_and_corrects_it_silently(told: Band, moved: bool) -> None:
    made, live = (apply(ENGINE, AccountState("acme"), using(range(4))) for _ in range(2))
    made.memory.band, made.memory.sequence = Band.GREEN, 3
    live.memory.band, live.memory.sequence, live.memory.since = told, 7, DAY_ONE
    before, after = made.rows().account.rest, live.rows().account.rest

    rest, is_moved = retold(before, after, 14)

    memory = msgspec.json.decode(rest)["memory"]
    assert is_moved is moved
    assert (memory["band"], memory["sequence"], memory["since"]) == (told.value, 7, DAY_ONE)
    assert (memory.get("mark"), memory.get("mark_left", 0)) == ((Cause.CATCH_UP.value, 14) if moved else (None, 0))
