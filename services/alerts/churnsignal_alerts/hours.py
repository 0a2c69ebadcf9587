"""Pure. When a person may be told: working hours and holidays in their own zone, right across changes of daylight saving."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays

_SEARCH_DAYS = 370
_WEEK = 7
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Hours:
    """Open from `start` to `end` (local times; an end at or before the start is on the next day) on `days` (0 = Monday)."""

    start: time
    end: time
    days: frozenset[int]


ALWAYS = Hours(time(0), time(0), frozenset(range(7)))


def parse_hours(span: str, days: str) -> Hours:
    """Return the hours of `09:00-18:00` and `mon-fri` (or `mon,wed`); `always` means round the clock. Raises ValueError with the fix."""
    if span == "always":
        return ALWAYS
    start, _, end = span.partition("-")
    try:
        return Hours(_time(start), _time(end), _days(days))
    except ValueError as error:
        raise ValueError(f"hours are written 09:00-18:00 or always, days mon-fri or mon,wed; not {span!r} {days!r}") from error


def _time(written: str) -> time:
    return time(0) if written.strip() == "24:00" else time.fromisoformat(written.strip())


def _days(written: str) -> frozenset[int]:
    found: set[int] = set()
    for part in written.lower().split(","):
        first, dash, last = part.strip().partition("-")
        start = DAYS.index(first.strip())
        end = DAYS.index(last.strip()) if dash else start
        found.update((start + i) % 7 for i in range((end - start) % 7 + 1))
    return frozenset(found)


def write_hours(hours: Hours) -> tuple[str, str]:
    """Return hours as they are written: the inverse of `parse_hours`."""
    if hours == ALWAYS:
        return "always", "mon-sun"
    return f"{hours.start:%H:%M}-{hours.end:%H:%M}", ",".join(DAYS[d] for d in sorted(hours.days))


@lru_cache(maxsize=256)
def _calendar(country: str, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country, years=year))


def is_country(code: str) -> bool:
    """Return whether we have the calendar of `code` (ISO 3166, such as JP)."""
    return code.upper() in holidays.list_supported_countries()


def holiday_calendar(country: str | None) -> Callable[[date], bool]:
    """Return whether a day is a public holiday of `country`; without a country there are none."""
    if not country:
        return lambda _day: False
    code = country.upper()
    return lambda day: day in _calendar(code, day.year)


def next_opening(now: datetime, hours: Hours, zone: ZoneInfo, is_holiday: Callable[[date], bool]) -> datetime:
    """Return `now` when open, else the next instant at which it opens. Hours that never open count as always open: nothing is dropped."""
    today = now.astimezone(zone).date()
    for offset in range(-1, _SEARCH_DAYS):
        day = today + timedelta(days=offset)
        if day.weekday() not in hours.days or is_holiday(day):
            continue
        start, end = _span(day, hours, zone)
        if now < start:
            return start
        if now < end:
            return now
    return now


def after_working(start: datetime, span: timedelta, hours: Hours, zone: ZoneInfo, is_holiday: Callable[[date], bool]) -> datetime:
    """Return when `span` of working time has passed since `start`. Hours that never open count as always open."""
    left, today = span, start.astimezone(zone).date()
    for offset in range(-1, _SEARCH_DAYS):
        day = today + timedelta(days=offset)
        if day.weekday() not in hours.days or is_holiday(day):
            continue
        opens, closes = _span(day, hours, zone)
        opens = max(opens, start)
        if closes - opens >= left:
            return opens + left
        left -= max(closes - opens, timedelta(0))
    return start + span


def working_day(start: date, count: int, hours: Hours, is_holiday: Callable[[date], bool]) -> date:
    """Return the day that is `count` working days after `start`; 0 is the first working day from `start` on."""
    days = (start + timedelta(days=offset) for offset in range(_SEARCH_DAYS))
    working = (day for day in days if day.weekday() in hours.days and not is_holiday(day))
    return next((day for place, day in enumerate(working) if place >= count), start + timedelta(days=count))


def next_digest(now: datetime, at: time, weekday: int | None, hours: Hours, zone: ZoneInfo, is_holiday: Callable[[date], bool]) -> datetime:
    """Return the next time `at` on a working day; with a `weekday`, the one of that day, or of the first working day after it."""
    today = now.astimezone(zone).date()
    for offset in range(-_WEEK if weekday is not None else 0, _SEARCH_DAYS):
        day = today + timedelta(days=offset)
        if weekday is None or day.weekday() == weekday:
            moment = _instant(working_day(day, 0, hours, is_holiday), at, zone)
            if moment > now:
                return moment
    return now


def _span(day: date, hours: Hours, zone: ZoneInfo) -> tuple[datetime, datetime]:
    # Local times are turned into instants one by one: a local day may have 23 or 25 hours.
    last = day if hours.end > hours.start else day + timedelta(days=1)
    return _instant(day, hours.start, zone), _instant(last, hours.end, zone)


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    # A local time that a change of clocks skips is read as if the clocks had not changed yet; one that comes twice is the first.
    return datetime.combine(day, at, zone).astimezone(UTC)
