"""Change against the own past, and who the people are: tables of what each measure reads."""

from typing import Any

import pytest
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_scoring.health.calendars import Calendar
from churnsignal_scoring.health.days import from_date
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.measures.measure import Missing, Reading
from churnsignal_scoring.health.norms import Norms

from tests.unit.scoring.accounts import MONDAY, envelope, using
from tests.unit.scoring.reading import TEAMS, lived, profile, read, read_of, value

DAILY = using(range(100))
OFFICE = using(day for day in range(100) if day % 7 < 5)
WEEKEND = frozenset({5, 6})
START = from_date(MONDAY.date())


@pytest.mark.parametrize(
    ("day", "calendar", "measured"),
    [
        (98, Calendar(), 0),  # Monday, used
        (103, Calendar(), 300),  # four days less the habit of one
        (103, Calendar(WEEKEND), 200),  # a Saturday: Wednesday to Friday, less the habit of one working day
        (105, Calendar(WEEKEND), 300),
        (105, Calendar(WEEKEND, frozenset({START + 101, START + 102})), 100),
    ],
)
def test_days_off_do_not_count_as_silence(day: int, calendar: Calendar, measured: int) -> None:
    # Used on workdays up to Tuesday, day 99.
    assert value("silence", OFFICE, day, calendar=calendar, habit_percent=80) == measured


def test_a_day_off_counts_as_little_as_it_would_have_counted_among_peers() -> None:
    # Twelve days, the last five of them worth a tenth; less two weekends, of which one is worth a fifth of a day and one two days.
    quiet = Norms(100, (0, 10, 20, 30, 40, 50), (0,) * 30, {})

    assert value("silence", OFFICE, 111, quiet, calendar=Calendar(WEEKEND), habit_percent=80) == 750 - 20 - 200 - 100


def test_the_habit_of_who_rests_at_weekends_is_one_working_day() -> None:
    found = read("silence", OFFICE, 99, calendar=Calendar(WEEKEND), habit_percent=100)
    plain = read("silence", OFFICE, 99, habit_percent=100)

    assert isinstance(found, Reading)
    assert isinstance(plain, Reading)
    assert (found.baseline, plain.baseline) == (100, 300)


def test_volume_compares_working_days_with_working_days() -> None:
    closed = frozenset(range(START + 79, START + 86))
    calls = using(day for day in range(100) if START + day not in closed)

    assert value("volume", calls, 99) == 7_500
    assert value("volume", calls, 99, calendar=Calendar(holidays=closed)) == 10_000


@pytest.mark.parametrize(("measure", "options", "plain"), [("change", {}, 6_071), ("slope", {}, -741), ("falling_weeks", {}, 100)])
def test_a_week_of_holidays_is_no_fall(measure: str, options: dict[str, Any], plain: int) -> None:
    # Of the last week of use three days were worked, of the fourth last none.
    closed = frozenset([*range(START + 72, START + 79), *range(START + 93, START + 97)])
    calls = using(day for day in range(100) if START + day not in closed)

    assert value(measure, calls, 99, **options) == plain
    assert value(measure, calls, 99, calendar=Calendar(holidays=closed), **options) == value(measure, DAILY, 99, **options)


@pytest.mark.parametrize(
    ("day", "options", "days"),
    [(99, {}, 0), (104, {}, 5), (104, {"signal": "login"}, 54), (50, {"signal": "login"}, 0), (104, {"signal": "export"}, 105)],
)
def test_recency_is_days_since_the_last_use_or_signal(day: int, options: dict[str, Any], days: int) -> None:
    calls = [*DAILY, envelope("login", 50, event="Login")]

    found = read("recency", calls, day, **options)

    assert isinstance(found, Reading)
    assert (found.measured, found.value) == (days * 100, days * 100)
    assert read("recency", [profile(1, plan="pro")], day, **options) is Missing.NO_DATA


@pytest.mark.parametrize(
    ("calls", "day", "percent"),
    [
        (DAILY, 99, 100),
        ([*using(range(86)), *using(range(86, 100), each=1)], 99, 50),
        ([*using(range(86)), *using(range(86, 100), each=3)], 99, 150),
        (DAILY, 106, 50),
        (DAILY, 113, 0),
        (DAILY, 150, 0),
    ],
)
def test_change_is_these_days_in_per_cent_of_as_many_before(calls: list[Envelope], day: int, percent: int) -> None:
    assert value("change", calls, day, window_days=14) == percent * 100


def test_change_says_nothing_of_an_account_younger_than_what_it_compares() -> None:
    assert read("change", using(range(27)), 26, window_days=14) is Missing.NO_DATA
    assert read("change", using([0, *range(20, 28)]), 27, window_days=14, least_events=3) is Missing.NO_DATA


def weeks(*counts: int) -> list[Envelope]:
    return [
        envelope(f"w{week}n{number}", week * 7 + 6, event="Report Viewed") for week, count in enumerate(counts) for number in range(count)
    ]


ENOUGH = weeks(1, 6, *([2] * 7))
STEADY, FALLING, RISING = weeks(1, *([8] * 8)), weeks(1, *range(40, 0, -5)), weeks(1, *range(5, 45, 5))


def test_slope_is_the_weekly_rise_in_per_cent_of_the_mean_week() -> None:
    assert value("slope", STEADY, 62) == 0
    assert value("slope", RISING, 62) == 2_222  # 5 of 22.5
    assert value("slope", FALLING, 62) == -2_223  # rounded down
    assert value("slope", ENOUGH, 62) < 0
    assert read("slope", RISING, 100) == Reading(-10_000, -10_000, events=0)  # nobody is there any more
    assert read("slope", weeks(1, 8, 8), 20) is Missing.NO_DATA


def test_weeks_that_fall_in_a_row_are_counted() -> None:
    assert value("falling_weeks", STEADY, 62) == 0
    assert value("falling_weeks", FALLING, 62) == 700
    assert value("falling_weeks", ENOUGH, 62) == 0
    assert value("falling_weeks", weeks(1, 9, 9, 9, 9, 12, 8, 7, 6), 62) == 300
    assert value("falling_weeks", STEADY, 100) == 700
    # A week ends with the day of the last use, so the calls of the eighth day before it belong to the week before.
    assert value("falling_weeks", [*FALLING, *using([49], each=30)], 62) == 100
    assert value("falling_weeks", [*FALLING, *using([50], each=30)], 62) == 100
    assert read("falling_weeks", weeks(1, 30, 30), 20) is Missing.NO_DATA
    assert read("falling_weeks", weeks(1, *([1] * 8)), 62) is Missing.NO_DATA
    assert read("falling_weeks", [profile(1, plan="pro")], 62) is Missing.NO_DATA


TEAM = [*using(range(28), users=1), *using(range(14, 28), users=3)]


def test_people_are_counted_who_were_there_often_enough() -> None:
    assert value("active_users", TEAM, 27) == 300
    assert value("active_users", TEAM, 27, least_days=15) == 100
    guest = [envelope(f"guest{day}", day, user="guest") for day in (-1, 27)]
    assert value("active_users", [*TEAM, *guest], 27, least_days=2) == 300
    assert value("active_users", TEAM, 27, least_days=14) == 300
    assert value("active_users", TEAM, 45, window_days=14) == 0
    assert value("users_change", [*using(range(28), users=4), *using(range(28, 56))], 55) == 2_500
    assert value("users_change", [*using(range(28), users=2), *using(range(28, 56), users=4)], 55) == 20_000
    assert read("users_change", TEAM, 27) is Missing.NO_DATA
    assert read("users_change", DAILY, 99) is Missing.NO_DATA


@pytest.mark.parametrize(("day", "window", "share"), [(27, 28, 3_333), (40, 14, 3_333), (41, 14, 0), (54, 28, 3_333), (55, 28, 0)])
def test_the_share_of_who_did_it_is_of_the_users_of_the_last_days_of_use(day: int, window: int, share: int) -> None:
    state = lived([*TEAM, envelope("before", -1, user="gone")])
    block, offset = divmod(START + 20, 28)
    state.teams = {"login": {block: {"u0": 1 << offset}}}

    assert read_of(state, "user_share", day, window_days=window) == Reading(share, share, users=int(share > 0))


def test_the_share_of_nobody_is_none() -> None:
    assert value("user_share", [*using([0]), *[envelope(f"n{day}", day, user=None) for day in range(1, 60)]], 59) == 0


def test_one_person_alone_is_a_risk_where_others_have_teams() -> None:
    assert value("top_user_share", using(range(28)), 27, TEAMS) == 10_000
    assert value("top_user_share", TEAM, 27, TEAMS) == 28 * 10_000 // 56
    assert value("top_user_share", TEAM, 40, TEAMS) == 28 * 10_000 // 56  # who was there does not change by silence
    assert value("top_user_share", TEAM, 90, TEAMS) == 10_000
    assert read("top_user_share", TEAM, 27) is Missing.NOT_APPLICABLE


def test_a_champion_who_is_gone_is_seen_behind_the_others() -> None:
    named = profile(0, champion="u2")

    assert value("champion_silence", [*TEAM, named, *using(range(28, 60))], 59) == 3_200
    assert value("champion_silence", [*using(range(60)), profile(0, champion="ghost")], 59) == 6_000
    assert read("champion_silence", TEAM, 27) is Missing.NOT_APPLICABLE


SHIPPED = [envelope(f"f{place}", 20, event=name) for place, name in enumerate(["Exports", "Alerts"])]


@pytest.mark.parametrize(
    ("traits", "day", "measured"),
    [({}, 27, 2_500), ({"plan": "Small"}, 27, 10_000), ({"plan": "huge"}, 27, 2_500), ({"plan": "small"}, 60, 0)],
)
def test_adoption_counts_the_features_that_the_plan_contains(traits: dict[str, str], day: int, measured: int) -> None:
    calls = [*using(range(28)), *SHIPPED, profile(1, **traits)]
    options: dict[str, Any] = {"features": ("Exports", "API", "SSO", "Audit"), "plans": {"small": ("Exports", "Alerts")}}

    assert value("adoption", calls, day, **options) == measured


def test_adoption_without_key_features_means_nothing() -> None:
    assert read("adoption", DAILY, 99) is Missing.NOT_APPLICABLE


ASKED = [*using(range(30)), *[envelope(f"t{number}", 20 + number, event="Ticket Opened", user=None) for number in range(3)]]


def test_tickets_count_where_anybody_reports_them_and_do_not_fade_while_the_account_is_silent() -> None:
    assert value("tickets", ASKED, 29) == 300
    assert value("tickets", ASKED, 90) == 300
    assert read("tickets", using(range(30)), 29) is Missing.NOT_APPLICABLE
    assert value("count", ASKED, 29, signal="ticket_opened", window_days=9) == 200
    assert value("count", ASKED, 29, signal="never") == 0


def test_what_was_worked_out_under_one_calendar_is_not_told_under_another() -> None:
    account = using(range(0, 56, 7))
    kept = lived(account)
    read_of(kept, "silence", 70)

    resident, loaded = (read_of(state, "silence", 70, calendar=Calendar(WEEKEND)) for state in (kept, lived(account)))

    assert resident == loaded


def test_silence_never_heals_a_measure_of_use() -> None:
    state = lived([*TEAM, *ASKED, *SHIPPED, *weeks(*range(20, 6, -1)), profile(0, champion="u2", seats=9)])
    better = {name: measure.more_is_better for name, measure in MEASURES.items()} | {"change": True, "count": True}
    of_use = ["silence", "recency", "active_days", "volume", "change", "slope", "falling_weeks", "standing", "seats_used", "users", "active_users",
              "users_change", "user_share", "top_user_share", "champion_silence", "error_share", "count", "tickets", "adoption"]  # fmt: skip

    options: dict[str, dict[str, Any]] = {"adoption": {"features": ("Exports",)}}
    for name in of_use:
        found = [read_of(state, name, day, TEAMS, **options.get(name, {})) for day in range(110, 210)]
        numbers = [one.measured if better[name] else -one.measured for one in found if isinstance(one, Reading)]
        assert numbers == sorted(numbers, reverse=True), name
