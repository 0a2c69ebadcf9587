"""Pure. The day record on scoring.days.v1: what needs more than one partition, decided once a day and never again."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec


class SegmentNorms(msgspec.Struct, frozen=True, kw_only=True):
    """What similar accounts did on the day: how many were counted, how many were active, and the distribution of active days.

    `active_days_28[n]` is the number of accounts with n active days in the 28 days that end on the day (n = 0..28).
    `typical` is the usual share of active accounts (millionths) over the `days` the segment has been watched.
    `worths` are what this day and those before it count as silence, newest first: 100 for a day as busy as usual, less when
    many were away. `reporting[family]` is the number of accounts that showed signals of that family lately.
    """

    accounts: int
    active: int
    active_days_28: tuple[int, ...]
    days: int = 0
    typical: int = 0
    worths: tuple[int, ...] = ()
    reporting: dict[str, int] = {}


class SourceVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls a source sent on the day, and what that was judged to be, before any account was closed.

    `hours[h]` are its calls in the h-th hour of the day (in the day zone), `usual` what such a weekday brings. `silent`: the calls of a good part
    of such a day were missing; accounts that depend on the source freeze (their profiles on accounts.v1 name it in `silent_sources`).
    `silent_since` is the first hour of what is missing, also when that was on an earlier day: source and `silent_since` name one outage.
    `heard_on` is the last day with a call. `retired`: silent for so long, or said by an operator to be gone, that nothing freezes any more.
    """

    events: int
    silent: bool
    hours: tuple[int, ...] = ()
    usual: int = 0
    silent_since: datetime | None = None
    heard_on: date | None = None
    retired: bool = False


class DayRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Immutable. `left_out` are the partitions that were stuck past the limit when the record was made.

    `red_children` says of parents how many accounts directly below them were red then, whatever partition they are on.
    `omitted` counts the segments and the parents for which one record had no room: the smallest ones, and the last ones by name.
    """

    v: int = 1
    day: date
    made_at: datetime
    scorecard: str
    mapping: str
    norms: dict[str, SegmentNorms]
    sources: dict[str, SourceVerdict]
    left_out: tuple[int, ...] = ()
    red_children: dict[str, int] = {}
    omitted: dict[str, int] = {}


day_record_decoder = msgspec.json.Decoder(DayRecord)


def is_zone(name: str) -> bool:
    """Return whether `name` is an IANA time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
