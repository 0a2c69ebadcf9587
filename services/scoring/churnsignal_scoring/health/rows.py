"""Pure. How an account's state lies in a database: narrow rows, so that a write does not grow with the account's history."""

from typing import Any, NamedTuple

import msgspec
from churnsignal_common.contracts.risk import Band


class Fact(msgspec.Struct, frozen=True):
    """One version of a fact. `day` is the day it occurred on, so that a close sees what was true at its end."""

    value: Any
    occurred_us: int
    event_id: str
    source: str
    day: int

    @property
    def stamp(self) -> tuple[int, str, str]:
        """Return what decides which of two versions is the later one."""
        return (self.occurred_us, self.event_id, self.source)


class StateRow(NamedTuple):
    """The account's own row. `habit` is the mask of active days (little endian, bit 0 is `origin`); `rest` is JSON that only this module reads."""

    account: str
    first_day: int | None
    last_active: int | None
    last_event_us: int | None
    events_total: int
    origin: int
    habit: bytes
    segment: str
    rest: bytes


class Remembered(msgspec.Struct):
    """What the day record asks of an account's band memory."""

    band: Band = Band.GREY
    fed: tuple[str, ...] = ()
    outages: tuple[tuple[int, int], ...] = ()


class Counted(msgspec.Struct):
    """What the day record asks of an account: a close asks it of every one, so that all else stays unread."""

    account: str
    first_day: int | None
    origin: int
    active: int
    segment: str
    held: bool
    reported: dict[str, int]
    memory: Remembered
    parent: str | None = None


class DayRow(NamedTuple):
    """Counts of one day, as JSON object."""

    account: str
    day: int
    counts: bytes


class UserRow(NamedTuple):
    """Which days of a block a user was active on; bit 0 is the block's first day."""

    account: str
    user: str
    block: int
    mask: int


class FactRow(NamedTuple):
    """A fact's versions, newest first, as JSON array."""

    account: str
    name: str
    versions: bytes


class StateRows(NamedTuple):
    """What a transaction has to write for one account: only what changed."""

    account: StateRow
    days: list[DayRow]
    users: list[UserRow]
    facts: list[FactRow]
