"""Pure. Day numbers of the deployment's one day zone: whole days since 1970-01-01 there."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DayZone:
    """The zone whose midnights cut time into days; fixed after the first event."""

    name: str
    zone: tzinfo

    def day_of(self, moment: datetime) -> int:
        """Return the day of `moment` (aware)."""
        if self.name == "UTC" and moment.tzinfo is UTC:
            return moment.toordinal() - EPOCH_ORDINAL
        return moment.astimezone(self.zone).toordinal() - EPOCH_ORDINAL

    def span_of(self, day: int) -> tuple[datetime, datetime]:
        """Return the first moment of `day` and the first after it, in UTC."""
        return self.start_of(day), self.end_of(day)

    def start_of(self, day: int) -> datetime:
        """Return the first moment of `day`, in UTC; days of 23 and 25 hours are what the zone says."""
        return datetime.combine(to_date(day), time(), self.zone).astimezone(UTC)

    def end_of(self, day: int) -> datetime:
        """Return the first moment after `day`, in UTC."""
        return self.start_of(day + 1)


def open_zone(name: str) -> DayZone:
    """Return the zone called `name` (IANA); raises `ZoneInfoNotFoundError` when there is none."""
    return DayZone("UTC", UTC) if name == "UTC" else DayZone(name, ZoneInfo(name))


def to_date(day: int) -> date:
    """Return the calendar date of a day number."""
    return date.fromordinal(day + EPOCH_ORDINAL)


def from_date(value: date) -> int:
    """Return the day number of a calendar date."""
    return value.toordinal() - EPOCH_ORDINAL


def to_us(moment: datetime) -> int:
    """Return whole microseconds since the epoch, without going through a float."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_us(stamp: int) -> datetime:
    """Return the moment that many microseconds after the epoch, in UTC."""
    return _EPOCH + stamp * _MICROSECOND
