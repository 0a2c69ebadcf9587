"""Who is told, when and why; never nobody."""

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import msgspec
import pytest
from churnsignal_alerts.directory import Channel, Csm, directory_of
from churnsignal_alerts.hours import ALWAYS
from churnsignal_alerts.policy import Policy, Pool, Touch, Urgent
from churnsignal_alerts.route import Routed, Setup, due, is_urgent, priority, route, superior
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.contracts.examples import PROFILE
from churnsignal_common.contracts.risk import AccountProfile
from hypothesis import given
from hypothesis import strategies as st

from tests.support.alerts import BOTH, EMMA, HANAKO, NOON, POLICY, change

POOLS = replace(POLICY, pools={"mid-market": Pool("mid-market", "#cs-mid", "mid@example.com", Locale.JA)})
TODAY = date(2026, 11, 20)
BOSS = Csm("boss", "The Boss", "boss@example.com", "U0BOSS")
SLACK_ONLY = frozenset({Channel.SLACK})
MAIL_ONLY = frozenset({Channel.EMAIL})


def told(people: list[Csm], owner: str | None, policy: Policy = POOLS, channels: frozenset[Channel] = BOTH) -> Routed:
    return route(msgspec.structs.replace(PROFILE, owner=owner), Setup(directory_of(people), policy, channels), NOON)


def test_a_tier_of_machines_goes_to_a_webhook_of_its_segment_else_of_the_catch_all_and_never_to_nobody() -> None:
    touch = replace(POOLS, tiers={"high": Touch.WEBHOOK})
    catch_all = replace(touch, catch_all=replace(POLICY.catch_all, webhook="https://hooks.example.com/all"))
    segment = replace(catch_all, pools={"mid-market": replace(POOLS.pools["mid-market"], webhook="https://hooks.example.com/mid")})

    found = [told([HANAKO], "hanako", policy).recipient for policy in (segment, catch_all, touch)]

    assert [(one.id, one.ways[0][0]) for one in found] == [
        ("pool:mid-market", Channel.WEBHOOK), ("pool:catch-all", Channel.WEBHOOK), ("pool:mid-market", Channel.SLACK)
    ]  # fmt: skip
    assert superior(PROFILE, "hanako", Setup(directory_of([HANAKO]), segment, BOTH), NOON).recipient.ways == found[0].ways


AWAY = replace(HANAKO, away_from=TODAY, away_until=TODAY)
TABLE = [
    ("the owner by id", [HANAKO], "hanako", "hanako"),
    ("the owner by e-mail, whatever the case", [HANAKO], " Hanako@Example.com ", "hanako"),
    ("the delegate while away", [replace(AWAY, delegate="emma"), EMMA], "hanako", "emma"),
    ("the delegate's delegate", [replace(AWAY, delegate="emma"), replace(EMMA, away_from=TODAY, delegate="boss"), BOSS], "hanako", "boss"),
    ("the manager when there is no delegate", [replace(AWAY, manager="boss"), BOSS], "hanako", "boss"),
    ("the manager when the delegate is away too", [replace(AWAY, delegate="emma", manager="boss"), replace(EMMA, away_from=TODAY), BOSS], "hanako", "boss"),
    ("the manager of somebody deactivated", [replace(HANAKO, active=False, manager="boss"), BOSS], "hanako", "boss"),
    ("the pool when delegates go in a ring", [replace(AWAY, delegate="emma"), replace(EMMA, away_from=TODAY, delegate="hanako")], "hanako", "pool:mid-market"),
    ("the pool without an owner", [HANAKO], None, "pool:mid-market"),
    ("the pool for an unknown owner", [HANAKO], "somebody@example.com", "pool:mid-market"),
    ("the pool when the owner has no address", [replace(HANAKO, email=None, slack=None)], "hanako", "pool:mid-market"),
]  # fmt: skip


@pytest.mark.parametrize(("people", "owner", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_chain(people: list[Csm], owner: str | None, expected: str) -> None:
    assert told(people, owner).recipient.id == expected


def test_the_catch_all_takes_what_nobody_takes_and_says_why() -> None:
    routed = told([], "hanako", POLICY)

    assert routed.recipient.id == "pool:catch-all"
    assert [(step.rule, step.taken) for step in routed.steps] == [("owner", False), ("segment", False), ("catch-all", True)]
    assert routed.why == "catch-all: nobody else could be reached"


def test_back_from_leave_the_owner_is_told_again() -> None:
    back = replace(HANAKO, away_from=TODAY - timedelta(days=9), away_until=TODAY - timedelta(days=1), delegate="emma")

    assert told([back, EMMA], "hanako").recipient.id == "hanako"


def test_leave_is_counted_in_the_days_of_the_person() -> None:
    # 12:00 UTC on the 20th is already the 21st in Kiritimati.
    far = replace(HANAKO, zone="Pacific/Kiritimati", away_from=TODAY, away_until=TODAY, delegate="emma")

    assert told([far, EMMA], "hanako").recipient.id == "hanako"


@pytest.mark.parametrize(
    ("csm", "channels", "expected"),
    [
        (HANAKO, BOTH, ("slack",)),
        (replace(HANAKO, channels=(Channel.SLACK, Channel.EMAIL)), BOTH, ("slack", "email")),
        (HANAKO, MAIL_ONLY, ("email",)),
        (replace(HANAKO, channels=(Channel.EMAIL,)), SLACK_ONLY, ("slack",)),
        (replace(HANAKO, slack=None), BOTH, ("email",)),
    ],
)
def test_a_preference_that_cannot_be_met_silences_nobody(csm: Csm, channels: frozenset[Channel], expected: tuple[str, ...]) -> None:
    assert tuple(channel.value for channel, _ in told([csm], "hanako", channels=channels).recipient.ways) == expected


@given(
    st.lists(
        st.builds(
            Csm, id=st.sampled_from("abcd"), name=st.just("N"), email=st.sampled_from([None, "a@b.c"]), slack=st.sampled_from([None, "U1"]),
            delegate=st.sampled_from([None, *"abcd"]), manager=st.sampled_from([None, *"abcd"]), active=st.booleans(),
            away_from=st.sampled_from([None, TODAY]), channels=st.sampled_from([(), (Channel.SLACK,), (Channel.EMAIL,)]),
        )
    ),
    st.sampled_from([None, *"abcde"]), st.sampled_from([None, "mid-market", "none"]), st.sampled_from([frozenset(), SLACK_ONLY, MAIL_ONLY, BOTH]),
)  # fmt: skip
def test_there_is_always_somebody_with_an_address(
    people: list[Csm], owner: str | None, segment: str | None, channels: frozenset[Channel]
) -> None:
    profile = AccountProfile(account="x", owner=owner, segment=segment)

    routed = route(profile, Setup(directory_of(people), POOLS, channels), NOON)

    assert routed.recipient.ways
    assert all(address for _, address in routed.recipient.ways)
    assert sum(step.taken for step in routed.steps) == 1


def test_an_alert_waits_for_the_opening_unless_it_is_urgent() -> None:
    owner = told([HANAKO], "hanako").recipient  # 21:00 on a Friday in Tokyo, Monday is a holiday
    tuesday = datetime(2026, 11, 24, 9, tzinfo=timezone(timedelta(hours=9)))

    assert due(owner, NOON, urgent=False) == tuesday
    assert due(owner, NOON, urgent=True) == NOON
    assert due(told([replace(HANAKO, hours=ALWAYS, country=None)], "hanako").recipient, NOON, urgent=False) == NOON


@pytest.mark.parametrize(
    ("urgent", "expected"),
    [
        (Urgent(None, None, frozenset()), False),
        (Urgent(1_000_000, None, frozenset()), True),
        (Urgent(2_000_000, None, frozenset()), False),
        (Urgent(None, 131, frozenset()), True),
        (Urgent(None, 130, frozenset()), False),
        (Urgent(None, None, frozenset({"cancelled"})), True),
    ],
)
def test_what_is_urgent_is_configured(urgent: Urgent, expected: bool) -> None:
    one = change(knockout="cancelled")

    assert is_urgent(one.account, one.knockout, one.as_of.date(), replace(POLICY, urgent=urgent)) is expected


def test_more_money_a_lower_score_a_nearer_renewal_and_longer_silence_of_ours_come_first() -> None:
    recent = NOON - timedelta(days=2)
    plain = priority(change(), recent)

    assert priority(change(profile_arr=2_400_000.0), recent) > plain
    assert priority(change(score_after=100), recent) > plain
    assert priority(change(profile_renewal_on=date(2026, 12, 1)), recent) > plain
    assert priority(change(profile_renewal_on=None), recent) < plain
    assert 0 < priority(change(profile_arr=None), recent) < plain
    assert priority(change(), None) == priority(change(), NOON - timedelta(days=400)) > priority(change(), NOON - timedelta(days=9)) > plain
