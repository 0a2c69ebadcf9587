"""Pure. Days of an outage did not happen for the account: neither its use nor its silence was seen on them.

A view cuts them out: the days before an outage move up to the days after it, so that every measure looks at whole windows of days that
were seen, and none has to know. `Ranges` are first and last day of each outage, the oldest first, never touching.
"""

from collections.abc import Iterator

Ranges = tuple[tuple[int, int], ...]


def added(ranges: Ranges, day: int) -> Ranges:
    """Return the ranges with `day`, which is later than all of them."""
    if ranges and ranges[-1][1] == day - 1:
        return (*ranges[:-1], (ranges[-1][0], day))
    return (*ranges, (day, day))


def until(ranges: Ranges, day: int) -> Ranges:
    """Return what of the ranges lies up to `day`."""
    return tuple((first, min(last, day)) for first, last in ranges if first <= day)


def within(ranges: Ranges, first: int, last: int) -> Iterator[int]:
    """Yield the days of outages from day `first` to day `last`."""
    for start, end in ranges:
        yield from range(max(start, first), min(end, last) + 1)


def place_of(ranges: Ranges, day: int) -> int:
    """Return where a day lies once the outages are cut out; a day of an outage lies where the day before it does."""
    return day + sum(end - max(start - 1, day) for start, end in ranges if end > day)


def day_at(ranges: Ranges, place: int) -> int:
    """Return the day that lies there once the outages are cut out."""
    for start, end in reversed(ranges):
        if place > end:
            return place
        place -= end - start + 1
    return place


def lived(ranges: Ranges, mask: int, origin: int) -> tuple[int, int]:
    """Return the mask of days and its origin with the outages cut out."""
    gone = 0
    for start, end in ranges:
        first = max(start, origin) - origin
        above = end + 1 - origin
        if above <= first:
            continue
        mask = mask >> above << above | (mask & (1 << first) - 1) << above - first
        gone += above - first
    return mask >> gone, origin + gone
