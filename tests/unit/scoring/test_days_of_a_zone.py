"""Days are cut by the midnights of the deployment's zone, long and short ones too."""

from datetime import UTC, date, datetime, timedelta

import pytest
from churnsignal_scoring.health.days import from_date, open_zone, to_date, to_us
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("UTC", datetime(2026, 3, 29, 23, 59, 59, 999999, UTC), date(2026, 3, 29)),
        ("Asia/Tokyo", datetime(2026, 3, 29, 15, 0, tzinfo=UTC), date(2026, 3, 30)),
        ("Asia/Tokyo", datetime(2026, 3, 29, 14, 59, 59, tzinfo=UTC), date(2026, 3, 29)),
        ("Europe/Berlin", datetime(2026, 3, 28, 23, 0, tzinfo=UTC), date(2026, 3, 29)),
        ("Europe/Berlin", datetime(2026, 3, 29, 22, 0, tzinfo=UTC), date(2026, 3, 30)),
        ("America/New_York", datetime(2026, 11, 1, 4, 30, tzinfo=UTC), date(2026, 11, 1)),
        ("America/New_York", datetime(2026, 11, 2, 4, 59, tzinfo=UTC), date(2026, 11, 1)),
    ],
)
def test_a_moment_belongs_to_the_day_of_the_zone(zone: str, moment: datetime, day: date) -> None:
    assert to_date(open_zone(zone).day_of(moment)) == day


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [("Europe/Berlin", date(2026, 3, 29), 23), ("Europe/Berlin", date(2026, 10, 25), 25), ("UTC", date(2026, 3, 29), 24)],
)
def test_a_day_is_as_long_as_its_zone_says(zone: str, day: date, hours: int) -> None:
    days = open_zone(zone)

    assert days.end_of(from_date(day)) - days.start_of(from_date(day)) == timedelta(hours=hours)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["UTC", "Asia/Tokyo", "America/Sao_Paulo", "Asia/Kathmandu"]),
)
def test_every_moment_lies_in_its_day(moment: datetime, zone: str) -> None:
    days = open_zone(zone)
    day = days.day_of(moment)

    assert days.start_of(day) <= moment < days.end_of(day)


@given(st.integers(-(10**15), 10**15))
def test_microseconds_are_exact(us: int) -> None:
    assert to_us(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)) == us
