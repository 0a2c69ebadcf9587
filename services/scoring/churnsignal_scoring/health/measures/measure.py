"""Pure. What a measure is: one number read from an account's view, or the reason why there is none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from churnsignal_scoring.health.memory import TREND_CLOSES
from churnsignal_scoring.health.state import HABIT_DAYS, RETENTION_DAYS
from churnsignal_scoring.health.view import WINDOW, View

SEEN_DAYS = RETENTION_DAYS - WINDOW
"""Of an account that is not silent so many days up to its last use are still known."""
MOST = 10_000
Limits = Mapping[str, tuple[int, int]]
LIMITS: Limits = {
    "window_days": (1, SEEN_DAYS),
    "weeks": (2, SEEN_DAYS // 7),
    "habit_percent": (1, 100),
    "closes": (2, TREND_CLOSES),
    "valid_days": (0, MOST),
}
"""The least and the most that a whole number among the options may be, where it is not 1 and the schema's most."""
HABIT: Limits = {"window_days": (1, HABIT_DAYS // 2)}
"""Which days were active is known for longer than what happened on them."""
COMPARED: Limits = {"window_days": (1, SEEN_DAYS // 2)}
"""Where a window is compared with the one before, both must be known."""


class Missing(StrEnum):
    """Why a measure has no value."""

    NOT_APPLICABLE = "means nothing for this account"
    NO_DATA = "not enough evidence yet"
    STALE = "what was known is too old"


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """`measured` goes through the curve (hundredths of the unit). `value` and `baseline` are what people are told, in hundredths of it.

    `allowed` is what `measured` leaves out of `value`. `events` and `users` are the evidence behind it, `event_id` the call that said it.
    """

    measured: int
    value: int
    baseline: int | None = None
    events: int | None = None
    users: int | None = None
    allowed: int = 0
    event_id: str | None = None


def as_measured(_: Reading, measured: int) -> int:
    """Return what people are told for a value on the curve, where both are the same thing."""
    return measured


def of_baseline(reading: Reading, measured: int) -> int:
    """Return what people are told for a value on a curve of per cents of the baseline."""
    return measured * (reading.baseline or 0) // 10_000


Options = Mapping[str, Any]
"""Numbers, names, lists of names, or lists of names by name; the measure's defaults say which."""
Tell = Callable[[Reading, int], int]
Read = Callable[[View, Options], Reading | Missing]
Reports = Callable[[View, Options], bool]


@dataclass(frozen=True, slots=True)
class Measure:
    """`code` is the stable reason code that messages know. `options` are what a scorecard may set, with their defaults.

    `more_is_better` is None where only the scorecard's curve can say. `reports` says whether the account shows that this family of signals
    is measured at all: where some similar account does, its absence means something. `window_days` is what people are told when no option says it.
    `limits` are those of its whole numbers that differ from the common `LIMITS`. `counts_down` says that it counts the days until a day.
    """

    name: str
    code: str
    unit: str
    more_is_better: bool | None
    about: str
    read: Read
    options: Options = field(default_factory=dict)
    reports: Reports | None = None
    tell: Tell = as_measured
    window_days: int | None = None
    limits: Limits = field(default_factory=dict)
    counts_down: bool = False

    def limit(self, option: str) -> tuple[int, int]:
        """Return the least and the most that an option may be which is a whole number."""
        return self.limits.get(option) or LIMITS.get(option) or (1, MOST)

    def worst(self, view: View, options: Options, reading: Reading) -> Reading | Missing:
        """Return what is said once the counts of the last use are forgotten: the worst, if the account showed it then; silence heals nothing."""
        return reading if self.showed(view, options) else Missing.NO_DATA

    def showed(self, view: View, options: Options) -> bool:
        """Return whether a close since the last use found the account reporting it."""
        return view.state.reported.get(self.family(options), 0) >= view.lived

    def family(self, options: Options) -> str:
        """Return the name under which accounts report it: one measure may watch several signals."""
        return f"{self.name}:{options['signal']}" if "signal" in options else self.name
