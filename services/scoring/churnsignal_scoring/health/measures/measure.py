"""Pure. What a measure is: one number read from an account's view, or the reason why there is none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from churnsignal_scoring.health.view import View


class Missing(StrEnum):
    """Why a measure has no value."""

    NOT_APPLICABLE = "means nothing for this account"
    NO_DATA = "not enough evidence yet"


class Reading(msgspec.Struct, frozen=True):
    """`measured` goes through the curve (hundredths of the unit). `value` and `baseline` are what people are told, in hundredths of it.

    `allowed` is what `measured` leaves out of `value`. `events` and `users` are the evidence behind it.
    """

    measured: int
    value: int
    baseline: int | None = None
    events: int | None = None
    users: int | None = None
    allowed: int = 0


def as_measured(_: Reading, measured: int) -> int:
    """Return what people are told for a value on the curve, where both are the same thing."""
    return measured


def of_baseline(reading: Reading, measured: int) -> int:
    """Return what people are told for a value on a curve of per cents of the baseline."""
    return measured * (reading.baseline or 0) // 10_000


Options = Mapping[str, int]
Tell = Callable[[Reading, int], int]
Read = Callable[[View, Options], Reading | Missing]
Reports = Callable[[View], bool]


@dataclass(frozen=True, slots=True)
class Measure:
    """`code` is the stable reason code that messages know. `options` are what a scorecard may set, with their defaults.

    `reports` says whether the account shows that this family of signals is measured at all: where some similar account does, its absence means something.
    """

    name: str
    code: str
    unit: str
    window_days: int | None
    more_is_better: bool
    about: str
    read: Read
    options: Options = field(default_factory=dict)
    reports: Reports | None = None
    tell: Tell = as_measured
