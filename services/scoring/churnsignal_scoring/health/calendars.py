"""Pure. On which days a customer works: its weekend and its holidays, as the scorecard names them."""

from functools import lru_cache
from typing import NamedTuple

MONDAY = 4
"""1970-01-01, day 0, was a Thursday: day 4 the first Monday."""


class Calendar(NamedTuple):
    """`weekend` are weekdays (0 is Monday), `holidays` day numbers."""

    weekend: frozenset[int] = frozenset()
    holidays: frozenset[int] = frozenset()

    @property
    def rests(self) -> bool:
        """Return whether there are days off at all."""
        return bool(self.weekend or self.holidays)

    def works(self, day: int) -> bool:
        return (day - MONDAY) % 7 not in self.weekend and day not in self.holidays

    def off(self, first: int, last: int) -> tuple[int, ...]:
        """Return the days off from `first` to `last`."""
        return _off(self, first, last)


@lru_cache(maxsize=4096)
def _off(calendar: Calendar, first: int, last: int) -> tuple[int, ...]:
    return tuple(day for day in range(first, last + 1) if not calendar.works(day))


EVERY_DAY = Calendar()
