"""What is not told for now, and who has an episode while people come and go."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from churnsignal_alerts.act import Act, Command
from churnsignal_alerts.episodes import Episode, Kind, NoticeKind, State
from churnsignal_alerts.explain import explain
from churnsignal_alerts.hours import ALWAYS
from churnsignal_alerts.mute import Matcher, Silence, mute
from churnsignal_alerts.plan import (
    Plan,
    Scene,
    plan_away,
    plan_change,
    plan_command,
    plan_due,
    plan_heard,
    plan_moved,
    plan_profile,
)
from churnsignal_alerts.policy_file import default_text, parse_policy
from churnsignal_alerts.route import Setup, absent
from churnsignal_alerts.watchdog import synthetic
from churnsignal_common.contracts.risk import AccountProfile, Band, SilentSource
from churnsignal_common.document import ConfigError
from msgspec.structs import replace as with_fields

from tests.support.alerts import BOTH, EMMA, HANAKO, NOON, change, opened, recovered, setup

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
OWNER = replace(HANAKO, hours=ALWAYS, country=None)
OTHER = replace(EMMA, hours=ALWAYS, country=None)
AWAY = replace(OWNER, delegate="emma", away_from=date(2026, 11, 20), away_until=date(2026, 11, 27))
QUIET = Silence(7, Matcher(account="acme"), "emma", "their office moves", NOON - HOUR, NOON + 3 * DAY)
CHILD: dict[str, Any] = {"profile_owner": "hanako", "profile_parent": "holding"}


def silent(*silences: Silence) -> Setup:
    return replace(setup([OWNER, OTHER]), silences=silences)


def told(scene: Scene, episode: Episode | None = None, **fields: Any) -> Plan:
    plans, _ = plan_change(change(**fields), {} if episode is None else {Kind.RISK: episode}, scene)
    return plans[0]


def heard(plan: Plan | None) -> list[tuple[str, NoticeKind]]:
    return [(notice.recipient.id, notice.kind) for notice in plan.notices] if plan else []


OUTAGE: dict[str, Any] = {"profile_owner": "hanako", "profile_silent_sources": (SilentSource("web", NOON),)}


def test_a_silent_source_mutes_what_silence_may_explain_and_not_a_fact() -> None:
    scene = Scene(silent(), NOON)

    quiet, fact = told(scene, **OUTAGE), told(scene, knockout="payment_failed", **OUTAGE)

    assert (heard(quiet), quiet.episode.muted, quiet.entries[-1].what) == ([], "outage:web", "muted")
    assert heard(fact) == [("hanako", NoticeKind.RISK)]


def test_of_a_paused_account_nobody_is_reminded_until_it_goes_on() -> None:
    people = silent()
    start = replace(told(Scene(people, NOON), profile_owner="hanako").episode, told=True)
    paused = with_fields(start.change.account, lifecycle="paused")

    quiet = plan_profile(start, paused, Scene(people, NOON))
    assert quiet is not None
    looked_at = plan_due(quiet.episode, Scene(people, NOON + 2 * DAY))
    goes_on = plan_profile(quiet.episode, with_fields(paused, lifecycle="active"), Scene(people, NOON + 2 * DAY))
    assert goes_on is not None
    afterwards = plan_due(goes_on.episode, Scene(people, NOON + 2 * DAY))

    assert (quiet.episode.muted, quiet.cancel, heard(quiet), heard(looked_at)) == ("paused", True, [], [])
    assert plan_profile(quiet.episode, paused, Scene(people, NOON)) is None
    assert heard(afterwards) == [("hanako", NoticeKind.SUMMARY)]


def test_an_outage_mutes_what_is_open_once_and_its_end_tells_all_in_one_summary() -> None:
    episode = told(Scene(silent(), NOON), profile_owner="hanako").episode
    frozen = with_fields(episode.change.account, silent_sources=OUTAGE["profile_silent_sources"])

    muted = plan_heard(episode, frozen, Scene(silent(), NOON + HOUR))
    assert muted is not None
    again = plan_heard(muted.episode, frozen, Scene(silent(), NOON + 2 * HOUR))
    thawed = plan_heard(muted.episode, episode.change.account, Scene(silent(), NOON + DAY))
    assert thawed is not None
    back = plan_due(thawed.episode, Scene(silent(), NOON + DAY))

    assert (muted.episode.muted, muted.cancel, again) == ("outage:web", True, None)
    assert heard(back) == [("hanako", NoticeKind.SUMMARY)]


def test_asked_beforehand_each_kind_says_where_and_when_it_would_be_told() -> None:
    text = default_text().replace("pools: {}", "pools:\n  watch: {slack: '#watch'}").replace(
        "  renewal: false", "  renewal: {pool: watch, digest: true}"
    )  # fmt: skip
    who = setup([OWNER], parse_policy(text, "r.yaml"))
    profile = AccountProfile(account="acme", owner="hanako")

    told = {kind: explain(profile, kind, Scene(who, NOON)) for kind in Kind}

    assert {kind: one["recipient"] for kind, one in told.items() if one["on"]} == {Kind.RISK: "hanako", Kind.RENEWAL: "pool:watch"}
    assert (told[Kind.RENEWAL]["digest"], told[Kind.RENEWAL]["told_at"]) == (True, "2026-11-23T09:00:00+00:00")
    assert told[Kind.OPPORTUNITY]["recipient"] == "hanako"


PROFILE = AccountProfile(account="acme-tokyo", segment="mid-market", owner="hanako@example.com")


@pytest.mark.parametrize(
    ("matcher", "fits"),
    [
        (Matcher(account="acme-tokyo"), True),
        (Matcher(account="acme-*"), True),
        (Matcher(account="acme"), False),
        (Matcher(segment="Mid-Market"), True),
        (Matcher(owner="hanako@*", kind=Kind.RISK), True),
        (Matcher(kind=Kind.EARLY_WARNING), False),
        (Matcher(segment="mid-market", owner="emma"), False),
    ],
)
def test_a_silence_covers_what_fits_everything_it_names(matcher: Matcher, fits: bool) -> None:
    assert matcher.fits(Kind.RISK, PROFILE) is fits


def test_the_proof_that_alerts_arrive_cannot_be_silenced() -> None:
    everything = replace(QUIET, matcher=Matcher(account="*", kind=Kind.RISK))

    assert mute(Kind.RISK, synthetic(1, NOON).account, [everything], frozenset(), NOON) is None


def test_a_pattern_means_the_same_to_postgres() -> None:
    matcher = Matcher(account=r"A*b?_%\c[1]", kind=Kind.EARLY_WARNING)

    assert matcher.likes() == {"account": r"a%b_\_\%\\c[1]", "segment": "%", "owner": "%", "kind": r"early\_warning"}
    assert matcher.fits(Kind.EARLY_WARNING, change(profile_account=r"aXXbY_%\C[1]").account)


def test_a_silence_mutes_from_its_making_to_its_end_and_the_longest_counts() -> None:
    longer = replace(QUIET, id=8, ends_at=NOON + 5 * DAY)
    acme = AccountProfile(account="acme")

    assert mute(Kind.RISK, acme, [QUIET], frozenset(), NOON - 2 * HOUR) is None
    assert mute(Kind.RISK, acme, [QUIET], frozenset(), QUIET.ends_at) is None
    found = mute(Kind.RISK, acme, [QUIET, longer], frozenset(), NOON)
    assert found is not None
    assert (found.by, found.until) == ("silence:8", NOON + 5 * DAY)


def test_a_silenced_fall_is_on_the_timeline_and_told_as_a_line_when_the_silence_ends() -> None:
    first = told(Scene(silent(QUIET), NOON), profile_owner="hanako")

    later = plan_due(first.episode, Scene(silent(QUIET), QUIET.ends_at))

    assert heard(first) == []
    assert [entry.what for entry in first.entries] == ["opened", "muted"]
    assert "their office moves" in first.entries[1].why
    assert (first.episode.muted, first.episode.next_at) == ("silence:7", QUIET.ends_at)
    assert heard(later) == [("hanako", NoticeKind.SUMMARY)]
    assert later is not None
    assert later.episode.muted == ""


def test_what_recovers_in_silence_ends_without_a_word_and_what_was_told_before_ends_with_one() -> None:
    unheard = told(Scene(silent(QUIET), NOON), profile_owner="hanako").episode
    better: dict[str, Any] = {"sequence": 2, "to": Band.GREEN, "from_band": Band.RED, "profile_owner": "hanako", "as_of": NOON + DAY}

    assert heard(told(Scene(silent(QUIET), NOON + DAY), unheard, **better)) == []
    assert heard(told(Scene(silent(QUIET), NOON + DAY), opened(), **better)) == [("hanako", NoticeKind.RECOVERY)]


def test_whatever_a_silence_made_void_its_end_is_one_line_and_no_step_is_left_out() -> None:
    # The manager's notice may have waited for their opening.
    due = opened(next_at=NOON, rung=2)

    muted = plan_due(due, Scene(silent(QUIET), NOON))
    assert muted is not None
    again = plan_due(muted.episode, Scene(silent(), QUIET.ends_at))
    assert again is not None
    reminded = plan_due(again.episode, Scene(silent(), again.episode.next_at or NOON))

    assert (heard(muted), muted.cancel, muted.episode.rung) == ([], True, 0)
    assert (heard(again), again.episode.rung, again.episode.muted) == ([("hanako", NoticeKind.SUMMARY)], 0, "")
    assert (heard(reminded), reminded and reminded.episode.rung) == ([("hanako", NoticeKind.NUDGE)], 1)


def test_a_second_fall_and_a_new_csm_that_a_silence_kept_back_are_told_after_it() -> None:
    again = told(Scene(silent(QUIET), NOON), recovered(csm="hanako"), sequence=3, as_of=NOON, profile_owner="hanako")
    moved = plan_moved(opened(), with_fields(opened().change.account, owner="emma"), Scene(silent(QUIET), NOON))
    assert moved is not None

    after = Scene(silent(), QUIET.ends_at)

    assert (heard(again), heard(plan_due(again.episode, after))) == ([], [("hanako", NoticeKind.SUMMARY)])
    assert (heard(moved), heard(plan_due(moved.episode, after))) == ([], [("emma", NoticeKind.SUMMARY)])


def test_a_note_on_what_is_muted_leaves_the_time_at_which_it_is_looked_at_again() -> None:
    muted = opened(muted="silence:7", next_at=QUIET.ends_at, rung=3)

    noted, _ = plan_command(muted, Command(Act.NOTE, "emma", note="known"), silent(QUIET), NOON)

    assert noted is not None
    assert (noted.episode.muted, noted.episode.next_at) == ("silence:7", QUIET.ends_at)


def test_a_snooze_that_ends_in_a_silence_is_told_after_it() -> None:
    asleep = opened(state=State.SNOOZED, until=NOON, next_at=NOON)

    woken = plan_due(asleep, Scene(silent(QUIET), NOON))

    assert woken is not None
    assert (heard(woken), woken.episode.state, woken.episode.next_at) == ([], State.OPEN, QUIET.ends_at)
    assert heard(plan_due(woken.episode, Scene(silent(), QUIET.ends_at))) == [("hanako", NoticeKind.SUMMARY)]


def test_a_red_parent_mutes_its_children_until_it_recovers() -> None:
    muted = told(Scene(setup([OWNER, OTHER]), NOON, frozenset({"holding"})), **CHILD)

    still = plan_due(muted.episode, Scene(setup([OWNER, OTHER]), NOON + DAY, frozenset({"holding"})))
    assert still is not None
    free = plan_due(still.episode, Scene(setup([OWNER, OTHER]), still.episode.next_at or NOON))

    assert (heard(muted), muted.episode.muted, heard(still), still.entries) == ([], "parent:holding", [], ())
    assert heard(free) == [("hanako", NoticeKind.SUMMARY)]
    assert heard(told(Scene(setup([OWNER, OTHER]), NOON), **CHILD)) == [("hanako", NoticeKind.RISK)]


def test_leave_moves_an_open_episode_to_the_delegate_and_the_return_moves_it_back_each_side_told_once() -> None:
    here, away = setup([OWNER, OTHER]), setup([AWAY, OTHER])
    start = opened(csm="hanako", fall=change(profile_owner="hanako"), change=change(profile_owner="hanako"))

    gone = plan_away(start, Scene(away, NOON))
    assert gone is not None
    back = plan_away(gone.episode, Scene(here, NOON + 9 * DAY))

    assert heard(gone) == [("emma", NoticeKind.MOVED), ("hanako", NoticeKind.HANDED)]
    assert gone.notices[1].due_at == NOON.replace(day=27, hour=15)  # midnight in Tokyo after the last day of leave
    assert (gone.episode.csm, gone.episode.stands_for) == ("emma", "hanako")
    assert plan_away(gone.episode, Scene(away, NOON)) is None
    assert heard(back) == [("hanako", NoticeKind.MOVED), ("emma", NoticeKind.HANDED)]
    assert plan_away(start, Scene(here, NOON)) is None


def test_a_stand_in_who_is_at_it_goes_on_when_the_owner_returns() -> None:
    working = opened(csm="emma", stands_for="hanako", state=State.ACKNOWLEDGED, change=change(profile_owner="hanako"))

    assert plan_away(working, Scene(setup([OWNER, OTHER]), NOON)) is None


def test_what_somebody_worked_on_waits_for_their_stand_in_when_they_go() -> None:
    working = opened(csm="hanako", state=State.ACKNOWLEDGED, change=change(profile_owner="hanako"))

    moved = plan_away(working, Scene(setup([AWAY, OTHER]), NOON))

    assert moved is not None
    assert (moved.episode.state, moved.edit) == (State.OPEN, True)
    assert heard(moved) == [("emma", NoticeKind.MOVED), ("hanako", NoticeKind.HANDED)]


def test_whom_a_person_chose_is_stood_in_for_too() -> None:
    chosen = opened(csm="hanako", pinned=True, change=change(profile_owner="somebody"))

    moved = plan_away(chosen, Scene(setup([AWAY, OTHER]), NOON))
    assert moved is not None

    assert heard(moved) == [("emma", NoticeKind.MOVED), ("hanako", NoticeKind.HANDED)]
    assert heard(plan_away(moved.episode, Scene(setup([OWNER, OTHER]), NOON))) == [
        ("hanako", NoticeKind.MOVED),
        ("emma", NoticeKind.HANDED),
    ]


def test_a_new_owner_and_a_reassignment_are_told_to_both_sides() -> None:
    start = opened(csm="hanako", fall=change(profile_owner="hanako"), change=change(profile_owner="hanako"))
    both = [("emma", NoticeKind.MOVED), ("hanako", NoticeKind.HANDED)]

    moved = plan_moved(start, with_fields(start.change.account, owner="emma"), Scene(setup([OWNER, OTHER]), NOON))
    reassigned, _ = plan_command(start, Command(Act.REASSIGN, "boss", to="emma"), setup([OWNER, OTHER]), NOON)

    assert heard(moved) == both
    assert heard(reassigned) == both


def test_an_episode_that_nobody_heard_of_moves_without_a_farewell() -> None:
    moved = plan_away(opened(csm="hanako", told=False, change=change(profile_owner="hanako")), Scene(setup([AWAY, OTHER]), NOON))

    assert heard(moved) == [("emma", NoticeKind.RISK)]


def test_who_is_absent_is_counted_in_their_own_days() -> None:
    people = setup([AWAY, OTHER, replace(OTHER, id="gone", active=False)])

    assert absent(people, NOON) == (["gone", "hanako"], ["emma"])


ROUTED = default_text().replace("segments: {}", "segments: {mid-market: {slack: '#mid'}}")


def test_a_tier_and_a_kind_may_go_to_a_pool() -> None:
    text = ROUTED.replace("tiers: {}", "tiers: {low: pool, high: person}").replace("pools: {}", "pools: {watch: {slack: '#watch'}}")
    policy = parse_policy(text.replace("early_warning: false", "early_warning: {pool: watch}"), "routing.yaml")
    people = Setup(setup([OWNER]).directory, policy, BOTH)
    yellow, _ = plan_change(change(1, Band.YELLOW, from_band=Band.GREEN, profile_owner="hanako"), {}, Scene(people, NOON))

    assert heard(told(Scene(people, NOON), profile_owner="hanako", profile_tier="Low")) == [("pool:mid-market", NoticeKind.RISK)]
    assert heard(told(Scene(people, NOON), profile_owner="hanako", profile_tier="high")) == [("hanako", NoticeKind.RISK)]
    assert heard(yellow[0]) == [("pool:watch", NoticeKind.RISK)]


def test_what_goes_to_the_pool_of_its_kind_stays_there_under_a_new_owner_and_leaves_it_for_whom_a_person_chooses() -> None:
    text = ROUTED.replace("pools: {}", "pools: {watch: {slack: '#watch'}}").replace("early_warning: false", "early_warning: {pool: watch}")
    people = Setup(setup([OWNER, OTHER]).directory, parse_policy(text, "routing.yaml"), BOTH)
    warned = plan_change(change(1, Band.YELLOW, from_band=Band.GREEN, profile_owner="hanako"), {}, Scene(people, NOON))[0][0].episode
    warned = replace(warned, told=True)

    owned = plan_moved(warned, with_fields(warned.change.account, owner="emma"), Scene(people, NOON))
    chosen, _ = plan_command(warned, Command(Act.REASSIGN, "hanako", to="emma"), people, NOON)

    assert owned is not None
    assert (owned.notices, owned.episode.csm) == ((), "pool:watch")
    assert chosen is not None
    assert heard(chosen)[:1] == [("emma", NoticeKind.MOVED)]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("early_warning: false", "early_warning: {pool: nowhere}", "no pool 'nowhere'"),
        ("pools: {}", "pools: {mid-market: {slack: '#x'}}", "a segment has this name"),
        ("tiers: {}", "tiers: {low: nobody}", "'nobody' is not one of"),
        ("pools: {}", "pools: {empty: {locale: en}}", "nobody to go to"),
        ("after_hours: 18", "after_hours: 0", "less than or equal to the minimum"),
    ],
)
def test_a_document_that_could_leave_an_alert_with_nobody_is_refused(old: str, new: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(ROUTED.replace(old, new), "routing.yaml")

    assert word in str(caught.value)


def test_explaining_says_what_would_keep_an_alert_from_being_told() -> None:
    quiet = explain(AccountProfile(account="acme", owner="hanako"), Kind.RISK, Scene(silent(QUIET), NOON))
    off = explain(AccountProfile(account="other", owner="hanako"), Kind.EARLY_WARNING, Scene(silent(QUIET), NOON))

    assert "their office moves" in quiet["muted"]
    assert (quiet["recipient"], quiet["on"]) == ("hanako", True)
    assert (off["muted"], off["on"]) == (None, False)
