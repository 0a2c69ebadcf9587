"""The table of decisions: which change is told, and how."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from churnsignal_alerts.act import Act, Answer, Command, act
from churnsignal_alerts.decide import NOTICES, Rules, Verdict, apply, decide
from churnsignal_alerts.episodes import Episode, Feedback, Kind, NoticeKind, Outcome, State, Task, episode_id
from churnsignal_common.contracts.risk import Band, Cause, Finding, FindingKind
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.support.alerts import NOON, POLICY, change, opened, recovered

DAY = timedelta(days=1)
RULES = POLICY.rules
BOTH_KINDS = replace(RULES, kinds=frozenset(Kind))

ASLEEP = opened(state=State.SNOOZED, until=NOON + 9 * DAY, worse_only=True)

TABLE = [
    ("a first fall is told", Kind.RISK, None, change(), Verdict.TELL),
    ("a silent fall is a line of a summary", Kind.RISK, None, change(cause=Cause.HISTORY), Verdict.SUMMARISE),
    ("an old fall is a line of a summary", Kind.RISK, None, change(as_of=NOON - 3 * DAY), Verdict.SUMMARISE_LATE),
    ("yellow is nothing for risk", Kind.RISK, None, change(to=Band.YELLOW), Verdict.NOTHING),
    ("yellow is off as an early warning", Kind.EARLY_WARNING, None, change(to=Band.YELLOW), Verdict.OFF),
    ("an open episode is not told again", Kind.RISK, opened(), change(2), Verdict.HOLD_OPEN),
    ("recovery is told", Kind.RISK, opened(), change(2, Band.YELLOW), Verdict.TELL_RECOVERED),
    ("recovery to green is told", Kind.RISK, opened(), change(2, Band.GREEN), Verdict.TELL_RECOVERED),
    ("a silent recovery is a line", Kind.RISK, opened(), change(2, Band.GREEN, cause=Cause.THAW), Verdict.SUMMARISE_RECOVERED),
    ("grey is no recovery", Kind.RISK, opened(), change(2, Band.GREY, score_after=None), Verdict.TELL_UNSCORED),
    ("a merge ends it", Kind.RISK, opened(), change(2, Band.GREY, cause=Cause.MERGED, score_after=None), Verdict.MERGED),
    ("a merge before it was told is a line", Kind.RISK, replace(opened(), told=False), change(2, Band.GREY, cause=Cause.MERGED), Verdict.DIGEST_MISSED),
    ("a merge of a healthy account is nothing", Kind.RISK, None, change(2, Band.GREY, cause=Cause.MERGED), Verdict.NOTHING),
    ("an untold episode that ends is a line", Kind.RISK, replace(opened(), told=False), change(2, Band.YELLOW), Verdict.DIGEST_MISSED),
    ("an acknowledged episode recovers too", Kind.RISK, opened(state=State.ACKNOWLEDGED), change(2, Band.GREEN), Verdict.TELL_RECOVERED),
    ("a flap continues the episode", Kind.RISK, recovered(), change(3, as_of=NOON + 4 * DAY), Verdict.TELL_AGAIN),
    ("a flap whose recovery was not told is silent", Kind.RISK, recovered(over_told=False), change(3, as_of=NOON + 4 * DAY), Verdict.HOLD_FLAP),
    ("too many flaps are a line", Kind.RISK, recovered(flips=3), change(3, as_of=NOON + 4 * DAY), Verdict.DIGEST_FLAPPING),
    ("worse while snoozed until it is", Kind.RISK, ASLEEP, change(2, score_after=1800), Verdict.TELL_WORSE),
    ("a new fact while snoozed until it is worse", Kind.RISK, ASLEEP, change(2, knockout="payment_failed"), Verdict.TELL_WORSE),
    ("hardly worse while snoozed until it is", Kind.RISK, ASLEEP, change(2, score_after=2300), Verdict.HOLD_OPEN),
    ("a new fact while snoozed until a time", Kind.RISK, replace(ASLEEP, worse_only=False), change(2, knockout="cancelled"), Verdict.TELL_WORSE),
    ("a new fact while somebody is at work", Kind.RISK, opened(state=State.ACKNOWLEDGED), change(2, knockout="cancelled"), Verdict.TELL_WORSE),
    ("the same fact again", Kind.RISK, opened(change=change(knockout="cancelled")), change(2, knockout="cancelled"), Verdict.HOLD_OPEN),
    ("worse while snoozed until a time", Kind.RISK, replace(ASLEEP, worse_only=False), change(2, score_after=1800), Verdict.HOLD_OPEN),
    ("after the flap window it is a new story", Kind.RISK, recovered(), change(3, as_of=NOON + 30 * DAY), Verdict.TELL),
    ("what a person closed stays closed", Kind.RISK, opened(state=State.CLOSED, ended_at=NOON), change(3, as_of=NOON + DAY), Verdict.TELL),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "episode", "new", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_table(kind: Kind, episode: Episode | None, new: object, expected: Verdict) -> None:
    now = max(NOON, new.as_of) if expected is not Verdict.SUMMARISE_LATE else NOON  # type: ignore[attr-defined]

    assert decide(kind, episode, new, now, RULES) is expected  # type: ignore[arg-type]


def test_an_episode_of_a_merged_account_is_closed_with_the_reason_and_does_not_come_back() -> None:
    merged = change(2, Band.GREY, cause=Cause.MERGED, score_after=None)
    merged = structs.replace(merged, account=structs.replace(merged.account, merged_into="globex"))

    after = apply(Verdict.MERGED, Kind.RISK, opened(), merged, RULES.flap_window)

    assert after is not None
    assert (after.state, after.note, Verdict.MERGED in NOTICES) == (State.CLOSED, "merged into globex", False)
    assert decide(Kind.RISK, after, change(3, as_of=NOON + DAY), NOON + DAY, RULES) is Verdict.TELL


def test_an_early_warning_hands_over_to_risk_when_red() -> None:
    yellow = change(1, Band.YELLOW, from_band=Band.GREEN)
    warning = apply(decide(Kind.EARLY_WARNING, None, yellow, NOON, BOTH_KINDS), Kind.EARLY_WARNING, None, yellow, RULES.flap_window)

    assert decide(Kind.EARLY_WARNING, warning, change(2), NOON, BOTH_KINDS) is Verdict.OVERTAKEN
    assert decide(Kind.RISK, None, change(2), NOON, BOTH_KINDS) is Verdict.TELL


def test_switching_a_kind_off_still_ends_what_is_open() -> None:
    off = replace(RULES, kinds=frozenset())

    assert decide(Kind.RISK, opened(), change(2, Band.GREEN), NOON, off) is Verdict.TELL_RECOVERED


def test_every_verdict_that_tells_has_a_kind_of_notice() -> None:
    silent = {verdict for verdict in Verdict if verdict not in NOTICES}

    assert silent == {Verdict.HOLD_FLAP, Verdict.HOLD_OPEN, Verdict.MERGED, Verdict.OVERTAKEN, Verdict.PASSED, Verdict.NOTHING, Verdict.OFF}


def test_only_the_first_telling_of_a_fall_counts_as_its_notice() -> None:
    first = {verdict for verdict, kind in NOTICES.items() if kind in (NoticeKind.RISK, NoticeKind.SUMMARY, NoticeKind.DIGEST)}

    assert first == {Verdict.TELL, Verdict.SUMMARISE, Verdict.SUMMARISE_LATE, Verdict.DIGEST_MISSED}


def test_a_flap_is_the_same_episode_with_one_more_fall() -> None:
    before = recovered()

    after = apply(Verdict.TELL_AGAIN, Kind.RISK, before, change(3, as_of=NOON + 4 * DAY), RULES.flap_window)

    assert after is not None
    assert (after.id, after.flips, after.state, after.opened_at) == (before.id, 1, State.OPEN, before.opened_at)


def test_an_episode_has_the_same_id_in_every_replay_and_another_for_other_accounts() -> None:
    assert episode_id("acme", Kind.RISK, 7) == episode_id("acme", Kind.RISK, 7)
    assert len({episode_id(a, k, s) for a in ("acme", "acme:1", "") for k in Kind for s in (1, 11)}) == 6 * len(Kind)


SEATS = Finding(kind=FindingKind.OPPORTUNITY, code="seats_full", since=NOON.date())
GROWTH = structs.replace(SEATS, code="usage_growing")
FOUND = change(1, Band.GREEN, from_band=Band.GREEN, findings=(SEATS,))
OFFERS = replace(RULES, kinds=frozenset({Kind.OPPORTUNITY}))


def offered(**fields: Any) -> Episode:
    episode = apply(Verdict.TELL, Kind.OPPORTUNITY, None, FOUND, RULES.flap_window)
    assert episode is not None
    return replace(episode, **{"told": True, **fields})


CLOSED: dict[str, Any] = {"state": State.CLOSED, "ended_at": NOON}
SNOOZED: dict[str, Any] = {"state": State.SNOOZED, "until": NOON + 3 * DAY}


@pytest.mark.parametrize(
    ("episode", "findings", "verdict"),
    [
        (None, (SEATS,), Verdict.TELL),
        (None, (), Verdict.NOTHING),
        # The kind was off until now.
        (None, (structs.replace(SEATS, since=NOON.date() - 9 * DAY),), Verdict.SUMMARISE_LATE),
        (offered(), (SEATS,), Verdict.HOLD_OPEN),
        (offered(), (SEATS, GROWTH), Verdict.TELL_MORE),
        (offered(state=State.ACKNOWLEDGED), (SEATS, GROWTH), Verdict.TELL_MORE),
        (offered(**SNOOZED), (SEATS, GROWTH), Verdict.HOLD_OPEN),
        (offered(**SNOOZED, worse_only=True), (SEATS, GROWTH), Verdict.TELL_WORSE),
        (offered(), (), Verdict.PASSED),
        (offered(told=False), (), Verdict.DIGEST_MISSED),
        (offered(**CLOSED), (SEATS,), Verdict.NOTHING),
        (offered(**CLOSED), (SEATS, GROWTH), Verdict.TELL),
        (offered(**CLOSED), (structs.replace(SEATS, since=NOON.date() + 9 * DAY),), Verdict.TELL),
    ],
)
def test_what_the_scorecard_points_out_is_told_when_it_begins(
    episode: Episode | None, findings: tuple[Finding, ...], verdict: Verdict
) -> None:
    now = change(2, Band.GREEN, from_band=Band.GREEN, findings=findings)

    assert decide(Kind.OPPORTUNITY, episode, now, NOON, OFFERS) is verdict
    assert decide(Kind.RISK, None, now, NOON, RULES) is Verdict.NOTHING


def test_news_of_a_red_account_reopens_nothing_that_a_person_closed() -> None:
    deeper = change(2, from_band=Band.RED, score_after=1200)

    assert decide(Kind.RISK, opened(**CLOSED), deeper, NOON, RULES) is Verdict.NOTHING
    assert decide(Kind.RISK, opened(), deeper, NOON, RULES) is Verdict.HOLD_OPEN
    # The record of its return was lost: the news says it all the same.
    later = structs.replace(deeper, as_of=NOON + 4 * DAY)
    assert decide(Kind.RISK, recovered(), later, later.as_of, RULES) is Verdict.TELL_AGAIN
    assert decide(Kind.RISK, opened(**SNOOZED, worse_only=True), deeper, NOON, RULES) is Verdict.TELL_WORSE


bands = st.lists(st.tuples(st.sampled_from(list(Band)), st.sampled_from(list(Cause)), st.integers(0, 40), st.booleans()), max_size=40)


@given(bands)
def test_whatever_happens_at_most_one_episode_is_active_and_told_things_alternate(story: list[tuple[Band, Cause, int, bool]]) -> None:
    episode: Episode | None = None
    now = NOON
    heard: list[NoticeKind] = []
    for number, (band, cause, days, sent) in enumerate(story, 1):
        now += timedelta(days=days)
        new = change(number, band, cause=cause, as_of=now)
        verdict = decide(Kind.RISK, episode, new, now, RULES)
        after = apply(verdict, Kind.RISK, episode, new, RULES.flap_window)
        if verdict in NOTICES:
            heard.append(NOTICES[verdict])
        if after is not None:
            left = sent and verdict in NOTICES
            ended = not after.active
            episode = replace(after, told=after.told or (left and not ended), over_told=after.over_told or (left and ended))
        assert episode is None or episode.active == (new.to_band is Band.RED)

    for first, second in pairwise(heard):
        assert not (first is NoticeKind.RECOVERY and second is NoticeKind.RECOVERY)


TASKS = (Task({"en": "Call"}, NOON.date()), Task({"en": "Meet"}, NOON.date()))
COMMANDS = [
    ("acknowledge", opened(), Command(Act.ACKNOWLEDGE, "hanako"), Answer.DONE, State.ACKNOWLEDGED),
    ("acknowledge twice", opened(state=State.ACKNOWLEDGED), Command(Act.ACKNOWLEDGE, "emma"), Answer.ALREADY, State.ACKNOWLEDGED),
    ("acknowledge too late", recovered(), Command(Act.ACKNOWLEDGE, "hanako"), Answer.OVER, State.RECOVERED),
    ("acknowledge while snoozed", opened(state=State.SNOOZED), Command(Act.ACKNOWLEDGE, "hanako"), Answer.DONE, State.ACKNOWLEDGED),
    ("snooze", opened(), Command(Act.SNOOZE, "hanako", until=NOON + DAY), Answer.DONE, State.SNOOZED),
    ("snooze into the past", opened(), Command(Act.SNOOZE, "hanako", until=NOON), Answer.PAST, State.OPEN),
    ("snooze for ever", opened(), Command(Act.SNOOZE, "hanako", until=NOON + 732 * DAY), Answer.PAST, State.OPEN),
    ("snooze without an end", opened(), Command(Act.SNOOZE, "hanako"), Answer.PAST, State.OPEN),
    ("snooze what is over", recovered(), Command(Act.SNOOZE, "hanako", until=NOON + DAY), Answer.OVER, State.RECOVERED),
    ("reassign", opened(), Command(Act.REASSIGN, "hanako", to="emma"), Answer.DONE, State.OPEN),
    ("reassign what is over", recovered(), Command(Act.REASSIGN, "hanako", to="emma"), Answer.OVER, State.RECOVERED),
    ("close", opened(), Command(Act.CLOSE, "hanako", outcome=Outcome.SAVED), Answer.DONE, State.CLOSED),
    ("close what has recovered, to say why", recovered(), Command(Act.CLOSE, "hanako", outcome=Outcome.SAVED), Answer.DONE, State.CLOSED),
    ("write a note", recovered(), Command(Act.NOTE, "hanako", note="called"), Answer.DONE, State.RECOVERED),
    ("say what the alert was worth", opened(), Command(Act.FEEDBACK, "hanako", feedback=Feedback.USEFUL), Answer.DONE, State.OPEN),
    ("do a step", opened(tasks=TASKS), Command(Act.TASK, "hanako", task=1), Answer.DONE, State.OPEN),
    ("do a step that is not there", opened(tasks=TASKS), Command(Act.TASK, "hanako", task=2), Answer.NO_TASK, State.OPEN),
    ("reopen", opened(state=State.CLOSED), Command(Act.REOPEN, "hanako"), Answer.DONE, State.OPEN),
    ("reopen what is open", opened(), Command(Act.REOPEN, "hanako"), Answer.ALREADY, State.OPEN),
]  # fmt: skip


@pytest.mark.parametrize(("episode", "command", "answer", "state"), [row[1:] for row in COMMANDS], ids=[row[0] for row in COMMANDS])
def test_what_a_person_may_do(episode: Episode, command: Command, answer: Answer, state: State) -> None:
    after, given_answer = act(episode, command, NOON)

    assert (given_answer, after.state) == (answer, state)


@pytest.mark.parametrize("command", [row[2] for row in COMMANDS if row[3] is Answer.DONE and row[2].act is not Act.NOTE])
def test_the_same_command_twice_changes_nothing(command: Command) -> None:
    start = opened(state=State.CLOSED) if command.act is Act.REOPEN else opened(tasks=TASKS)
    once, _ = act(start, command, NOON)

    twice, answer = act(once, command, NOON + DAY / 2)

    assert (twice, answer) == (once, Answer.ALREADY)


def test_rules_can_be_printed() -> None:
    assert "flap_limit=3" in repr(Rules(frozenset(Kind), DAY, 3, DAY))
