"""What follows from an attempt to send."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from churnsignal_alerts.act import Act
from churnsignal_alerts.backoff import BACKOFF, Backoff
from churnsignal_alerts.delivery import UNCONFIGURED, Delivery, Way
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.links import Links, Ticket
from churnsignal_alerts.outcome import Outcome, Refused, Retry, Sent, Unknown
from churnsignal_alerts.settle import Attempt, next_way, settle, settle_broken, settle_edit

from tests.support.alerts import BOTH, HANAKO, NOON, setup

WAY = Way("hanako", "Hanako", Channel.EMAIL, "hanako@example.com")
DELIVERY = Delivery(1, 1, "hanako", "Hanako", Channel.SLACK, "U0HANAKO", "ja", "Asia/Tokyo", 1, NOON, False, False, "ep_1.1")
FRESH = Attempt(12, timedelta(0), WAY, True, False, ("ep_1",))
OLD = replace(FRESH, tried_for=timedelta(minutes=6))
LAST = replace(OLD, way=None)
DEAF = replace(OLD, way_works=False)
OTHERS = Way("pool:catch-all", "catch-all", Channel.SLACK, "#customer-success")

TABLE = [
    ("accepted", Sent("D1:2"), FRESH, "sent", "sent", None),
    ("accepted, perhaps twice", Sent("D1:2"), replace(FRESH, possible_duplicate=True), "sent", "sent possible_duplicate", None),
    ("refused for good", Refused("channel_not_found"), FRESH, "moved", "moved", WAY),
    ("refused for good, nothing behind it", Refused("relay answered 550"), LAST, "failed", "failed", None),
    ("by a channel that was taken out", Refused(UNCONFIGURED), FRESH, "moved", "moved", WAY),
    ("by a channel that was taken out, nothing behind it", Refused(UNCONFIGURED), LAST, "retry", "retry", None),
    ("busy", Retry("ratelimited", 30.0), FRESH, "retry", "retry", None),
    ("busy for too long", Retry("ratelimited", 30.0), OLD, "moved", "moved", WAY),
    ("busy for too long, nothing behind it", Retry("relay answered 421", 60.0), LAST, "retry", "retry", None),
    ("busy for too long, and the other way is down too", Retry("ratelimited"), DEAF, "retry", "retry", None),
    ("greylisted, and only other people behind it", Retry("relay answered 451", 60.0), replace(OLD, way=OTHERS), "retry", "retry", None),
    (
        "away for an hour, other people behind it",
        Retry("relay"),
        replace(OLD, way=OTHERS, tried_for=timedelta(hours=1)),
        "moved",
        "moved",
        OTHERS,
    ),
    ("refused for good while the other way is down", Refused("is_archived"), DEAF, "moved", "moved", WAY),
    ("no answer", Unknown("no answer"), FRESH, "retry", "unknown", None),
    ("no answer for too long", Unknown("no answer"), OLD, "moved", "moved", WAY),
]


@pytest.mark.parametrize(("outcome", "attempt", "state", "word", "way"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_follows(outcome: Outcome, attempt: Attempt, state: str, word: str, way: Way | None) -> None:
    record = settle(DELIVERY, outcome, attempt, BACKOFF)

    assert (record.state, record.outcome, record.reroute) == (state, word, way)
    assert (record.wait is not None) == (state == "retry")


def test_the_provider_is_never_asked_sooner_than_it_said() -> None:
    record = settle(DELIVERY, Retry("ratelimited", 30.0), FRESH, BACKOFF)

    assert record.wait == timedelta(seconds=30)
    assert record.pause_s == 30.0


def test_waits_double_up_to_a_bound() -> None:
    policy = Backoff(timedelta(seconds=1), timedelta(minutes=10), timedelta(minutes=5), timedelta(hours=1))

    waits = [policy.wait(attempts, None).total_seconds() for attempts in (1, 2, 3, 11, 1000)]

    assert waits == [1, 2, 4, 600, 600]


def test_once_unknown_a_message_stays_unknown_until_it_is_found_or_sent() -> None:
    assert settle(replace(DELIVERY, unknown=True), Retry("cannot connect"), FRESH, BACKOFF).unknown
    assert not settle(replace(DELIVERY, unknown=True), Sent("x"), FRESH, BACKOFF).unknown


def test_a_message_that_breaks_our_own_code_is_tried_some_times_and_then_seen_to_fail() -> None:
    assert settle_broken(DELIVERY, "KeyError", BACKOFF).state == "retry"
    assert settle_broken(replace(DELIVERY, attempts=5), "KeyError", BACKOFF).state == "failed"


@pytest.mark.parametrize(
    ("outcome", "hours", "state", "word"),
    [
        (Sent("x"), 0, "sent", "edited"),
        (Refused("message_not_found"), 0, "cancelled", "cancelled"),
        (Retry("busy"), 6, "retry", "retry"),
        (Unknown("?"), 6, "retry", "unknown"),
        (Retry("busy"), 24, "cancelled", "cancelled"),
        (Unknown("?"), 24, "cancelled", "cancelled"),
    ],
)
def test_an_edit_that_cannot_be_made_is_missed_by_nobody(outcome: Outcome, hours: int, state: str, word: str) -> None:
    record = settle_edit(DELIVERY, outcome, 5, timedelta(hours=hours), BACKOFF)

    assert (record.state, record.outcome, record.reroute, record.episodes) == (state, word, None, ())


@pytest.mark.parametrize(
    ("delivery", "usable", "expected"),
    [
        (DELIVERY, BOTH, ("hanako", "email")),
        (replace(DELIVERY, channel=Channel.EMAIL, address="hanako@example.com"), BOTH, ("pool:catch-all", "slack")),
        (DELIVERY, frozenset({Channel.SLACK}), ("pool:catch-all", "slack")),
        (replace(DELIVERY, recipient="pool:catch-all", address="#customer-success"), BOTH, ("pool:catch-all", "email")),
        (replace(DELIVERY, recipient="pool:catch-all", channel=Channel.EMAIL), BOTH, None),
        (replace(DELIVERY, recipient="gone"), BOTH, ("pool:catch-all", "slack")),
        (DELIVERY, frozenset({Channel.EMAIL}), ("hanako", "email")),
        (replace(DELIVERY, channel=Channel.EMAIL, address="hanako@example.com"), frozenset({Channel.SLACK}), ("hanako", "slack")),
        (replace(DELIVERY, recipient="pool:catch-all", channel=Channel.EMAIL), frozenset({Channel.SLACK}), ("pool:catch-all", "slack")),
        (replace(DELIVERY, channel=Channel.EMAIL, address="hanako@example.com"), frozenset({Channel.WEBHOOK}), None),
    ],
)
def test_the_next_way(delivery: Delivery, usable: frozenset[Channel], expected: tuple[str, str] | None) -> None:
    way = next_way(delivery, setup([HANAKO], channels=usable))

    assert (way and (way.recipient, way.channel.value)) == expected


TICKET = Ticket(Act.ACKNOWLEDGE, "ep_abc", "hanako", datetime(2026, 12, 1, tzinfo=UTC))


def token(links: Links) -> str:
    return links.url(TICKET).rsplit("/", 1)[1]


def test_a_link_says_what_it_allows_until_it_expires() -> None:
    links = Links(["new", "old"], "https://alerts.example.com/")

    assert links.url(TICKET).startswith("https://alerts.example.com/a/")
    assert links.read(token(links), NOON) == TICKET
    assert links.read(token(links), TICKET.expires + timedelta(seconds=1)) is None


def test_keys_can_be_rotated() -> None:
    before, after, later = Links(["old"], ""), Links(["new", "old"], ""), Links(["new"], "")

    assert after.read(token(before), NOON) == TICKET
    assert later.read(token(after), NOON) == TICKET
    assert later.read(token(before), NOON) is None


def test_a_forged_link_is_nothing() -> None:
    links = Links(["key"], "")
    good = token(links)

    for bad in ("", "x", good[:-1], good + "a", "a" + good, good.replace(".", "", 1), "é" * 50, good[: len(good) // 2]):
        assert links.read(bad, NOON) is None
    assert Links([], "").read(good, NOON) is None
    assert not Links([], "").on
