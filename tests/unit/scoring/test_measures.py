"""Each measure as a table: what it reads from an account, and when it says nothing."""

import pytest
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.measures.measure import Missing, Reading
from churnsignal_scoring.health.measures.silence import is_quiet, is_sustained, usual_gap, usual_pause
from churnsignal_scoring.health.norms import Norms
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.health.view import View

from tests.unit.scoring.accounts import DAY_ONE, apply, engine, envelope, using

ENGINE = engine()
DAILY = using(range(100))
WEEKLY = using(range(0, 98, 7))


def read(
    name: str, calls: list[Envelope], day: int, norms: Norms | None = None, *, live: bool = False, reported: dict[str, int] | None = None
) -> Reading | Missing:
    state = apply(ENGINE, AccountState("acme"), calls)
    state.reported = reported or {}
    measure = MEASURES[name]
    return measure.read(View(state, DAY_ONE + day, norms, live=live), measure.options)


def value(name: str, calls: list[Envelope], day: int, norms: Norms | None = None, *, live: bool = False) -> int:
    found = read(name, calls, day, norms, live=live)
    assert isinstance(found, Reading)
    return found.measured


def norms(*, worths: tuple[int, ...] = (0,), reporting: dict[str, int] | None = None, below: tuple[int, ...] = (0,) * 30) -> Norms:
    return Norms(100, worths, below, reporting or {})


def mask(*days: int) -> int:
    return sum(1 << day for day in days)


@pytest.mark.parametrize(
    ("active", "gap", "pause"),
    [
        (mask(*range(30)), 1, 1),
        (mask(*range(0, 70, 7)), 7, 7),
        (mask(0, 1, 2, 3, 4, 5, 6, 7, 8, 60), 1, 1),
        (mask(0, 1, 2, 3, 33, 34, 35, 65, 66), 14, 30),
        (mask(0, 10, 20, 21, 22), 10, 10),
        (mask(0, 1, 2, 3), None, None),
        (0, None, None),
    ],
)
def test_the_habit_is_what_the_account_does_and_not_its_one_long_holiday(active: int, gap: int | None, pause: int | None) -> None:
    assert usual_gap(active, 80, 14, 4) == gap
    assert usual_pause(active, 4) == pause


@pytest.mark.parametrize(
    ("calls", "day", "measured"),
    [
        (DAILY, 99, 0),
        (DAILY, 100, 0),  # one day: as usual
        (DAILY, 101, 100),
        (DAILY, 129, 2_900),
        (WEEKLY, 98, 0),
        (WEEKLY, 105, 700),
        (using([0]), 7, 0),  # habit unknown: a week
        (using([0]), 10, 300),
        ([envelope("s", 0, event="Registered")], 20, 1_300),  # never used anything since it signed up
    ],
)
def test_silence_counts_from_the_day_it_outlasts_the_habit(calls: list[Envelope], day: int, measured: int) -> None:
    assert value("silence", calls, day) == measured


def test_silence_weighs_less_on_days_when_peers_were_away() -> None:
    holidays = norms(worths=(0, 10, 20, 30, 40, 50))

    assert value("silence", DAILY, 104, holidays) == 0
    assert value("silence", DAILY, 109, holidays) == 50 + 5 * 100 - 100


def test_between_closes_silence_is_complete_days_only_and_a_call_ends_it() -> None:
    assert value("silence", [*DAILY, envelope("back", 110)], 109, live=True) == 0
    assert value("silence", [*DAILY, envelope("back", 110)], 109) == 900


def test_an_account_of_which_only_a_profile_is_known_says_nothing() -> None:
    assert read("silence", [envelope("g", 0, kind="group", traits={"plan": "pro"})], 90) is Missing.NO_DATA
    assert read("silence", [], 3) is Missing.NO_DATA
    assert read("active_days", [], 3) is Missing.NO_DATA


@pytest.mark.parametrize(
    ("percent", "unknown", "day", "quiet"),
    [(250, 4, 102, False), (250, 4, 103, True), (0, 4, 99, True), (250, 400, 103, True), (200, 4, 102, False)],
)
def test_quiet_is_beyond_the_pauses_the_account_came_back_from(percent: int, unknown: int, day: int, quiet: bool) -> None:
    state = apply(ENGINE, AccountState("acme"), using([*range(98), 99]))  # its second longest pause is one day

    assert is_quiet(View(state, DAY_ONE + day - 1, None, live=False), percent, unknown) is quiet


@pytest.mark.parametrize(
    ("before", "sustained"), [(range(98), False), (range(0, 98, 14), True)], ids=["used daily before", "used every two weeks before"]
)
def test_use_is_back_at_the_account_s_own_pace(before: range, sustained: bool) -> None:
    state = apply(ENGINE, AccountState("acme"), using([*before, 200, 206, 213]))

    assert is_sustained(View(state, DAY_ONE + 213, None, live=False), 3, 13) is sustained
    assert is_sustained(View(state, DAY_ONE + 213, None, live=False), 3, 14)


@pytest.mark.parametrize(
    ("calls", "day", "measured"),
    [
        (DAILY, 99, 2_800),
        (DAILY, 113, 1_400),
        (DAILY, 127, 0),
        (WEEKLY, 91, 400),
        (using(range(7)), 6, 1_400),  # seven days of a young account: half of what it might show in two weeks
        (using(range(14)), 13, 2_800),
    ],
)
def test_active_days_are_counted_in_four_weeks_or_the_account_s_life(calls: list[Envelope], day: int, measured: int) -> None:
    assert value("active_days", calls, day) == measured


@pytest.mark.parametrize(
    ("calls", "day", "measured"),
    [
        (DAILY, 99, 10_000),
        ([*using(range(72)), *using(range(72, 100), each=1)], 99, 5_000),
        ([*using(range(72)), *using(range(72, 100), each=4)], 99, 20_000),
        (DAILY, 113, 5_000),
        (DAILY, 127, 0),
        (WEEKLY, 97, 10_000),
    ],
)
def test_volume_is_compared_with_the_account_s_own_weeks_before(calls: list[Envelope], day: int, measured: int) -> None:
    found = read("volume", calls, day)

    assert isinstance(found, Reading)
    assert (found.measured, found.events) == (measured, found.value // 100)


@pytest.mark.parametrize(("calls", "day"), [(using(range(40)), 39), (using([0, 20, 40, 60, 80], each=1), 80), ([], 5)])
def test_volume_says_nothing_without_two_weeks_of_past_or_enough_calls(calls: list[Envelope], day: int) -> None:
    assert read("volume", calls, day) is Missing.NO_DATA


def seats(number: object) -> list[Envelope]:
    return [*using(range(28), users=3), envelope("g", 0, kind="group", traits={"seats": number})]


@pytest.mark.parametrize(("number", "measured"), [(3, 10_000), (6, 5_000), (4.0, 7_500), (1, 30_000)])
def test_users_of_the_seats_paid_for(number: object, measured: int) -> None:
    assert value("seats_used", seats(number), 27) == measured


@pytest.mark.parametrize("number", [None, 0, -1, True, "many"])
def test_seats_that_are_no_number_do_not_apply(number: object) -> None:
    assert read("seats_used", seats(number), 27) is Missing.NOT_APPLICABLE


def test_seats_say_nothing_while_calls_name_no_users_and_everything_once_the_account_is_silent() -> None:
    nameless = [envelope("g", 0, kind="group", traits={"seats": 5}, user=None), envelope("a", 1, user=None)]

    assert read("seats_used", nameless, 2) is Missing.NO_DATA
    assert value("seats_used", nameless, 40) == 0


def test_the_number_of_users_counts_only_where_similar_accounts_have_teams() -> None:
    team = using(range(10), users=3)

    assert value("users", team, 9, norms(reporting={"users": 10})) == 300
    assert value("users", using(range(10)), 9, norms(reporting={"users": 10})) == 100
    assert read("users", team, 9, norms(reporting={"users": 9})) is Missing.NOT_APPLICABLE
    assert read("users", team, 9) is Missing.NOT_APPLICABLE
    assert read("users", seats(5), 9, norms(reporting={"users": 99})) is Missing.NOT_APPLICABLE


def test_users_leave_after_thirteen_weeks_to_the_day() -> None:
    here = norms(reporting={"users": 50})
    calls = [*using([0], users=2), *using([60], users=1)]

    assert value("users", calls, 90, here) == 200
    assert value("users", calls, 91, here) == 100


def failing(count: int) -> list[Envelope]:
    return [*using(range(30)), *[envelope(f"e{number}", 29 + number / 100, event="Error") for number in range(count)]]


def test_errors_are_a_share_of_all_use_where_errors_are_reported_at_all() -> None:
    assert value("error_share", failing(14), 29) == 2_000
    assert value("error_share", using(range(30)), 29, norms(reporting={"error_share:error": 1})) == 0
    assert read("error_share", using(range(30)), 29) is Missing.NOT_APPLICABLE
    assert value("error_share", using(range(10)), 29, norms(reporting={"error_share:error": 1})) == 0
    assert read("error_share", using(range(10))[1:], 29, norms(reporting={"error_share:error": 1})) is Missing.NO_DATA


def test_errors_do_not_fade_while_an_account_is_silent_and_absence_earns_nothing() -> None:
    assert value("error_share", failing(14), 50) == 2_000
    assert value("error_share", failing(14), 57) == 10_000


def test_standing_is_the_share_of_accounts_that_do_less_with_ties_counted_half() -> None:
    # 100 accounts: 40 without use, 20 with exactly 28 active days, 40 between.
    below = (0, 40, *([80] * 27), 100)

    assert value("standing", DAILY, 99, norms(below=below)) == 9_000
    assert read("standing", DAILY, 99) is Missing.NOT_APPLICABLE
    assert [isinstance(read("standing", DAILY, 99, Norms(peers, (0,), below, {})), Reading) for peers in (19, 20)] == [False, True]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Tokyo"])
def test_a_view_sees_nothing_after_its_day(zone: str) -> None:
    machine = engine(zone=zone)
    calls = using(range(10))
    later = [envelope("x", 11, user="u9"), envelope("y", 11, event="Error")]

    early, late = apply(machine, AccountState("acme"), calls), apply(machine, AccountState("acme"), [*calls, *later])

    for measure in MEASURES.values():
        seen = [
            measure.read(View(state, DAY_ONE + 10, norms(reporting={"users": 50}), live=False), measure.options) for state in (early, late)
        ]
        assert seen[0] == seen[1], measure.name
