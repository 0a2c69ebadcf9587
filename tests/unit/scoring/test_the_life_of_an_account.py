"""The engine over days: bands at closes, facts between them, silent causes, holds, and reasons."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.risk import Band, Cause, RiskChanged
from churnsignal_scoring.health.assessment import Settled
from churnsignal_scoring.health.days import to_date
from churnsignal_scoring.health.kept import decode, unfold
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.scorecard import Flag, MeasureHolds, Scorecard
from churnsignal_scoring.health.state import AccountState

from tests.unit.scoring.accounts import DAY_ONE, MONDAY, SCORECARD, apply, close_days, command, engine, envelope, record, using

ENGINE = engine()
EVERY_DAY = range(60)


def healthy(until: int = 59) -> AccountState:
    """An account used daily by three people, with every day closed and its first marks settled."""
    state = apply(ENGINE, AccountState("acme"), using(range(until + 1), users=3))
    close_days(ENGINE, state, 0, until)
    state.clean()
    return state


def changes(closed: list[Settled]) -> list[RiskChanged]:
    return [change for change in published(closed) if change.from_band is not change.to_band]


def published(closed: list[Settled]) -> list[RiskChanged]:
    return [one.change for one in closed if one.change is not None]


def settle(state: AccountState, day: float, *, history: bool = False, last_closed: int | None = 59) -> Settled:
    at = None if last_closed is None else DAY_ONE + last_closed
    return ENGINE.settle(state, MONDAY + timedelta(days=day), None if at is None else record(ENGINE, at, [state]), at, history)


def test_an_account_that_falls_silent_turns_yellow_then_red_with_no_call_to_trigger_it() -> None:
    state = healthy()

    moved = changes(close_days(ENGINE, state, 60, 100))

    assert [(change.to_band, change.cause) for change in moved] == [(Band.YELLOW, Cause.CLOSE), (Band.RED, Cause.CLOSE)]
    assert moved[1].drivers[0].code in {"silence", "active_days"}
    assert moved[1].last_seen == to_date(DAY_ONE + 59)


def test_sequences_have_no_gaps_and_each_change_starts_where_the_last_ended() -> None:
    state = apply(ENGINE, AccountState("acme"), [*using(range(40)), *using(range(90, 130)), *using(range(170, 175))])

    moved = published(close_days(ENGINE, state, 0, 200))

    assert [change.sequence for change in moved] == list(range(1, len(moved) + 1))
    assert [change.from_band for change in moved] == [None, *[change.to_band for change in moved[:-1]]]
    assert len(moved) > 4


def test_a_red_account_that_falls_on_is_news_every_five_points() -> None:
    state = healthy()

    told = [change for change in published(close_days(ENGINE, state, 60, 200)) if change.to_band is Band.RED]

    scores = [change.score_after for change in told]
    assert len(told) > 2
    assert [change.from_band for change in told[1:]] == [Band.RED] * (len(told) - 1)
    assert all(before - after >= 500 for before, after in itertools.pairwise(scores) if before is not None and after is not None)


FULL = Flag("in_use", None, (MeasureHolds(MEASURES["active_days"], MEASURES["active_days"].options, at_least=1_000),))


def test_what_the_scorecard_points_out_is_published_when_it_begins_and_when_it_ends() -> None:
    machine = engine(replace(SCORECARD, findings=(FULL,)))
    state = apply(machine, AccountState("acme"), using(range(60), users=3))

    told = published(close_days(machine, state, 0, 100))

    found = [change.findings for change in told]
    begun = next(place for place, findings in enumerate(found) if findings)
    ended = next(place for place in range(begun, len(found)) if not found[place])
    assert {(one.code, one.since) for findings in found[begun:ended] for one in findings} == {("in_use", found[begun][0].since)}
    assert not any(found[ended:])
    assert [change.sequence for change in told] == list(range(1, len(told) + 1))
    assert [change.from_band for change in told] == [None, *[change.to_band for change in told[:-1]]]


def test_one_login_is_no_recovery_and_three_days_of_use_are() -> None:
    state = healthy()
    close_days(ENGINE, state, 60, 95)
    assert state.memory.band is Band.RED

    apply(ENGINE, state, using([96], users=3))
    close_days(ENGINE, state, 96, 105)
    assert state.memory.band is Band.RED

    apply(ENGINE, state, using(range(106, 125), users=3))
    close_days(ENGINE, state, 106, 124)
    assert state.memory.band is not Band.RED


def test_a_new_account_is_grey_until_there_is_enough_to_say() -> None:
    state = apply(ENGINE, AccountState("acme"), using(range(30)))

    closed = close_days(ENGINE, state, 0, 12)

    least = SCORECARD.least_age_days
    assert [one.assessment.score is None for one in closed] == [True] * (least - 1) + [False] * (13 - least + 1)
    assert {one.assessment.band for one in closed[: least - 1]} == {Band.GREY}


def test_the_first_evaluation_is_silent_and_keeps_its_mark_for_one_dwell() -> None:
    state = apply(ENGINE, AccountState("acme"), using(range(100)))

    first = close_days(ENGINE, state, 50, 50)[0].change
    assert first is not None
    assert first.cause is Cause.FIRST
    assert state.memory.mark is Cause.FIRST

    close_days(ENGINE, state, 51, 50 + SCORECARD.bands.settle_closes)
    assert state.memory.mark is None


def test_imported_history_changes_no_band_and_marks_what_comes_of_it() -> None:
    state = apply(ENGINE, AccountState("acme"), [*using(range(30)), envelope("p", 30, event="Payment Failed", received_day=60)])

    settled = settle(state, 60, history=True)
    live = settle(apply(ENGINE, state, [envelope("x", 60)]), 60.2)
    closed = close_days(ENGINE, state, 60, 60)[0]

    assert (settled.change, live.change) == (None, None)
    assert closed.change is not None
    assert closed.change.cause is Cause.HISTORY


def test_a_failed_payment_is_red_at_once_and_a_paid_invoice_ends_it_at_the_close() -> None:
    state = healthy()

    failed = settle(apply(ENGINE, state, [envelope("p1", 60.1, event="Invoice Payment Failed", user=None)]), 60.1).change
    again = settle(apply(ENGINE, state, [envelope("v", 60.2)]), 60.2).change
    paid = settle(apply(ENGINE, state, [envelope("p2", 60.3, event="Invoice Payment Succeeded", user=None)]), 60.3).change
    closed = close_days(ENGINE, state, 60, 60)[0].change

    assert failed is not None
    assert (failed.to_band, failed.cause, failed.knockout, failed.as_of) == (
        Band.RED,
        Cause.EVENT,
        "payment_failed",
        MONDAY + timedelta(days=60.1),
    )
    assert (again, paid) == (None, None)
    assert closed is not None
    assert (closed.to_band, closed.cause, closed.knockout) == (Band.GREEN, Cause.CLOSE, None)


def test_a_knock_out_holds_its_days_and_then_the_score_decides_again() -> None:
    state = healthy()
    apply(ENGINE, state, [envelope("p1", 60, event="Payment Failed", user=None), *using(range(60, 120), users=3)])

    closed = close_days(ENGINE, state, 60, 100)

    assert [one.assessment.band for one in closed].count(Band.RED) == 30
    assert closed[-1].assessment.band is Band.GREEN


@pytest.mark.parametrize("last_closed", [None, 59])
def test_a_knock_out_reaches_an_account_of_any_age(last_closed: int | None) -> None:
    state = apply(ENGINE, AccountState("new"), [envelope("p1", 60.1, event="Payment Failed")])

    change = settle(state, 60.1, last_closed=last_closed).change

    assert change is not None
    assert (change.to_band, change.cause, change.score_after) == (Band.RED, Cause.EVENT, None)


def test_a_fact_that_comes_just_after_the_close_of_its_day_is_news_all_the_same() -> None:
    change = settle(apply(ENGINE, healthy(), [envelope("p1", 59.4, event="Payment Failed", received_day=60.1)]), 60.1).change

    assert change is not None
    assert change.to_band is Band.RED


def test_a_fact_from_before_the_last_close_waits_for_the_next() -> None:
    state = healthy()

    assert settle(apply(ENGINE, state, [envelope("p1", 55, event="Payment Failed", received_day=60)]), 60).change is None
    closed = close_days(ENGINE, state, 60, 60)[0].change
    assert closed is not None
    assert closed.to_band is Band.RED


def override(day: float, band: str, until: int) -> list[Envelope]:
    expires = (MONDAY + timedelta(days=until)).isoformat()
    return [command(f"o{day}", day, type="override.set", band=band, reason="new champion", author="eve", expires_at=expires)]


def test_an_override_puts_its_band_beside_the_computed_score_until_it_expires() -> None:
    state = healthy()
    close_days(ENGINE, state, 60, 95)
    apply(ENGINE, state, override(96, "green", 105))

    closed = close_days(ENGINE, state, 96, 110)

    bands = [one.assessment.band for one in closed]
    assert bands == [Band.GREEN] * 9 + [Band.RED] * 6
    assert closed[0].assessment.knockout == "override"
    assert closed[0].assessment.score is not None
    assert closed[0].assessment.score < 5_500


@pytest.mark.parametrize(("expires", "lasts"), [("9999-12-31T23:59:59-05:00", True), ("0001-01-01T00:00:00+05:00", False)])
def test_an_override_at_the_end_of_all_time_closes_as_any_other(expires: str, lasts: bool) -> None:
    state = healthy()
    close_days(ENGINE, state, 60, 95)
    hand = {"band": "green", "reason": "for ever", "author": "eve", "expires_at": expires}
    apply(ENGINE, state, [command("o", 96, type="override.set", **hand)])

    [closed] = close_days(ENGINE, state, 96, 96)

    assert (closed.assessment.band is Band.GREEN) is lasts
    assert closed.closed is not None
    assert closed.closed.reasons is not None
    assert decode(closed.closed.reasons()).override is not None or not lasts


@pytest.mark.parametrize("band", [Band.RED, Band.YELLOW, Band.GREEN, Band.GREY])
@pytest.mark.parametrize("silent", [0, 36])
def test_an_override_acts_at_once_either_way_and_so_does_its_end(band: Band, silent: int) -> None:
    state = healthy()
    day = 59 + silent
    close_days(ENGINE, state, 60, day)
    before = state.memory.band

    given = settle(apply(ENGINE, state, override(day + 1.1, band, 200)), day + 1.1, last_closed=day).change
    again = settle(apply(ENGINE, state, [envelope("v", day + 1.2)]), day + 1.2, last_closed=day).change
    ended = settle(
        apply(ENGINE, state, [command("c", day + 1.3, type="override.cleared", author="eve")]), day + 1.3, last_closed=day
    ).change

    assert before is (Band.RED if silent else Band.GREEN)
    assert again is None
    if band is before:
        assert (given, ended) == (None, None)
        return
    assert given is not None
    assert ended is not None
    assert (given.to_band, given.cause, given.knockout) == (band, Cause.EVENT, "override")
    assert given.override is not None
    assert (given.override.author, given.override.reason, given.override.computed) == ("eve", "new champion", before)
    assert (ended.to_band, ended.cause, ended.override) == (before, Cause.EVENT, None)


def test_what_ends_a_knock_out_waits_for_the_close_though_an_override_came_before_it() -> None:
    state = healthy()
    apply(ENGINE, state, [envelope("p1", 60.1, event="Payment Failed", user=None)])
    settle(state, 60.1)
    settle(apply(ENGINE, state, override(60.2, "green", 90)), 60.2)
    ended = settle(apply(ENGINE, state, [command("c", 60.3, type="override.cleared", author="eve")]), 60.3).change
    paid = settle(apply(ENGINE, state, [envelope("p2", 60.4, event="Invoice Payment Succeeded", user=None)]), 60.4).change

    assert ended is not None
    assert (ended.to_band, ended.knockout) == (Band.RED, "payment_failed")
    assert paid is None


def test_what_is_told_after_a_day_has_ended_is_not_taken_back_by_the_close_of_that_day() -> None:
    state = healthy()
    apply(ENGINE, state, [envelope("p1", 61.1, event="Payment Failed", user=None)])

    told = settle(state, 61.1).change
    closed, after = close_days(ENGINE, state, 60, 61)

    assert told is not None
    assert (told.to_band, closed.change) == (Band.RED, None)
    assert after.change is None or after.change.from_band is after.change.to_band
    assert closed.closed is not None
    assert after.closed is not None
    assert (closed.closed.band, closed.closed.sequence, after.closed.band) == (Band.GREEN, told.sequence, Band.RED)


def test_a_close_keeps_what_explains_it_as_its_change_was_explained() -> None:
    state = healthy()
    apply(ENGINE, state, override(96, "green", 105))

    moved = []
    for day in range(60, 111):
        [one] = close_days(ENGINE, state, day, day)
        assert one.closed is not None
        assert one.closed.reasons is not None
        if one.change is not None and one.change.from_band is not one.change.to_band:
            moved.append((one.change, one.closed.reasons(), one.assessment))

    assert [change.to_band for change, _, _ in moved] == [Band.YELLOW, Band.RED, Band.GREEN, Band.RED]
    for change, reasons, verdict in moved:
        assert len(reasons) < 500
        why = unfold(decode(reasons), SCORECARD, verdict)
        assert sum(driver.contribution for driver in why.drivers) == verdict.score
        # How far a measure moved is counted from the band's beginning, and that is now.
        assert [msgspec.structs.replace(driver, moved=None) for driver in why.drivers] == [
            msgspec.structs.replace(driver, moved=None) for driver in change.drivers
        ]
        assert (why.override, why.assessment.knockout) == (change.override, change.knockout)
        assert why.computed is (Band.RED if change.override else change.to_band)


@pytest.mark.parametrize(
    "call",
    [
        command("x", 60, type="outcome.recorded", outcome="churned", author="eve"),
        envelope("x", 60, kind="group", traits={"lifecycle": "churned"}, user=None),
        envelope("x", 60, kind="group", traits={"lifecycle": "Ignored"}, user=None),
        envelope("x", 60, kind="group", traits={"lifecycle": "paused"}, user=None),
    ],
)
def test_an_account_that_is_out_of_the_game_holds_still(call: Envelope) -> None:
    state = apply(ENGINE, healthy(), [call])
    before = (state.memory.band, state.memory.score)

    closed = close_days(ENGINE, state, 60, 130)

    assert changes(closed) == []
    assert (state.memory.band, state.memory.score) == before
    assert ENGINE.partial([state], DAY_ONE + 61).norms == {}


def test_a_pause_ends_on_its_day_and_a_win_back_counts_from_its_record() -> None:
    paused = apply(
        ENGINE, healthy(), [envelope("x", 60, kind="group", traits={"lifecycle": "paused", "paused_until": "2026-05-01"}, user=None)]
    )
    won = apply(ENGINE, healthy(), [command("x", 60, type="outcome.recorded", outcome="churned", author="eve")])
    apply(ENGINE, won, [command("y", 80, type="outcome.recorded", outcome="renewed", author="eve")])

    held = {to_date(one.assessment.as_of).isoformat(): one.assessment.held for one in close_days(ENGINE, paused, 60, 125)}
    closed = close_days(ENGINE, won, 60, 90)

    assert (held["2026-04-30"], held["2026-05-01"]) == ("paused", None)
    assert [one.assessment.held for one in closed] == ["churned"] * 20 + [None] * 11


def test_late_closes_are_silent_and_stay_so_until_the_band_has_settled() -> None:
    state = healthy()

    moved = []
    for number in range(60, 100):
        closed = ENGINE.close(state, DAY_ONE + number, record(ENGINE, DAY_ONE + number), Cause.CATCH_UP if number < 75 else Cause.CLOSE)
        moved += changes([closed])

    assert [change.cause for change in moved] == [Cause.CATCH_UP] * len(moved)
    assert len(moved) == 2


def test_a_close_before_an_account_existed_leaves_no_trace_in_its_band() -> None:
    state = apply(ENGINE, AccountState("acme"), using([5]))

    closed = ENGINE.close(state, DAY_ONE + 3, record(ENGINE, DAY_ONE + 3), Cause.CLOSE)

    assert closed.change is None
    assert state.memory.scores == ()
    assert state.memory.closed_day == DAY_ONE + 3


def test_reasons_name_value_baseline_window_and_evidence_and_total_the_score() -> None:
    state = healthy()
    change = changes(close_days(ENGINE, state, 60, 100))[-1]
    silence = next(driver for driver in change.drivers if driver.measure == "silence")

    assert sum(driver.contribution for driver in change.drivers) == change.score_after
    assert all(0 <= driver.contribution <= driver.possible for driver in change.drivers)
    assert abs(sum(driver.possible for driver in change.drivers) - 10_000) <= len(change.drivers)
    assert (silence.baseline, silence.unit) == (1.0, "days")
    assert change.last_seen is not None
    assert silence.value == (change.as_of.date() - change.last_seen).days - 1
    assert silence.evidence.event_ids == ("d59u2n1",)
    assert silence.moved is not None
    assert silence.moved < 0
    assert change.score_before is not None
    assert change.score_before > change.score_after
    assert change.previous_band_since is not None


def test_the_counterfactual_would_really_bring_the_better_band() -> None:
    state = healthy()
    close_days(ENGINE, state, 60, 72)
    assert state.memory.own is Band.YELLOW

    told = ENGINE.explain(state, record(ENGINE, DAY_ONE + 72), DAY_ONE + 72).counterfactual
    assert told is not None
    assert (told.measure, told.band) == ("silence", Band.GREEN)

    # Had it been used that many days ago only:
    other = apply(ENGINE, AccountState("acme"), using([*range(60), 72 - int(told.value)], users=3))
    score = ENGINE.explain(other, record(ENGINE, DAY_ONE + 72), DAY_ONE + 72).assessment.score
    assert score is not None
    assert score >= SCORECARD.bands.green_enter


def test_where_a_fact_forces_the_band_no_measure_is_told_to_help() -> None:
    state = healthy()
    close_days(ENGINE, state, 60, 72)
    assert ENGINE.explain(state, record(ENGINE, DAY_ONE + 72), DAY_ONE + 72).counterfactual is not None

    change = settle(apply(ENGINE, state, [envelope("p1", 73.1, event="Payment Failed", user=None)]), 73.1).change

    assert change is not None
    assert (change.knockout, change.counterfactual) == ("payment_failed", None)


def test_a_profile_is_published_when_a_fact_of_it_changed() -> None:
    state = healthy()

    nothing = settle(apply(ENGINE, state, [envelope("v", 60)]), 60).profile
    traits = {
        "name": "Acme 株式会社",
        "arr": "1,200,000",
        "seats": "12",
        "renewal_date": "2026-09-30T00:00:00Z",
        "csm": "eve@x.example",
        "plan": "Pro",
    }
    told = settle(apply(ENGINE, state, [envelope("g", 60.5, kind="group", traits=traits)]), 60.5).profile

    assert nothing is None
    assert told is not None
    assert (told.name, told.arr, told.seats, told.owner) == ("Acme 株式会社", 1_200_000.0, 12, "eve@x.example")
    assert (told.renewal_on.isoformat(), told.segment, told.plan) == ("2026-09-30", "pro", "Pro")  # type: ignore[union-attr] # it is there
    assert told.updated_at == datetime(2026, 3, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    "traits", [{"arr": "a lot", "seats": True, "renewal_date": "soon"}, {"arr": -5, "seats": None, "renewal_date": -1}, {"arr": 1e400}]
)
def test_what_cannot_be_read_is_left_out_and_never_guessed(traits: dict[str, object]) -> None:
    state = healthy()

    sent = envelope("g", 60, kind="group", traits={name: value for name, value in traits.items() if value != float("inf")})
    told = settle(apply(ENGINE, state, [sent]), 60).profile

    assert told is None or (told.arr, told.seats, told.renewal_on) == (None, None, None)


def test_a_scorecard_without_the_pause_condition_lets_the_score_alone_decide() -> None:
    plain = replace(SCORECARD, bands=replace(SCORECARD.bands, pause_percent=0))

    assert red_day(plain) < red_day(SCORECARD)


def red_day(scorecard: Scorecard) -> int:
    machine = engine(scorecard)
    state = apply(machine, AccountState("acme"), using(range(0, 196, 14)))
    closed = close_days(machine, state, 0, 300)
    return next((one.assessment.as_of for one in closed if one.assessment.band is Band.RED), 10**6)
