"""The dedup log: first wins, once, whatever the batching, the bucket's neighbours, eviction and the way over the disk."""

from typing import Any

import msgspec
import numpy as np
import pytest
from churnsignal_common.contracts.envelope import encoder
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.mapping.usage import Usage
from churnsignal_scoring.decode import Reading, read
from churnsignal_scoring.dedup import COMPACT_ROWS, Seen, Seenlog, Stored, unpack
from hypothesis import given
from hypothesis import strategies as st

from tests.support.plant import at, envelope

DAY = 20_000
EVENTS = Place("usage.events.v1", 3)
HISTORY = Place("usage.history.v1", 3)


class Record:
    """A record of a consumer."""

    def __init__(self, offset: int, value: bytes | None) -> None:
        self.offset = offset
        self.timestamp = 0
        self.value = value


def call(identity: str, body: str = "x", **more: Any) -> Any:
    when = more.pop("when", at(DAY))
    return envelope("acme", {"type": "track", "event": body} | more.pop("extra", {}), when, identity, **more)


def reading(*calls: Any, place: Place = EVENTS) -> Reading:
    return read([(place, [Record(n, encoder.encode(c)) for n, c in enumerate(calls)])], {place: 0}, lambda _: Usage(True, ()))


def judged(log: Seenlog, *calls: Any, place: Place = EVENTS, commit: bool = True) -> list[Seen]:
    batch = reading(*calls, place=place)
    codes, fresh = log.judge(batch.groups, *batch.fingerprints())
    if commit:
        log.remember(fresh, DAY)
    return [Seen(code) for code in codes.tolist()]


def test_the_first_of_equal_calls_is_new_and_the_others_are_duplicates_in_one_batch_and_the_next() -> None:
    log = Seenlog(10**6)

    assert judged(log, call("a"), call("a"), call("b")) == [Seen.NEW, Seen.DUPLICATE, Seen.NEW]
    assert judged(log, call("b"), call("c"), call("a")) == [Seen.DUPLICATE, Seen.NEW, Seen.DUPLICATE]


def test_another_body_under_a_known_id_is_a_conflict() -> None:
    log = Seenlog(10**6)

    assert judged(log, call("a"), call("a", "other")) == [Seen.NEW, Seen.CONFLICT]
    assert judged(log, call("a", "third"), call("a")) == [Seen.CONFLICT, Seen.DUPLICATE]


def test_a_retry_that_was_only_sent_at_another_time_is_no_conflict() -> None:
    log = Seenlog(10**6)

    assert judged(log, call("a", extra={"sentAt": "2026-01-01T00:00:00Z"})) == [Seen.NEW]
    assert judged(log, call("a", extra={"sentAt": "2026-01-01T00:00:09Z"})) == [Seen.DUPLICATE]


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"_metadata": {"bundled": ["Segment.io"]}}, {"_metadata": {"bundled": ["Segment.io"], "retryCount": 1}}),
        ({}, {"_metadata": {"retryCount": 2}}),
        (
            {"sentAt": "2026-01-01T00:00:00Z", "_metadata": {"bundledIds": []}},
            {"sentAt": "2026-01-01T00:00:09Z", "_metadata": {"retryCount": 2, "bundledIds": []}},
        ),
    ],
)
def test_a_retry_that_a_browser_counts_in_the_call_is_no_conflict(first: dict[str, Any], again: dict[str, Any]) -> None:
    log = Seenlog(10**6)

    assert judged(log, call("a", extra=first)) == [Seen.NEW]
    assert judged(log, call("a", extra=again), call("a", "other", extra=again)) == [Seen.DUPLICATE, Seen.CONFLICT]


def test_the_same_id_of_another_source_is_another_call() -> None:
    log = Seenlog(10**6)

    assert judged(log, call("a", source="web"), call("a", source="we"), call("ba", source="w")) == [Seen.NEW] * 3


def test_a_retry_days_later_is_found_on_the_day_that_the_call_stamped() -> None:
    log = Seenlog(10**6)
    judged(log, call("a"))

    assert judged(log, call("a", received=at(DAY + 6))) == [Seen.DUPLICATE]


def test_a_call_without_a_timestamp_is_found_on_either_side_of_midnight() -> None:
    log = Seenlog(10**6)
    judged(log, call("a", stamped=None, received=at(DAY, 23.9)))

    assert judged(log, call("a", stamped=None, received=at(DAY + 1, 0.1))) == [Seen.DUPLICATE]
    assert judged(log, call("b", stamped=None, received=at(DAY)), call("b", stamped=None, received=at(DAY + 1))) == [
        Seen.NEW,
        Seen.DUPLICATE,
    ]


def test_out_of_the_window_a_call_counts_again_as_promised() -> None:
    log = Seenlog(10**6)
    judged(log, call("a"))

    assert judged(log, call("a", received=at(DAY + 9))) == [Seen.NEW]


def test_the_lane_of_users_is_apart_from_that_of_accounts_and_history_shares_the_latter() -> None:
    log = Seenlog(10**6)
    judged(log, call("a", stamped=None))

    assert judged(log, call("a", stamped=None, user="u1"), place=Place("usage.unresolved.v1", 3)) == [Seen.NEW]
    assert judged(log, call("a", stamped=None), place=HISTORY) == [Seen.DUPLICATE]


def test_what_was_not_committed_is_not_remembered() -> None:
    log = Seenlog(10**6)
    judged(log, call("a"), commit=False)

    assert judged(log, call("a")) == [Seen.NEW]


def test_a_new_owner_finds_on_disk_what_the_last_one_saw() -> None:
    before = Seenlog(10**6)
    batch = reading(call("a"), call("b"))
    _, fresh = before.judge(batch.groups, *batch.fingerprints())
    stored = {bucket: [run.packed(bucket) for run in runs] for bucket, runs in fresh.items()}

    after = Seenlog(10**6)
    after.own({bucket: Stored(len(rows), DAY) for bucket, rows in stored.items()})
    retry = reading(call("b"), call("c"))
    for bucket in after.missing(retry.groups):
        after.load(bucket, unpack((row.ids, row.bodies) for row in stored[bucket]))
    codes, _ = after.judge(retry.groups, *retry.fingerprints())

    assert codes.tolist() == [Seen.DUPLICATE, Seen.NEW]


def test_buckets_beyond_the_capacity_leave_and_must_be_loaded_again() -> None:
    log = Seenlog(3)
    for back in range(4):
        judged(log, *(call(f"{back}.{n}", when=at(DAY - back), received=at(DAY)) for n in range(3)))

    old = reading(call("0.0"))

    assert [bucket.day for bucket in log.missing(old.groups)] == [DAY]


def test_many_small_rows_are_named_for_joining_once() -> None:
    log = Seenlog(10**6)
    crowded = []
    for n in range(COMPACT_ROWS):
        batch = reading(call(f"id{n}"))
        _, fresh = log.judge(batch.groups, *batch.fingerprints())
        crowded += log.remember(fresh, DAY)

    assert [bucket.day for bucket in crowded] == [DAY]


def test_only_days_that_no_retry_can_name_are_pruned() -> None:
    log = Seenlog(10**6)
    for back in (0, 5, 6, 7):
        judged(log, call(f"x{back}", when=at(DAY - back), received=at(DAY)))

    assert log.prune([3], DAY + 1) == []
    assert {bucket.day for bucket in log.prune([3], DAY + 3)} == {DAY - 7, DAY - 6}
    assert log.prune([4], DAY + 100) == []


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=60), st.integers(1, 7))
def test_the_batching_never_changes_the_verdicts(spelled: list[tuple[int, int]], size: int) -> None:
    calls = [call(f"id{number}", f"body{body}") for number, body in spelled]
    whole, parts = Seenlog(10**6), Seenlog(10**6)

    at_once = judged(whole, *calls) if calls else []
    in_parts = [code for start in range(0, len(calls), size) for code in judged(parts, *calls[start : start + size])]

    assert at_once == in_parts


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"garbage", "unreadable"),
        (None, "unreadable"),
        (b"[]", "unreadable"),
        (b"\xff", "unreadable"),
        (encoder.encode(msgspec.structs.replace(call("a"), account=None)), "no_account"),
        (encoder.encode(msgspec.structs.replace(call("a"), v=2)), "unknown_version"),
        (encoder.encode(call("a\x00")), "null_character"),
    ],
)
def test_what_cannot_be_read_is_dead_with_a_reason(value: bytes | None, reason: str) -> None:
    batch = read([(EVENTS, [Record(5, value)])], {EVENTS: 5}, lambda _: Usage(True, ()))

    assert [(poison.offset, poison.reason) for poison in batch.dead] == [(5, reason)]
    assert batch.next == {EVENTS: 6}


def test_records_that_the_broker_deleted_are_counted_as_lost() -> None:
    batch = read([(EVENTS, [Record(12, encoder.encode(call("a")))])], {EVENTS: 5}, lambda _: Usage(True, ()))

    assert batch.lost == {EVENTS: 7}


def test_hashes_of_a_batch_stand_beside_its_rows() -> None:
    batch = reading(call("a"), call("b"))
    ids, bodies = batch.fingerprints()

    assert len(set(ids.tolist())) == 2
    assert ids.dtype == np.uint64
    assert bodies.dtype == np.uint32
    assert bodies[0] == bodies[1]
