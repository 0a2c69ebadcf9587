"""What happens by itself: reminders, the next in line, snoozes that wake, and what a person does that stops them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from churnsignal_alerts.act import Act, Command
from churnsignal_alerts.episodes import Contact, Episode, NoticeKind, Outcome, State
from churnsignal_alerts.hours import ALWAYS, after_working, holiday_calendar, parse_hours
from churnsignal_alerts.plan import Plan, Scene, plan_change, plan_command, plan_contact, plan_due
from churnsignal_alerts.policy_file import default_text, parse_policy
from churnsignal_alerts.route import Setup
from churnsignal_common.contracts.contact import Way
from churnsignal_common.contracts.risk import Band
from hypothesis import given
from hypothesis import strategies as st

from tests.support.alerts import BOTH, EMMA, HANAKO, NOON, POLICY, change, setup

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BOSS = replace(EMMA, id="boss", email="boss@example.com", slack="U0BOSS", hours=ALWAYS, country=None)
OWNER = replace(HANAKO, hours=ALWAYS, country=None, manager="boss")
PEOPLE = setup([OWNER, BOSS])
LADDER = [("hanako", NoticeKind.NUDGE), ("boss", NoticeKind.ESCALATED), ("pool:catch-all", NoticeKind.ESCALATED)]


def first(people: Setup = PEOPLE, now: datetime = NOON) -> Episode:
    """Return an episode as its first telling leaves it."""
    plans, _ = plan_change(change(profile_owner="hanako", as_of=now), {}, Scene(people, now))
    return replace(plans[0].episode, told=True)


def after(episode: Episode, command: Command, now: datetime = NOON, people: Setup = PEOPLE) -> Episode:
    plan, _ = plan_command(episode, command, people, now)
    assert plan is not None
    return plan.episode


def taken(episode: Episode, people: Setup = PEOPLE, most: int = 10) -> list[tuple[datetime, Plan]]:
    """Return all that happens by itself from here on."""
    steps: list[tuple[datetime, Plan]] = []
    while episode.next_at is not None and len(steps) < most:
        plan = plan_due(episode, Scene(people, episode.next_at))
        assert plan is not None
        steps.append((episode.next_at, plan))
        episode = plan.episode
    return steps


def heard(steps: list[tuple[datetime, Plan]]) -> list[tuple[str, NoticeKind]]:
    return [(notice.recipient.id, notice.kind) for _, plan in steps for notice in plan.notices]


def test_when_nobody_acts_the_owner_is_reminded_then_the_manager_and_the_pool_are_told_each_once() -> None:
    steps = taken(first())

    assert heard(steps) == LADDER
    assert [entry.what for _, plan in steps for entry in plan.entries] == ["reminded", "escalated", "escalated"]
    assert [at - NOON for at, _ in steps][:2] == [9 * HOUR, 18 * HOUR]


def test_a_step_before_its_time_is_none() -> None:
    assert plan_due(first(), Scene(PEOPLE, NOON + 8 * HOUR)) is None


@pytest.mark.parametrize("people", [setup([replace(OWNER, manager=None)]), setup([OWNER, replace(BOSS, active=False)]), setup([])])
def test_where_no_manager_can_be_reached_the_pool_takes_that_step_and_its_own_in_one(people: Setup) -> None:
    steps = taken(first(people), people)

    assert heard(steps)[1:] == [("pool:catch-all", NoticeKind.ESCALATED)]
    assert "manager and pool are the same people" in steps[-1][1].entries[0].why
    assert (len(steps), steps[-1][1].episode.rung) == (2, 3)


def test_a_step_that_is_asked_for_twice_is_taken_twice() -> None:
    text = default_text().replace("- {to: pool, after_hours: 18}", "- {to: pool, after_hours: 18}\n    - {to: pool, after_hours: 18}")
    people = Setup(PEOPLE.directory, parse_policy(text, "routing.yaml"), BOTH)

    assert heard(taken(first(people), people)) == [*LADDER, LADDER[-1]]


@pytest.mark.parametrize("command", [Command(Act.ACKNOWLEDGE, "hanako"), Command(Act.SNOOZE, "hanako", until=NOON + DAY)])
def test_whoever_acts_stops_the_ladder_and_it_begins_again_when_nothing_comes_of_it(command: Command) -> None:
    half = taken(first(), most=2)[-1][1].episode

    steps = taken(after(half, command))

    assert steps[0][1].episode.state is State.OPEN
    assert heard(steps[1:]) == LADDER


def test_nothing_after_an_acknowledgement_for_a_working_week_tells_the_owner_again() -> None:
    at, plan = taken(after(first(), Command(Act.ACKNOWLEDGE, "hanako")))[0]

    assert (at, plan.entries[0].what, plan.edit) == (NOON + 45 * HOUR, "unacknowledged", True)
    assert heard([(at, plan)]) == [("hanako", NoticeKind.NUDGE)]


def test_a_note_or_a_contact_keeps_an_acknowledgement() -> None:
    working = after(first(), Command(Act.ACKNOWLEDGE, "hanako"))
    called = Contact("acme", NOON + 40 * HOUR, Way.CALL, "Hanako", "they are testing", "hanako")

    noted = after(working, Command(Act.NOTE, "hanako", note="on it"), NOON + 40 * HOUR)
    touched = plan_contact(working, called, PEOPLE, NOON + 41 * HOUR)

    assert noted.next_at == touched.episode.next_at == NOON + 85 * HOUR
    assert (touched.entries[0].what, touched.entries[0].why) == ("contact", "call; they are testing")


def test_an_old_contact_makes_nothing_due_sooner() -> None:
    old = Contact("acme", NOON - 30 * DAY, Way.MEETING, "Hanako", "", "hanako")

    assert plan_contact(first(), old, PEOPLE, NOON).episode.next_at == first().next_at


@pytest.mark.parametrize("command", [Command(Act.CLOSE, "hanako", outcome=Outcome.SAVED)])
def test_a_closed_episode_does_nothing_more(command: Command) -> None:
    plan, _ = plan_command(first(), command, PEOPLE, NOON)

    assert plan is not None
    assert (plan.episode.next_at, plan.cancel) == (None, True)


def test_a_recovered_episode_does_nothing_more() -> None:
    plans, _ = plan_change(change(2, Band.GREEN, from_band=Band.RED), {first().kind: first()}, Scene(PEOPLE, NOON + DAY))

    assert (plans[0].episode.next_at, plans[0].cancel) == (None, True)


def test_a_snooze_wakes_at_its_end_and_says_so() -> None:
    asleep = after(first(), Command(Act.SNOOZE, "hanako", until=NOON + DAY))

    at, plan = taken(asleep)[0]

    assert (at, plan.episode.state, plan.episode.until) == (NOON + DAY, State.OPEN, None)
    assert heard([(at, plan)]) == [("hanako", NoticeKind.REMINDER)]


def test_a_snooze_until_it_is_worse_wakes_when_it_is_and_at_last_by_itself() -> None:
    asleep = after(first(), Command(Act.SNOOZE, "hanako", until=NOON + 14 * DAY, worse_only=True))

    worse, _ = plan_change(change(2, profile_owner="hanako", score_after=1500), {asleep.kind: asleep}, Scene(PEOPLE, NOON + DAY))

    assert (worse[0].episode.state, worse[0].entries[0].what) == (State.OPEN, "worse")
    assert heard([(NOON, worse[0])]) == [("hanako", NoticeKind.WORSE)]
    assert taken(asleep)[0][0] == NOON + 14 * DAY


def test_timers_run_in_working_hours_over_weekends_and_holidays() -> None:
    japan = replace(HANAKO, hours=parse_hours("09:00-18:00", "mon-fri"))
    friday_evening = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)

    steps = taken(first(setup([japan]), friday_evening), setup([japan]))

    # Friday 17:00 in Tokyo; Monday the 23rd is a holiday: one hour is left on Friday, eight more end on Tuesday at 17:00.
    assert steps[0][0] == datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def test_a_playbook_gives_an_episode_its_steps_with_days_that_people_work() -> None:
    text = default_text().replace(
        "playbooks: []",
        "playbooks:\n  - {kind: risk, steps: [{do: Call, within_days: 1}]}\n"
        "  - {kind: risk, segment: mid-market, steps: [{do: {en: Call, ja: 電話}, within_days: 1}, {do: Meet, within_days: 5}]}",
    )
    people = Setup(setup([HANAKO]).directory, parse_policy(text, "routing.yaml"), BOTH)

    mine = first(people, datetime(2026, 11, 20, 3, 0, tzinfo=UTC))
    other, _ = plan_change(change(profile_owner="hanako", profile_segment="other"), {}, Scene(people, NOON))

    # From Friday over a holiday on Monday.
    assert [(task.text["ja"], task.due.isoformat()) for task in mine.tasks] == [("電話", "2026-11-24"), ("Meet", "2026-11-30")]
    assert [task.text["en"] for task in other[0].episode.tasks] == ["Call"]


def test_without_steps_nothing_is_repeated() -> None:
    quiet = replace(POLICY, follow_up=replace(POLICY.follow_up, rungs=(), unacknowledge=None))
    people = Setup(PEOPLE.directory, quiet, BOTH)

    assert first(people).next_at is None
    assert after(first(people), Command(Act.ACKNOWLEDGE, "hanako"), people=people).next_at is None


moments = st.datetimes(datetime(2026, 3, 1), datetime(2026, 12, 31), timezones=st.just(UTC))
spans = st.integers(1, 4000).map(lambda minutes: timedelta(minutes=minutes))
whose = st.tuples(
    st.sampled_from(["09:00-18:00", "22:00-06:00", "always", "08:30-12:15"]),
    st.sampled_from(["mon-fri", "sun-thu", "mon,wed"]),
    st.sampled_from(["Asia/Tokyo", "America/New_York", "Europe/London", "Australia/Lord_Howe"]),
    st.sampled_from([None, "JP", "US", "GB"]),
)


@given(moments, spans, spans, whose)
def test_working_time_adds_up_and_ends_in_working_time(
    start: datetime, one: timedelta, two: timedelta, who: tuple[str, str, str, str | None]
) -> None:
    hours, zone, free = parse_hours(who[0], who[1]), ZoneInfo(who[2]), holiday_calendar(who[3])

    both = after_working(start, one + two, hours, zone, free)

    assert after_working(after_working(start, one, hours, zone, free), two, hours, zone, free) == both
    assert both - start >= one + two
