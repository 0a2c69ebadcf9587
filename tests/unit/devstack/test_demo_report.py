"""The demo's report: books that add up are ok, and each kind of broken promise is named."""

from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from churnsignal_common.contracts.examples import CHANGE
from churnsignal_common.contracts.risk import Band, Cause, RiskChanged, risk_event
from churnsignal_devstack.demo.books import Sent
from churnsignal_devstack.demo.report import Notice, Seen, build, p99

NOON = datetime(2018, 3, 1, 12, tzinfo=UTC)


def change(sequence: int, before: Band | None, after: Band, **more: Any) -> tuple[float, Any]:
    told: RiskChanged = msgspec.structs.replace(CHANGE, sequence=sequence, from_band=before, to_band=after, as_of=NOON, **more)
    return 1.0, risk_event(told)


def books() -> Sent:
    ids = {f"m-{n}" for n in range(10)}
    return Sent(sent=set(ids), accepted=set(ids))


def seen() -> Seen:
    """Everything as it should be: ten calls, one account red by silence, told once by each channel."""
    return Seen(
        changes=[
            change(1, None, Band.YELLOW, cause=Cause.FIRST),
            change(2, Band.YELLOW, Band.RED, cause=Cause.CLOSE, last_seen=date(2018, 2, 1)),
        ],
        messages=[{"kind": "slack"}, {"kind": "email"}],
        notices=[Notice("ep-1", "slack", "risk")],
        red_episodes={"ep-1"},
        on_topics={f"m-{n}" for n in range(10)},
        outcomes=Counter(applied=8, duplicate=1, parked=1),
        accounts=1,
    )


def problems(found: Seen, sent: Sent | None = None, days: int = 120) -> list[str]:
    report = build(found, sent or books(), 1.0, days)
    assert report["ok"] == (not report["problems"])
    return list(report["problems"])


def test_books_that_add_up_are_ok() -> None:
    report = build(seen(), books(), 61.04, 120)

    assert (report["ok"], report["problems"], report["seconds"]) == (True, [], 61.0)
    assert report["events"] == {
        "sent": 10, "accepted": 10, "suppressed": 0, "rejected": 0, "applied": 8, "duplicate": 1, "conflict": 0, "ignored": 0, "parked": 1, "dead": 0,
    }  # fmt: skip
    assert report["changes"] == {"red": 1, "yellow": 1, "green": 0, "grey": 0}
    assert report["notices"] == {"slack": 1, "email": 1}


def test_an_accepted_call_that_is_on_no_topic_is_found() -> None:
    found = seen()
    found.on_topics.discard("m-3")

    assert problems(found) == ["1 accepted calls are on no topic, such as m-3"]


@pytest.mark.parametrize("off", [{"applied": 7}, {"applied": 9}, {"dead": 1}])
def test_a_call_that_is_not_accounted_for_is_found(off: dict[str, int]) -> None:
    found = seen()
    found.outcomes.update(off) if "dead" in off else found.outcomes.__setitem__("applied", off["applied"])

    assert "accepted 10 but" in problems(found)[0]


def test_a_gap_in_an_accounts_changes_is_found() -> None:
    found = seen()
    found.changes.append(change(4, Band.RED, Band.YELLOW))

    assert "have a gap" in problems(found)[0]


def test_a_change_that_does_not_start_where_the_last_one_ended_is_found() -> None:
    found = seen()
    found.changes.append(change(3, Band.GREEN, Band.YELLOW))

    assert "starts from green, not from red" in problems(found)[0]


def test_a_change_that_was_published_twice_is_no_problem() -> None:
    found = seen()
    found.changes.append(found.changes[-1])

    assert problems(found) == []


def test_an_episode_told_to_nobody_is_found() -> None:
    found = seen()
    found.notices.clear()

    assert problems(found) == ["red episode ep-1 was told to nobody"]


def test_an_episode_told_twice_is_found() -> None:
    found = seen()
    found.notices.append(Notice("ep-1", "email", "risk"))

    assert problems(found) == ["red episode ep-1 was told 2 times"]


def test_a_channel_without_a_message_is_found() -> None:
    found = seen()
    found.messages.pop()

    assert problems(found) == ["no email message reached the inbox"]


def test_silence_that_turned_nobody_red_is_a_problem_of_a_whole_story_only() -> None:
    found = seen()
    found.changes[1] = change(2, Band.YELLOW, Band.RED, cause=Cause.EVENT, last_seen=date(2018, 3, 1))

    assert problems(found) == ["no account turned red by silence alone"]
    assert problems(found, days=20) == []


def test_the_99th_percentile_is_one_of_the_values() -> None:
    assert p99([]) is None
    assert p99([5.0]) == 5.0
    assert p99([float(n) for n in range(200)]) == 198.0
