"""Working hours, holidays and changes of the clocks."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from churnsignal_alerts.hours import ALWAYS, holiday_calendar, next_digest, next_opening, parse_hours, write_hours
from hypothesis import given
from hypothesis import strategies as st

OFFICE = parse_hours("09:00-18:00", "mon-fri")
MOMENTS = st.integers(0, 60 * 24 * 365 * 15).map(lambda minutes: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes))
NIGHT = parse_hours("22:00-06:00", "mon-fri")


def at(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


TABLE = [
    ("inside", "Asia/Tokyo", "JP", "2026-11-20T12:00", "2026-11-20T12:00"),
    ("before opening", "Asia/Tokyo", "JP", "2026-11-20T08:59", "2026-11-20T09:00"),
    ("at closing", "Asia/Tokyo", "JP", "2026-11-19T18:00", "2026-11-20T09:00"),
    ("friday night, then a holiday on monday", "Asia/Tokyo", "JP", "2026-11-20T20:00", "2026-11-24T09:00"),
    ("the same without a calendar", "Asia/Tokyo", None, "2026-11-20T20:00", "2026-11-23T09:00"),
    ("golden week", "Asia/Tokyo", "JP", "2026-05-01T18:30", "2026-05-07T09:00"),
    ("the night before clocks go forward", "America/New_York", None, "2026-03-07T12:00", "2026-03-09T09:00"),
    ("the night before clocks go back", "Europe/Berlin", None, "2026-10-24T12:00", "2026-10-26T09:00"),
    ("thanksgiving", "America/New_York", "US", "2026-11-25T19:00", "2026-11-27T09:00"),
]


@pytest.mark.parametrize(("zone", "country", "now", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_next_opening(zone: str, country: str | None, now: str, expected: str) -> None:
    found = next_opening(at(now, zone), OFFICE, ZoneInfo(zone), holiday_calendar(country))

    assert found == at(expected, zone)


def test_opening_stays_at_nine_local_time_when_the_clocks_change() -> None:
    zone = ZoneInfo("Europe/Berlin")
    winter = next_opening(at("2026-03-27T20:00", "Europe/Berlin"), OFFICE, zone, holiday_calendar(None))
    summer = next_opening(at("2026-03-30T20:00", "Europe/Berlin"), OFFICE, zone, holiday_calendar(None))

    assert (winter.astimezone(zone).hour, summer.astimezone(zone).hour) == (9, 9)
    assert (winter.hour, summer.hour) == (7, 7)


def test_an_opening_that_the_change_skips_is_still_an_opening() -> None:
    early = parse_hours("02:30-04:00", "sun")

    found = next_opening(at("2026-03-28T12:00", "Europe/Berlin"), early, ZoneInfo("Europe/Berlin"), holiday_calendar(None))

    assert found.astimezone(ZoneInfo("Europe/Berlin")).date().isoformat() == "2026-03-29"


def test_a_night_shift_is_open_after_midnight() -> None:
    saturday = at("2026-11-21T05:00", "UTC")

    assert next_opening(saturday, NIGHT, ZoneInfo("UTC"), holiday_calendar(None)) == saturday
    assert next_opening(at("2026-11-21T06:00", "UTC"), NIGHT, ZoneInfo("UTC"), holiday_calendar(None)) == at("2026-11-23T22:00", "UTC")


def test_hours_that_never_open_drop_nothing() -> None:
    now = at("2026-11-21T05:00", "UTC")

    assert next_opening(now, OFFICE, ZoneInfo("UTC"), lambda _day: True) == now


@given(
    MOMENTS,
    st.sampled_from(["Asia/Tokyo", "America/St_Johns", "Europe/London", "Australia/Lord_Howe"]),
)
def test_the_opening_is_never_in_the_past_never_far_and_stays_put(now: datetime, name: str) -> None:
    zone = ZoneInfo(name)

    found = next_opening(now, OFFICE, zone, holiday_calendar("JP"))

    assert now <= found <= now + timedelta(days=12)
    assert next_opening(found, OFFICE, zone, holiday_calendar("JP")) == found


@given(MOMENTS, st.sampled_from(["Asia/Tokyo", "America/New_York", "Australia/Lord_Howe"]))
def test_always_means_now(now: datetime, name: str) -> None:
    assert next_opening(now, ALWAYS, ZoneInfo(name), holiday_calendar(None)) == now


@pytest.mark.parametrize(
    ("span", "days"), [("09:00-18:00", "mon-fri"), ("always", "mon-sun"), ("22:00-06:00", "sat,sun"), ("10:30-15:00", "fri-mon")]
)
def test_hours_are_written_as_they_are_read(span: str, days: str) -> None:
    assert parse_hours(*write_hours(parse_hours(span, days))) == parse_hours(span, days)


@pytest.mark.parametrize(
    ("span", "days"), [("9-18", "mon-fri"), ("09:00", "mon"), ("09:00-25:00", "mon"), ("09:00-18:00", "monday"), ("", "mon")]
)
def test_nonsense_is_refused_with_the_fix(span: str, days: str) -> None:
    with pytest.raises(ValueError, match="hours are written 09:00-18:00"):
        parse_hours(span, days)


TOKYO = ZoneInfo("Asia/Tokyo")


@pytest.mark.parametrize(
    ("now", "weekday", "expected"),
    [
        ("2026-11-20T08:59", None, "2026-11-20T09:00"),
        # Friday's is told: the next one is Monday's, which is a holiday.
        ("2026-11-20T09:00", None, "2026-11-24T09:00"),
        ("2026-11-22T12:00", None, "2026-11-24T09:00"),
        ("2026-11-20T09:00", 0, "2026-11-24T09:00"),
        ("2026-11-23T10:00", 0, "2026-11-24T09:00"),
        ("2026-11-24T09:00", 0, "2026-11-30T09:00"),
        ("2026-11-24T09:00", 3, "2026-11-26T09:00"),
    ],
)
def test_the_digest_comes_on_working_days_of_the_reader(now: str, weekday: int | None, expected: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=TOKYO)

    found = next_digest(moment, time(9), weekday, parse_hours("09:00-18:00", "mon-fri"), TOKYO, holiday_calendar("JP"))

    assert found == datetime.fromisoformat(expected).replace(tzinfo=TOKYO)
