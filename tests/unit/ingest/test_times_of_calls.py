"""Timestamps as SDKs spell them, clocks that are wrong, and times that cannot be."""

from datetime import UTC, datetime, timedelta

import pytest
from churnsignal_ingest.validate.reasons import Reason, Refusal
from churnsignal_ingest.validate.times import happened, read_time, skew

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("spelled", "micros"),
    [
        ("2026-01-01T12:00:00Z", 0),
        ("2026-01-01T12:00:00.000Z", 0),
        ("2026-01-01T12:00:00.123Z", 123_000),
        ("2026-01-01T12:00:00.123+00:00", 123_000),
        ("2026-01-01T12:00:00.123456+00:00", 123_456),
        ("2026-01-01T12:00:00.123456789Z", 123_457),
        ("2026-01-01T12:00:00.12345678Z", 123_457),
        ("2026-01-01T12:00:00.1Z", 100_000),
        ("2026-01-01T12:00:00.Z", 0),
        ("2026-01-01T21:00:00+09:00", 0),
        ("2026-01-01T21:00:00+0900", 0),
        ("2026-01-01T07:30:00-04:30", 0),
        ("2026-01-01T12:00:00", 0),
        ("2026-01-01 12:00:00", 0),
        ("2026-01-01t12:00:00z", 0),
        (" 2026-01-01T12:00:00Z ", 0),
        ("20260101T120000Z", 0),
        ("2026-01-01T12:00Z", 0),
        ("2026-01-01T11:59:60Z", 0),
        (1767268800, 0),
        (1767268800.25, 250_000),
        (1767268800123, 123_000),
        ("1767268800", 0),
        ("1767268800123", 123_000),
    ],
)
def test_every_spelling_in_the_wild_is_the_same_moment(spelled: object, micros: int) -> None:
    assert read_time(spelled) == NOON + timedelta(microseconds=micros)


def test_a_missing_time_is_no_time() -> None:
    assert read_time(None) is None


@pytest.mark.parametrize(
    "spelled",
    [
        "",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        0,
        -1,
        "1999-12-31T23:59:59Z",
        True,
        [],
        {},
        1e300,
        float("1e17"),
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_a_time_that_cannot_be_is_refused(spelled: object) -> None:
    with pytest.raises(Refusal) as refusal:
        read_time(spelled)

    assert refusal.value.reason is Reason.BAD_TIMESTAMP


def test_a_client_clock_that_is_right_within_a_minute_is_trusted() -> None:
    assert skew(NOON, NOON - timedelta(seconds=60)) is None
    assert skew(NOON, None) is None


def test_a_client_clock_that_is_two_hours_behind_is_corrected() -> None:
    behind = skew(NOON, NOON - timedelta(hours=2))

    assert happened(NOON - timedelta(hours=2, minutes=5), NOON, behind) == NOON - timedelta(minutes=5)


def test_a_client_clock_ahead_is_corrected_backwards() -> None:
    behind = skew(NOON, NOON + timedelta(hours=2))

    assert happened(NOON + timedelta(hours=1), NOON, behind) == NOON - timedelta(hours=1)


@pytest.mark.parametrize("stamped", [NOON + timedelta(seconds=1), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)])
def test_nothing_happens_in_the_future(stamped: datetime) -> None:
    assert happened(stamped, NOON, None) == NOON
    assert happened(stamped, NOON, timedelta(days=1)) == NOON


def test_a_call_without_a_time_happened_when_it_came() -> None:
    assert happened(None, NOON, timedelta(hours=1)) == NOON
