"""Pure. The one engine that live scoring, backtests and replays share: apply calls, settle after a batch, close a day."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from churnsignal_common.contracts.days import DayRecord
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.risk import AccountProfile, Band, Cause, Counterfactual, Driver, RiskChanged
from churnsignal_scoring.health.days import DayZone
from churnsignal_scoring.health.mapping import Mapper
from churnsignal_scoring.health.scorecard import Scorecard
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.health.usage import Usage


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the score says as of the end of `as_of`. `held` is why the account holds still (churned, paused, ignored, frozen).

    `score` is null when there is not enough evidence; `band` is what people see, after memory, knock-outs and override.
    """

    as_of: int
    score: int | None
    coverage: int
    band: Band
    segment: str
    lifecycle: str
    knockout: str | None
    held: str | None
    record_day: int | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of an evaluation. `change` is already counted in the state's sequence; `profile` is set when it changed."""

    assessment: Assessment
    change: RiskChanged | None
    profile: AccountProfile | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the score is what it is: contributions of `drivers` sum exactly to the score."""

    assessment: Assessment
    drivers: tuple[Driver, ...]
    counterfactual: Counterfactual | None
    profile: AccountProfile


class PartialNorms(msgspec.Struct):
    """Sums over a partition's accounts of one segment."""

    accounts: int
    active: int
    active_days_28: list[int]
    reporting: dict[str, int]


class Partial(msgspec.Struct):
    """One partition's part of a day record; sums of integers, so that the order of merging does not matter. JSON-able."""

    day: int
    norms: dict[str, PartialNorms]


class AccountEngine:
    """Stateless besides its policy; safe to share between partitions of one process."""

    def __init__(self, mapper: Mapper, scorecard: Scorecard, zone: DayZone) -> None:
        self.mapper = mapper
        self.scorecard = scorecard
        self.zone = zone

    def apply(self, state: AccountState, envelope: Envelope, usage: Usage) -> None:
        """Add one distinct call that `mapper.usage` did not ignore."""

    def settle(self, state: AccountState, now: datetime, record: DayRecord | None, last_closed: int | None, history: bool) -> Settled:
        """Evaluate after a micro-batch: a live score, and a change of band only if it worsened. `record` is that of `last_closed`.

        `history` is true when the batch brought the account imported calls: they never change a band by themselves.
        """
        raise ValueError

    def close(self, state: AccountState, day: int, record: DayRecord, cause: Cause) -> Settled:
        """Close `day` for one account: evaluate as of its end, move the band memory, prune. Idempotent: a closed day changes nothing.

        `cause` is CLOSE, or CATCH_UP when the close is made late, or SCORECARD/MAPPING on the first close under a new version.
        """
        raise ValueError

    def explain(self, state: AccountState, record: DayRecord | None, as_of: int | None) -> Explanation:
        """Return the live evaluation with its drivers, without touching the state; for the API."""
        raise ValueError

    def partial(self, states: Iterable[AccountState], day: int) -> Partial:
        """Return the sums over one partition's accounts as of the end of `day`. Needs the account rows only (no days, users or facts)."""
        raise ValueError

    def merge(
        self,
        day: int,
        partials: Sequence[Partial],
        sources: Mapping[str, int],
        previous: Mapping[int, DayRecord],
        made_at: datetime,
        left_out: tuple[int, ...] = (),
    ) -> DayRecord:
        """Return the day record. `sources` is the number of calls of each source on `day`, over all partitions (from the day rows' `@source` counts);
        `previous` are the records of the 28 days before, as far as there are any."""
        raise ValueError
