"""What a change, a command or a new owner writes: who hears of it, and what becomes void."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from churnsignal_alerts.act import Act, Answer, Command
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.episodes import Episode, Kind, NoticeKind, Outcome, State
from churnsignal_alerts.hours import ALWAYS
from churnsignal_alerts.plan import (
    Plan,
    Scene,
    Spent,
    plan_away,
    plan_change,
    plan_command,
    plan_moved,
    plan_profile,
    ration,
    rationed,
)
from churnsignal_alerts.policy import Pool
from churnsignal_alerts.route import Setup
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.contracts.risk import Band, Cause, RiskChanged

from tests.support.alerts import EMMA, HANAKO, NOON, POLICY, change, opened, recovered, setup

AWAKE = replace(HANAKO, hours=ALWAYS, country=None)
OTHER = replace(EMMA, hours=ALWAYS, country=None)
DAY = timedelta(days=1)


def told(new: RiskChanged, episode: Episode | None = None, who: Setup | None = None) -> Plan:
    plans, _ = plan_change(new, {} if episode is None else {Kind.RISK: episode}, Scene(who or setup([AWAKE, OTHER]), max(NOON, new.as_of)))
    assert len(plans) == 1
    return plans[0]


def heard(plan: Plan) -> list[tuple[str, NoticeKind]]:
    return [(notice.recipient.id, notice.kind) for notice in plan.notices]


def test_a_new_fact_is_told_whatever_is_done_about_the_account_and_is_the_first_word_where_nobody_knew() -> None:
    gone = change(2, from_band=Band.RED, knockout="cancelled", profile_owner="hanako")

    known, unknown = told(gone, opened(state=State.ACKNOWLEDGED)), told(gone, opened(told=False))
    held = told(change(2, from_band=Band.RED, score_after=1200, profile_owner="hanako"), opened(state=State.ACKNOWLEDGED))

    assert (heard(known), known.episode.state, known.edit) == ([("hanako", NoticeKind.WORSE)], State.OPEN, False)
    assert heard(unknown) == [("hanako", NoticeKind.RISK)]
    assert (heard(held), held.episode.state, held.edit) == ([], State.ACKNOWLEDGED, True)


def test_a_fall_that_came_back_too_often_is_a_line_whatever_recoveries_are() -> None:
    for recoveries in (True, False, "wins"):
        again = told(
            change(3, as_of=NOON + 4 * DAY), recovered(csm="hanako", flips=3), setup([AWAKE], replace(POLICY, recoveries=recoveries))
        )

        assert heard(again) == [("hanako", NoticeKind.LINE)]


@pytest.mark.parametrize(("lifecycle", "outcome"), [("churned", Outcome.CHURNED), ("ignored", Outcome.NO_ACTION)])
def test_of_an_account_that_is_gone_nothing_more_is_told(lifecycle: str, outcome: Outcome) -> None:
    profile = msgspec.structs.replace(change(profile_owner="emma").account, lifecycle=lifecycle)
    scene = Scene(setup([AWAKE, OTHER]), NOON + DAY)

    over = plan_profile(opened(state=State.SNOOZED, by="Emma", next_at=NOON + DAY), profile, scene)

    assert over is not None
    assert (over.episode.state, over.episode.outcome, over.episode.next_at, over.episode.by) == (State.CLOSED, outcome, None, None)
    assert (over.notices, over.cancel, over.edit) == ((), True, True)
    assert plan_profile(over.episode, profile, scene) is None


def test_whoever_stands_in_for_the_chosen_is_told_once_and_whoever_is_on_leave_is_not_taken_leave_of() -> None:
    away = replace(OTHER, delegate="hanako2", away_from=NOON.date(), away_until=NOON.date() + DAY)
    people = setup([AWAKE, away, replace(AWAKE, id="hanako2")])
    command = Command(Act.REASSIGN, "boss", to="emma")

    given, _ = plan_command(opened(), command, people, NOON)
    assert given is not None

    assert heard(given) == [("hanako2", NoticeKind.MOVED), ("hanako", NoticeKind.HANDED)]
    assert (given.episode.csm, given.episode.stands_for) == ("hanako2", "emma")
    assert plan_away(given.episode, Scene(people, NOON)) is None
    assert plan_command(given.episode, command, people, NOON) == (None, Answer.ALREADY)


def test_a_first_fall_is_told_at_once_to_the_owner() -> None:
    plan = told(change(profile_owner="hanako"))

    assert heard(plan) == [("hanako", NoticeKind.RISK)]
    assert plan.notices[0].due_at == NOON
    assert (plan.episode.csm, plan.entries[0].what, plan.entries[0].why) == ("hanako", "opened", "entered the band")


def noticed(who: Setup, **fields: Any) -> Plan:
    plans, _ = plan_change(change(profile_owner="hanako", **fields), {}, Scene(who, NOON))
    return plans[0]


def test_a_kind_set_to_the_digest_waits_for_the_reader_s_morning() -> None:
    policy = replace(POLICY, digest_kinds=frozenset({Kind.RISK}))

    plan = noticed(setup([HANAKO], policy))

    # Friday evening in Tokyo, and Monday is a holiday.
    assert heard(plan) == [("hanako", NoticeKind.LINE)]
    assert plan.notices[0].due_at == datetime(2026, 11, 24, 0, 0, tzinfo=UTC)


BUDGET = replace(POLICY, budget=2)


@pytest.mark.parametrize(
    ("spent", "kind"),
    [
        (Spent(0, 0), NoticeKind.RISK),
        (Spent(1, 0), NoticeKind.RISK),
        (Spent(2, 0), NoticeKind.LINE),
        (Spent(1, 1), NoticeKind.LINE),
        # Three that wait become one message.
        (Spent(1, 2), NoticeKind.RISK),
        (Spent(0, 40), NoticeKind.RISK),
    ],
)
def test_what_is_over_the_budget_of_the_day_is_a_line_of_the_digest(spent: Spent, kind: NoticeKind) -> None:
    scene = Scene(setup([AWAKE], BUDGET), NOON)
    plan = noticed(scene.setup)
    counted = rationed(plan, scene)
    assert counted is not None

    within = ration(plan, counted, spent, scene)

    assert heard(within) == [("hanako", kind)]
    assert (within.entries[-1].what == "digested") is (kind is NoticeKind.LINE)
    assert within.episode.next_at is not None
    assert within.episode.next_at > within.notices[0].due_at


@pytest.mark.parametrize(
    ("last", "due"),
    [
        (None, 0),
        (-60, 0),
        # What came in with it may become one message with it.
        (0, 0),
        (-59, 1),
        (45, 45),
    ],
)
def test_what_follows_a_message_within_a_minute_waits_for_its_end_and_for_what_waits_already(last: int | None, due: int) -> None:
    second = timedelta(seconds=1)

    assert Spent(0, 0, None if last is None else NOON + last * second).turn(NOON) == NOON + due * second


def test_what_is_urgent_and_what_goes_to_a_pool_is_in_no_budget() -> None:
    urgent = replace(BUDGET, urgent=replace(POLICY.urgent, arr=1.0))

    for scene in (Scene(setup([AWAKE], urgent), NOON), Scene(setup([], BUDGET), NOON)):
        assert rationed(noticed(scene.setup), scene) is None


def test_a_recovery_goes_where_its_kind_says() -> None:
    wins = replace(POLICY, pools={"wins": Pool("wins", "#wins", None, Locale.EN, hours=ALWAYS)}, recoveries="wins")
    better = change(2, Band.YELLOW, from_band=Band.RED, profile_owner="hanako")

    told_to = [heard(told(better, opened(), setup([AWAKE], policy))) for policy in (POLICY, wins, replace(POLICY, recoveries=False))]

    assert told_to == [[("hanako", NoticeKind.RECOVERY)], [("pool:wins", NoticeKind.RECOVERY)], []]


def test_what_a_person_reopened_is_told_of_its_end_again() -> None:
    scene = setup([AWAKE])
    again, _ = plan_command(recovered(), Command(Act.REOPEN, "hanako"), scene, NOON + DAY)
    assert again is not None

    better = told(change(3, Band.YELLOW, from_band=Band.RED, profile_owner="hanako"), replace(again.episode, told=True), scene)

    assert [(notice.kind, notice.round) for notice in better.notices] == [(NoticeKind.RECOVERY, 1)]


def test_a_person_with_two_channels_is_told_on_both() -> None:
    both = replace(AWAKE, channels=(Channel.SLACK, Channel.EMAIL))

    assert [notice.channel.value for notice in told(change(profile_owner="hanako"), who=setup([both])).notices] == ["slack", "email"]


def test_a_summary_waits_for_more_lines() -> None:
    plan = told(change(profile_owner="hanako", cause=Cause.FIRST))

    assert heard(plan) == [("hanako", NoticeKind.SUMMARY)]
    assert plan.notices[0].due_at == NOON + timedelta(minutes=10)


def test_recovery_is_told_to_whom_the_fall_was_told() -> None:
    away = replace(AWAKE, delegate="emma", away_from=date(2026, 11, 20), away_until=date(2026, 11, 21))
    people = setup([away, OTHER])
    fall = told(change(profile_owner="hanako"), who=people)
    back = change(2, Band.GREEN, from_band=Band.RED, as_of=NOON + 9 * DAY, profile_owner="hanako")

    end = told(back, replace(fall.episode, told=True), people)

    assert heard(fall) == [("emma", NoticeKind.RISK)]
    assert heard(end) == [("emma", NoticeKind.RECOVERY)]
    assert (end.cancel, end.edit) == (True, True)


def test_after_a_new_owner_a_flap_is_told_to_them() -> None:
    again = change(3, as_of=NOON + 4 * DAY, profile_owner="emma")

    assert heard(told(again, recovered(csm="hanako"))) == [("emma", NoticeKind.REOPENED)]


def test_whom_a_person_chose_keeps_it_whatever_the_owner_is() -> None:
    chosen = opened(csm="emma", pinned=True)
    better = change(2, Band.GREEN, from_band=Band.RED, as_of=NOON + DAY, profile_owner="hanako")

    assert heard(told(better, replace(chosen, csm="emma"))) == [("emma", NoticeKind.RECOVERY)]
    assert plan_moved(chosen, change(profile_owner="somebody").account, Scene(setup([AWAKE, OTHER]), NOON)) is None


def test_a_new_owner_is_told_once_and_an_untold_alert_simply_goes_to_them() -> None:
    start = replace(told(change(profile_owner="hanako")).episode, told=True)
    profile = msgspec.structs.replace(start.change.account, owner="emma")
    people = setup([AWAKE, OTHER])

    moved = plan_moved(start, profile, Scene(people, NOON + DAY))
    untold = plan_moved(replace(start, told=False), profile, Scene(people, NOON + DAY))

    assert moved is not None
    assert untold is not None
    assert heard(moved) == [("emma", NoticeKind.MOVED), ("hanako", NoticeKind.HANDED)]
    assert heard(untold) == [("emma", NoticeKind.RISK)]
    assert plan_moved(moved.episode, profile, Scene(people, NOON + DAY)) is None


def test_an_owner_who_came_with_a_change_of_an_open_episode_is_still_told_when_the_profile_comes() -> None:
    start = replace(told(change(profile_owner="hanako")).episode, told=True)
    held = told(change(2, profile_owner="emma"), start)

    moved = plan_moved(replace(held.episode, told=True), held.episode.change.account, Scene(setup([AWAKE, OTHER]), NOON))

    assert held.notices == ()
    assert held.episode.csm == "hanako"
    assert moved is not None
    assert heard(moved) == [("emma", NoticeKind.MOVED), ("hanako", NoticeKind.HANDED)]


def test_a_command_that_changes_nothing_writes_nothing() -> None:
    plan, _ = plan_command(recovered(), Command(Act.ACKNOWLEDGE, "hanako"), setup([AWAKE, OTHER]), NOON)

    assert plan is None
