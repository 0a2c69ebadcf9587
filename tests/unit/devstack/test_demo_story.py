"""The demo's story: real events, told as calls of an SDK, every one of them once."""

import functools
from collections import Counter
from datetime import UTC, datetime, time, timedelta

from churnsignal_devstack.demo.drive import STEPS
from churnsignal_devstack.demo.story import CSMS, START, read_story

DAYS = 40


@functools.cache
def _told(days: int) -> list[dict[str, object]]:
    """Every call of the replay, asked for step by step as the demo does."""
    story, before, calls = read_story(days=days), datetime.combine(START, time(), UTC), []
    for number in range(days):
        for step in STEPS:
            now = datetime.combine(START + timedelta(days=number), step, UTC)
            calls += story.between(before, now)
            before = now
    return calls


def test_history_and_replay_hold_every_event_of_the_accounts_once() -> None:
    story = read_story(days=DAYS)

    ids = [str(call["messageId"]) for call in story.past()] + [
        str(c["messageId"]) for c in _told(DAYS) if str(c["messageId"]).startswith("e-")
    ]

    assert len(ids) == len(set(ids))
    assert len(ids) >= story.history.height + story.replay.height - 5  # the last second of the last day is not told


def test_no_id_is_used_twice() -> None:
    counts = Counter(str(call["messageId"]) for call in [*read_story(days=DAYS).opening(), *_told(DAYS)])

    assert counts.most_common(1)[0][1] == 1


def test_most_usage_names_no_account_and_each_user_is_linked_once() -> None:
    calls = _told(DAYS)
    usage = [c for c in calls if str(c["messageId"]).startswith("e-")]
    links = [c for c in calls if str(c["messageId"]).startswith("g-")]

    assert 0.75 < sum("context" not in c for c in usage) / len(usage) < 0.85
    assert {c["userId"] for c in links} == {c["userId"] for c in usage}


def test_the_story_is_the_same_every_time() -> None:
    first = _told(10)
    _told.cache_clear()

    assert _told(10) == first


def test_every_failed_payment_is_paid_later_and_falls_on_a_thursday() -> None:
    calls = [c for c in _told(110) if "Payment" in str(c.get("event"))]
    failed = [c for c in calls if c["event"] == "Payment Failed"]
    paid = Counter(c["userId"] for c in calls if c["event"] == "Payment Succeeded")

    assert failed
    assert all(datetime.fromisoformat(str(c["timestamp"])).weekday() == 3 for c in failed)
    assert paid == Counter(c["userId"] for c in failed)


def test_owners_are_people_and_both_languages_and_channels_are_seated() -> None:
    people = {csm["id"] for csm in CSMS}

    assert {account.owner for account in read_story().accounts} == people
    assert {csm["locale"] for csm in CSMS} == {"ja", "en"}
    assert {channel for csm in CSMS for channel in csm["channels"]} == {"slack", "email"}
