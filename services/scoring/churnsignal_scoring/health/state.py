"""Pure. What is remembered of one account: exact, small, and the same whatever order its calls arrived in.

Counters add, masks are unions, facts keep the latest by (time, id): applying distinct calls in any order or batching gives
an equal state. Calls that arrive twice must be dropped before they get here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from churnsignal_common.contracts.envelope import Envelope
from churnsignal_scoring.health.days import to_us
from churnsignal_scoring.health.memory import BandMemory
from churnsignal_scoring.health.usage import SOURCE_PREFIX, Usage

RETENTION_DAYS = 119
"""Counts per day are kept for 17 weeks: 4 weeks, the 8 before them to compare with, and room for late calls."""
HABIT_DAYS = 728
"""Which days were active is kept for two years: the account's own habit, and the same season a year ago."""
BLOCK_DAYS = 28
"""A user's active days are kept in masks of one block: 28 bits fit Postgres's int4."""
BUCKET_NAMES = 96
"""Distinct signals kept of an account's day; the ones with the smallest hash stay, whatever order they came in."""


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


class _Rest(msgspec.Struct):
    memory: BandMemory
    lasts: dict[int, tuple[int, str]]
    reported: dict[str, int]


_rest_decoder = msgspec.json.Decoder(_Rest)
_counts_decoder = msgspec.json.Decoder(dict[str, int])
_versions_decoder = msgspec.json.Decoder(list[Fact])
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(slots=True)
class AccountState:
    """Mutable. `active` is the mask of active days since `origin` (its oldest bit). `blocks` are the users' masks by block of days.

    `lasts` is the latest call of a day: (time in us, id), for evidence. `reported` is the last day a family of signals was seen.
    The `dirty_*` sets name what changed since `clean()`.
    """

    account: str
    first_day: int | None = None
    last_active: int | None = None
    last_event_us: int | None = None
    events_total: int = 0
    origin: int = 0
    active: int = 0
    segment: str = ""
    days: dict[int, dict[str, int]] = field(default_factory=dict)
    blocks: dict[int, dict[str, int]] = field(default_factory=dict)
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    lasts: dict[int, tuple[int, str]] = field(default_factory=dict)
    reported: dict[str, int] = field(default_factory=dict)
    memory: BandMemory = field(default_factory=BandMemory)
    dirty: bool = False
    dirty_days: set[int] = field(default_factory=set)
    dirty_users: set[tuple[str, int]] = field(default_factory=set)
    dirty_facts: set[str] = field(default_factory=set)

    def apply(self, usage: Usage, envelope: Envelope, day: int, received_day: int) -> None:
        """Add one distinct call that occurred on `day` and was received on `received_day`."""
        raise ValueError

    def prune(self, day: int) -> None:
        """Forget what no evaluation after the close of `day` can see."""
        raise ValueError

    def rows(self) -> StateRows:
        """Return what changed since `clean()`, as rows."""
        raise ValueError

    def clean(self) -> None:
        """Note that everything is written."""
        self.dirty = False
        self.dirty_days.clear()
        self.dirty_users.clear()
        self.dirty_facts.clear()

    @classmethod
    def from_rows(
        cls, row: StateRow, days: Iterable[DayRow] = (), users: Iterable[UserRow] = (), facts: Iterable[FactRow] = ()
    ) -> "AccountState":
        """Return the state that was written as these rows."""
        raise ValueError(row, days, users, facts)
