"""What people say, contracts, invoices and milestones: facts with a date, and what each measure reads of them."""

import msgspec
import pytest
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_scoring.health import measures
from churnsignal_scoring.health.measures.measure import Missing, Reading
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.health.view import View

from tests.unit.scoring.accounts import DAY_ONE, MONDAY, apply, envelope, using
from tests.unit.scoring.reading import ENGINE, profile, read, value

DAILY = using(range(60))


def answered(day: float, event: str, **properties: object) -> Envelope:
    return envelope(f"{event}{day}", day, event=event, user=None, properties=properties)


@pytest.mark.parametrize(("day", "found"), [(11, 900), (10 + 179, 900), (10 + 180, Missing.STALE), (9, Missing.NO_DATA)])
def test_an_answer_holds_for_its_days_and_is_stale_after(day: int, found: int | Missing) -> None:
    read_now = read("nps", [*DAILY, answered(10, "NPS Submitted", score=9)], day)

    assert (read_now.measured if isinstance(read_now, Reading) else read_now) == found


def test_the_last_answer_counts_and_names_the_call_that_said_it() -> None:
    found = read("csat", [answered(10, "CSAT Submitted", score=5), answered(20, "CSAT Submitted", score=2), *DAILY], 30)

    assert isinstance(found, Reading)
    assert (found.measured, found.event_id) == (200, "CSAT Submitted20")


@pytest.mark.parametrize("said", ["", "good", True, [1], "1e99", "1e15", "-1e15"])
def test_an_answer_that_is_no_number_says_nothing(said: object) -> None:
    assert read("nps", [*DAILY, answered(10, "NPS Submitted", score=said)], 30) is Missing.NO_DATA


def test_any_number_may_be_read_or_compared_with_another() -> None:
    calls = [*DAILY, profile(1, arr="12,000", seats=40)]

    assert value("number", calls, 30, fact="arr") == 1_200_000
    assert value("number", [*calls, profile(2, seats=30)], 30, fact="seats", of="arr") == 25
    assert read("number", calls, 30, fact="seats", of="unknown") is Missing.NO_DATA


@pytest.mark.parametrize(
    ("traits", "days"),
    [
        ({"renewal_date": "2026-04-15"}, 41),
        ({"renewal_date": "2026-04-15", "notice_days": 30}, 11),
        ({"renewal_date": 1_776_211_200_000}, 41),
        ({"renewal_date": "2026-03-05"}, 0),
        ({"renewal_date": "2026-03-04"}, None),
        ({"renewal_date": "soon"}, None),
        ({}, None),
    ],
)
def test_the_renewal_is_as_near_as_the_customer_has_to_decide(traits: dict[str, object], days: int | None) -> None:
    found = read("renewal", [*DAILY, profile(1, plan="pro", **traits)], 59)  # 5 March

    assert (found.measured if isinstance(found, Reading) else None) == (None if days is None else days * 100)


def test_an_invoice_is_unpaid_from_the_day_the_payment_failed_until_one_comes() -> None:
    failed, paid = answered(20, "Payment Failed"), answered(30, "Invoice Paid")

    assert [value("unpaid_days", [*DAILY, failed, paid], day) for day in (20, 25)] == [100, 600]
    assert read("unpaid_days", [*DAILY, failed, paid], 40) == Reading(0, 0, event_id="Invoice Paid30")
    assert read("unpaid_days", DAILY, 25) is Missing.NOT_APPLICABLE


def test_days_since_something_happened_count_from_the_beginning_when_it_never_did() -> None:
    assert value("days_since", [*DAILY, answered(30, "Payment Failed")], 50, fact="payment_failed") == 2_000
    assert value("days_since", DAILY, 49, fact="meeting") == 5_000
    assert value("days_since", [*DAILY, profile(1, created_at="2025-12-06")], 49, fact="meeting") == 8_000
    assert read("days_since", [profile(1, plan="pro")], 49, fact="meeting") is Missing.NO_DATA


MILESTONES = ("login", "payment_succeeded", "Exports Made", "export")


def test_milestones_are_reached_by_facts_and_by_signals() -> None:
    calls = [*using(range(5)), envelope("l", 1, event="Login"), answered(2, "Invoice Paid")]

    assert value("onboarding", calls, 5, milestones=MILESTONES) == 5_000
    assert value("onboarding", calls, 0, milestones=MILESTONES) == 0
    assert read("onboarding", calls, 5) is Missing.NOT_APPLICABLE


def test_time_to_value_runs_until_the_first_value_comes() -> None:
    calls = [*using(range(60)), envelope("l", 12, event="Login"), envelope("m", 40, event="Login")]

    assert value("time_to_value", calls, 9, milestone="login") == 1_000
    found = read("time_to_value", calls, 50, milestone="login")
    assert isinstance(found, Reading)
    assert (found.measured, found.value) == (1_200, 1_200)
    assert value("time_to_value", [*calls, profile(0, created_at="2025-12-26")], 50, milestone="login") == 2_200
    assert value("time_to_value", calls, 118, milestone="login") == 1_200
    assert read("time_to_value", calls, 119, milestone="login") is Missing.NOT_APPLICABLE


def test_the_fall_of_the_score_is_from_the_best_of_the_last_closes() -> None:
    state = apply(ENGINE, AccountState("acme"), DAILY)
    for score in (None, 9_000, 8_000, 7_000, 5_500):
        state.memory.note(score)
    view = View(state, DAY_ONE + 59, None, live=False)
    measure = measures.MEASURES["score_fall"]

    found = [measure.read(view, {"closes": closes}) for closes in (28, 2, 1)]

    assert found == [Reading(3_500, 5_500, 9_000), Reading(1_500, 5_500, 7_000), Missing.NO_DATA]


def test_facts_of_a_later_day_are_not_seen() -> None:
    assert MONDAY.isoformat().startswith("2026-01-05")
    assert read("nps", [*DAILY, answered(40, "NPS Submitted", score=9)], 39) is Missing.NO_DATA
    assert read("unpaid_days", [*DAILY, answered(40, "Payment Failed")], 39) is Missing.NOT_APPLICABLE


@pytest.mark.parametrize(("part", "whole"), [(1e14, 1e-300), (-1e14, 1e-300), (1e14, 0.01)])
def test_a_share_of_next_to_nothing_is_a_number_that_every_format_can_hold(part: float, whole: float) -> None:
    share = read("number", [profile(0, seats=part, arr=whole)], 1, fact="seats", of="arr")

    assert isinstance(share, Reading)
    msgspec.msgpack.encode(share)
