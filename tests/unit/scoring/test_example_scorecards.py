"""The scorecards that others publish can be written in ours: each row of their tables, with the number it must come to."""

from dataclasses import replace
from importlib.resources import as_file, files
from itertools import pairwise
from typing import Any

import pytest
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.risk import Band
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.assessment import Explanation, Settled
from churnsignal_scoring.health.days import open_zone
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.policy import load_mapping, load_scorecard

from tests.support.rows import loaded_from
from tests.unit.scoring.accounts import DAY_ONE, MAPPER, apply, close_days, engine, envelope, record, using

EXAMPLES = files("churnsignal_scoring.health.config") / "examples"


def example(name: str, *, mapped: bool = True) -> AccountEngine:
    with as_file(EXAMPLES) as folder:
        mapper = Mapper(load_mapping(folder / f"{name}.mapping.yaml")) if mapped else MAPPER
        return AccountEngine(mapper, load_scorecard(folder / f"{name}.scorecard.yaml"), open_zone("UTC"))


POSTHOG, SIGNALS, SAAS = example("posthog"), example("signals"), example("saas", mapped=False)
DEFAULT = engine()
GITLAB = example("gitlab", mapped=False)
GITLAB.mapper = Mapper(replace(load_mapping(None), profile={"billable_users": (), "seats": (), "created_on": ()}))


def said(day: float, event: str, user: str | None = None, **properties: Any) -> Envelope:
    return envelope(f"{event}{day}{user}{sorted(properties.items())}", day, event=event, user=user, properties=properties)


def known(day: float, **traits: object) -> Envelope:
    return envelope(f"known{day}{sorted(traits)}", day, kind="group", traits=traits, user=None)


def explained(machine: AccountEngine, calls: list[Envelope], day: int) -> Explanation:
    state = apply(machine, AccountState("acme"), calls)
    return machine.explain(state, record(machine, DAY_ONE + day, [state]), DAY_ONE + day)


def percent(machine: AccountEngine, measure: str, calls: list[Envelope], day: int) -> float:
    """How much of what the measure could give it gives, as the handbooks' words: 0 poor, 50 concerning, 100 healthy."""
    driver = next(driver for driver in explained(machine, calls, day).drivers if driver.measure == measure)
    return round(driver.contribution / driver.possible * 100)


def many(event: str, count: int, day: float, **properties: Any) -> list[Envelope]:
    return [said(day + number / 1000, event, **properties) for number in range(count)]


USED = using(range(65), users=10)


@pytest.mark.parametrize(
    ("measure", "calls", "day", "points"),
    [
        ("recency", USED, 65, 100),
        ("recency", USED, 66, 50),
        ("recency", USED, 69, 50),
        ("recency", USED, 70, 0),
        ("active_user_percentage", [*USED, known(1, users_total=51)], 64, 0),
        ("active_user_percentage", [*USED, known(1, users_total=50)], 64, 50),
        ("active_user_percentage", [*USED, known(1, users_total=25)], 64, 100),
        ("users_change", [*USED, *using(range(5, 34), users=13)], 64, 0),
        ("users_change", [*USED, *using(range(5, 34), users=12)], 64, 50),
        ("users_change", USED, 64, 100),
        ("active_users", using(range(65), users=2), 64, 0),
        ("active_users", using(range(65), users=3), 64, 50),
        ("active_users", USED, 64, 100),
        ("tickets_created", [*USED, *many("Ticket Opened", 5, 60)], 64, 100),
        ("tickets_created", [*USED, *many("Ticket Opened", 10, 60)], 64, 50),
        ("tickets_created", [*USED, *many("Ticket Opened", 11, 60)], 64, 0),
        (
            "urgent_tickets",
            [*USED, *many("Ticket Opened", 1, 60, priority="urgent"), said(62, "Ticket Closed", priority="urgent")],
            64,
            100,
        ),
        ("urgent_tickets", [*USED, *many("Ticket Opened", 2, 60, priority="urgent")], 64, 50),
        ("urgent_tickets", [*USED, *many("Ticket Opened", 3, 60, priority="urgent")], 64, 0),
        ("docs_visited", [*USED, *many("Docs Visited", 20, 60)], 64, 100),
        ("docs_visited", [*USED, *many("Docs Visited", 100, 60)], 64, 50),
        ("docs_visited", [*USED, *many("Docs Visited", 101, 60)], 64, 0),
        ("query_failure_rate", [*USED, *many("Query Run", 95, 63, status="ok"), *many("Query Run", 5, 62, status="failed")], 64, 100),
        ("query_failure_rate", [*USED, *many("Query Run", 87, 63, status="ok"), *many("Query Run", 13, 62, status="failed")], 64, 50),
        ("query_failure_rate", [*USED, *many("Query Run", 86, 63, status="ok"), *many("Query Run", 14, 62, status="failed")], 64, 0),
        ("last_meeting", [*USED, said(34, "Meeting Held")], 64, 100),
        ("last_meeting", [*USED, said(33, "Meeting Held")], 64, 50),
        ("last_meeting", [*USED, said(-27, "Meeting Held")], 64, 0),
        ("last_ticket", [*USED, said(33, "Ticket Opened")], 64, 50),
        ("products", [*USED, *many("Insight Analyzed", 1, 60), *many("Replay Watched", 1, 60)], 64, 0),
        ("products", [*USED, *[said(60, name) for name in ("Insight Analyzed", "Replay Watched", "Survey Viewed")]], 64, 50),
        ("event_count", [*USED, said(30, "Events Captured", count=1000), said(60, "Events Captured", count=799)], 64, 0),
        ("event_count", [*USED, said(30, "Events Captured", count=1000), said(60, "Events Captured", count=800)], 64, 50),
        ("event_count", [*USED, said(30, "Events Captured", count=1000), said(60, "Events Captured", count=950)], 64, 100),
        ("users_of_insights", [*USED, said(60, "Insight Analyzed", "u0")], 64, 0),
        ("users_of_insights", [*USED, *[said(60, "Insight Analyzed", f"u{user}") for user in range(2)]], 64, 50),
        ("users_of_insights", [*USED, *[said(60, "Insight Analyzed", f"u{user}") for user in range(4)]], 64, 100),
        ("users_of_flags", [*USED, said(40, "Feature Flag Created", "u0")], 64, 50),
        ("users_of_experiments", [*USED, *[said(60, "Experiment Viewed", f"u{user}") for user in range(2)]], 64, 100),
    ],
)
def test_every_row_of_posthog_s_handbook_comes_to_poor_concerning_or_healthy(
    measure: str, calls: list[Envelope], day: int, points: int
) -> None:
    assert percent(POSTHOG, measure, calls, day) == pytest.approx(points, abs=1)


def test_posthog_s_weights_are_seventy_five_and_twenty_five() -> None:
    weights = {row.group: row.weight for row in POSTHOG.scorecard.measures}

    assert list(weights.values()) == [15, 5, 5, 33, 20, 17, 5]
    assert sum(list(weights.values())[:3]) == 25


@pytest.mark.parametrize(
    ("calls", "code"),
    [
        (many("Billing Page Visited", 2, 63), "billing_page_visits"),
        ([known(60, mrr_forecast_change=-11)], "forecast_decrease"),
        ([*many("Query Run", 8, 63, status="ok"), *many("Query Run", 1, 62, status="failed")], "query_failures"),
        ([said(55, "Events Captured", count=100), said(60, "Events Captured", count=79)], "event_volume_drop"),
        ([said(50, "Payment Failed")], "payment_failed"),
        ([known(60, plan="Startup", mrr_forecast=10)], "startup_credit_ends"),
        ([said(55, "Owner Removed")], "owner_deleted"),
    ],
)
def test_posthog_s_risk_indicators_are_knock_outs(calls: list[Envelope], code: str) -> None:
    calm = [*USED, *[said(day, "Insight Analyzed", "u1") for day in (50, 60)]]
    state, calm_state = (apply(POSTHOG, AccountState("acme"), each) for each in ([*calm, *calls], calm))

    [moved], [unmoved] = close_days(POSTHOG, state, 64, 64), close_days(POSTHOG, calm_state, 64, 64)

    assert (moved.assessment.band, moved.assessment.knockout) == (Band.RED, code)
    assert unmoved.assessment.knockout is None


def test_posthog_s_silence_of_insights_is_one_too_and_its_opportunities_are_told() -> None:
    calls = [*USED, said(56, "Insight Analyzed", "u1"), known(60, mrr_forecast_change=12), said(60, "Owner Added")]
    state = apply(POSTHOG, AccountState("acme"), calls)

    assert close_days(POSTHOG, state, 64, 64)[0].assessment.knockout == "no_insights"
    assert [one.code for one in explained(POSTHOG, calls, 64).findings] == ["forecast_growth", "owner_added"]


@pytest.mark.parametrize(
    ("share", "two_months", "six_months", "nine_months"),
    [(9, 0, 0, 0), (10, 50, 0, 0), (50, 50, 0, 0), (51, 100, 50, 0), (75, 100, 50, 0), (76, 100, 100, 100)],
)
def test_gitlab_s_licence_use_asks_for_more_with_age(share: int, two_months: int, six_months: int, nine_months: int) -> None:
    for points, created in ((two_months, "2025-12-01"), (six_months, "2025-08-01"), (nine_months, "2025-05-01")):
        calls = [*using(range(65)), known(1, billable_users=share, seats=100, created_on=created)]

        assert percent(GITLAB, "license_utilization", calls, 64) == points, created


@pytest.mark.parametrize(("users", "points"), [(4, 0), (5, 50), (7, 50), (8, 100)])
def test_gitlab_s_user_engagement_is_active_of_billable_users(users: int, points: int) -> None:
    assert percent(GITLAB, "user_engagement", [*using(range(65), users=users), known(1, billable_users=10, seats=12)], 64) == points


def test_gitlab_s_young_accounts_have_no_score() -> None:
    calls = [*using(range(65), users=8), known(1, billable_users=10, seats=12)]

    assert explained(GITLAB, calls, 59).assessment.score is None
    assert explained(GITLAB, calls, 60).assessment.score is not None


DAILY = using(range(65))
ONBOARDED = [said(1, name) for name in ("Data Connected", "Report Built", "Invite Sent")]


@pytest.mark.parametrize(
    ("calls", "day", "code"),
    [
        ([*DAILY, known(1, seats=1)], 64, "seat_limit"),
        ([*DAILY, said(60, "MRR Decreased")], 64, "arr_decrease"),
        ([*DAILY, said(60, "Signed Up", title="Director of Operations")], 64, "director_signed_up"),
        ([*DAILY, said(60, "Signed Up", role="decision_maker"), known(1, plan="Free")], 64, "decision_maker_on_free_plan"),
        ([*DAILY, said(60, "Cancellation Scheduled", cancels_on="2026-04-30")], 64, "cancels_on_a_date"),
        ([*DAILY, *using(range(65, 66))], 80, "score_fell"),
        ([*DAILY, said(60, "NPS Submitted", score=10)], 64, "high_nps"),
        ([*DAILY, said(60, "NPS Submitted", score=6)], 64, "low_nps"),
        (DAILY, 85, "inactivity"),
        ([*DAILY, said(45, "Signed Up"), said(46, "Data Connected"), said(47, "Report Built")], 64, "onboarding_incomplete"),
        ([*DAILY, *many("Invite Sent", 3, 60)], 64, "invites_sent"),
        ([*DAILY, known(1, quota=100, quota_used=80)], 64, "near_paywall"),
        ([*DAILY, known(1, quota=100, quota_used=101)], 64, "overage"),
        ([*DAILY, said(60, "Department Added", department="Finance")], 64, "new_department"),
        ([*DAILY, known(1, lifecycle="trial", trial_ends_on="2026-03-15")], 64, "trial_ending"),
        ([*DAILY, known(1, renewal_on="2026-06-01")], 64, "upcoming_renewal"),
        ([*DAILY, said(60, "Upgrade Page Visited")], 64, "upgrade_page"),
        ([*using(range(37), each=5), *using(range(37, 65))], 64, "usage_drop"),
        ([*using(range(37)), *using(range(37, 65), each=3)], 64, "usage_spike"),
        (
            [*using(range(44), each=9), *using(range(44, 51), each=6), *using(range(51, 58), each=5), *using(range(58, 65), each=4)],
            64,
            "usage_falls",
        ),
    ],
)
def test_each_of_the_twenty_signals_is_found_by_configuration_alone(calls: list[Envelope], day: int, code: str) -> None:
    begun = [] if code == "onboarding_incomplete" else ONBOARDED
    found, calm = (apply(SIGNALS, AccountState("acme"), each) for each in ([*calls, *begun], [*DAILY, *ONBOARDED]))

    told, without = (_signs(SIGNALS, state, at) for state, at in ((found, day), (calm, 64)))

    assert code in told
    assert code not in without


def _signs(machine: AccountEngine, state: AccountState, day: int) -> set[str]:
    close_days(machine, state, 40, day)
    look = machine._look(state, machine.of_day(record(machine, DAY_ONE + day, [state]), DAY_ONE + day), live=False)
    told = machine.explain(state, record(machine, DAY_ONE + day, [state]), DAY_ONE + day).findings
    return {one.code for one in look.knockouts} | {one.code for one in told}


def test_a_renewal_checkpoint_turns_a_yellow_account_red_and_leaves_a_green_one() -> None:
    healthy = apply(SIGNALS, AccountState("acme"), [*using(range(101)), *ONBOARDED, known(1, renewal_on="2026-07-15")])
    waning = apply(
        SIGNALS, AccountState("acme"), [*using(range(60)), *using(range(60, 101, 12)), *ONBOARDED, known(1, renewal_on="2026-07-15")]
    )

    bands = [{one.assessment.band for one in close_days(SIGNALS, state, 70, 100)[-1:]} for state in (healthy, waning)]

    assert bands == [{Band.GREEN}, {Band.YELLOW}]
    closed = close_days(SIGNALS, apply(SIGNALS, waning, using([108])), 101, 112)
    first = next(one for one in closed if one.assessment.band is Band.RED)
    assert (first.assessment.knockout, first.assessment.as_of) == ("renewal", DAY_ONE + 101)  # 16 April: ninety days to go
    assert first.change is not None


def test_a_trial_is_judged_by_its_first_steps_and_a_customer_by_its_habits() -> None:
    steps = [*using(range(10)), said(1, "Login"), said(2, "Report Built")]

    trial, customer = (explained(SAAS, [*steps, known(0, lifecycle=life)], 9) for life in ("trial", "active"))

    assert (trial.variant, customer.variant) == ("trial and onboarding", "default")
    assert {driver.measure for driver in trial.drivers} == {"onboarding", "time_to_value", "active_days"}
    assert "silence" in {driver.measure for driver in customer.drivers}
    assert customer.missing["nps"] == "not enough evidence yet"


LOVED = [
    *[call for day in range(0, 90, 2) for call in using([day], users=4, each=1 + (89 - day) // 12)],
    *[said(day, "Ticket Opened", "u1", priority="urgent") for day in (60, 82, 85)],
    *[said(day, "Events Captured", "u1", count=1000 - day) for day in range(30, 90, 3)],
    said(86, "Query Run", "u1", status="failed"),
    known(1, champion="u1", seats=5, billable_users=4, users_total=9),
]


@pytest.mark.parametrize("machine", [DEFAULT, SAAS, GITLAB, POSTHOG, SIGNALS], ids=["default", "saas", "gitlab", "posthog", "signals"])
def test_no_day_more_of_silence_raises_a_score_and_none_depends_on_what_is_in_memory(machine: AccountEngine) -> None:
    kept = apply(machine, AccountState("acme"), LOVED)
    close_days(machine, kept, 80, 89)
    scores = []

    for day in range(90, 340):
        kept.mark_all()
        loaded = loaded_from(kept.rows())
        by_memory, by_rows = (close_days(machine, state, day, day)[0] for state in (kept, loaded))
        assert (by_memory.assessment, reasons(by_memory)) == (by_rows.assessment, reasons(by_rows)), day
        scores.append(kept.memory.score or 0)

    assert [(day, before, after) for day, (before, after) in enumerate(pairwise(scores), 91) if after > before] == []
    assert scores[0] > scores[-1]


def reasons(one: Settled) -> bytes:
    assert one.closed is not None
    assert one.closed.reasons is not None
    return one.closed.reasons()


def test_days_off_in_japan_are_no_silence_there() -> None:
    calls = using(day for day in range(114) if day % 7 < 5)  # up to 28 April

    japan, germany = (percent(SAAS, "silence", [*calls, known(1, country=country)], 121) for country in ("jp", "de"))

    assert japan == 100
    assert germany < 70
