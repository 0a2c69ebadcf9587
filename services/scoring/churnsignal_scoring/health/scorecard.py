"""Pure. A scorecard: which measures count how much, on which curves, and when a score becomes a band."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from churnsignal_common.contracts.risk import Band, FindingKind

from churnsignal_scoring.health.calendars import EVERY_DAY, Calendar
from churnsignal_scoring.health.curves import FULL, Curve
from churnsignal_scoring.health.measures.measure import Measure
from churnsignal_scoring.health.profile import Lifecycle
from churnsignal_scoring.health.view import View

MILLION = 1_000_000


class MissingPolicy(StrEnum):
    """What a measure without evidence does to the score. None of them counts as evidence."""

    SKIP = "skip"  # its weight goes to the rest of its group, a group's weight to the other groups
    NEUTRAL = "neutral"  # half of its points
    BAD = "bad"  # no points

    @cached_property
    def points(self) -> int | None:
        """Return the points in its place; None leaves it out."""
        if self is MissingPolicy.SKIP:
            return None
        return FULL // 2 if self is MissingPolicy.NEUTRAL else 0


@dataclass(frozen=True, slots=True)
class Weighted:
    """A measure in a scorecard, called `name` there. `share` is its part of its group, `group` that group's place, `weight` its part of the score.

    `curves` are (day of tenure, curve): the last one that began counts, so that an older account may be held to more.
    """

    name: str
    code: str
    measure: Measure
    curves: tuple[tuple[int, Curve], ...]
    share: int
    group: int
    weight: int
    missing: MissingPolicy
    options: Mapping[str, Any]

    def curve(self, view: View) -> Curve:
        """Return the curve for an account of this age."""
        return self.curves[0][1] if len(self.curves) == 1 else self.curve_at(view.tenure)

    def curve_at(self, tenure: int) -> Curve:
        """Return the curve for an account of `tenure` days."""
        return next((curve for day, curve in reversed(self.curves) if tenure >= day), self.curves[0][1])

    @property
    def family(self) -> str:
        """Return the name under which accounts report what this measure watches."""
        return self.measure.family(self.options)

    @property
    def window_days(self) -> int | None:
        """Return the window that people are told."""
        days: int | None = self.options.get("window_days", self.measure.window_days)
        return days


@dataclass(frozen=True, slots=True)
class FactHolds:
    """`fact` happened within `days` (None: ever), with one of `values` if there are any, and `cleared_by` has not happened since."""

    fact: str
    days: int | None = None
    cleared_by: str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeasureHolds:
    """The measure reads at least or at most so much, in hundredths of what its curve would be drawn over."""

    measure: Measure
    options: Mapping[str, Any]
    at_least: int | None = None
    at_most: int | None = None


@dataclass(frozen=True, slots=True)
class BandIs:
    """The score's own band is one of these."""

    bands: tuple[Band, ...]


Condition = FactHolds | MeasureHolds | BandIs


@dataclass(frozen=True)
class Flag:
    """All `conditions` hold: a knock-out forces `band`; without a band it is a finding of a kind, told and nothing more."""

    code: str
    band: Band | None
    conditions: tuple[Condition, ...]
    kind: FindingKind = FindingKind.OPPORTUNITY

    @cached_property
    def fact(self) -> str | None:
        """The first fact that it asks for."""
        return next((condition.fact for condition in self.conditions if isinstance(condition, FactHolds)), None)

    @cached_property
    def only_from(self) -> tuple[Band, ...] | None:
        """The score's own bands from which it holds; None: any."""
        return next((condition.bands for condition in self.conditions if isinstance(condition, BandIs)), None)


@dataclass(frozen=True, slots=True)
class Whom:
    """Which accounts a variant is for: all that is given must hold."""

    segments: tuple[str, ...] = ()
    lifecycles: tuple[Lifecycle, ...] = ()
    tenure_below: int | None = None

    def fits(self, segment: str, life: Lifecycle, tenure: int) -> bool:
        return (
            (not self.segments or segment in self.segments)
            and (not self.lifecycles or life in self.lifecycles)
            and (self.tenure_below is None or tenure < self.tenure_below)
        )


@dataclass(frozen=True, slots=True)
class Calendars:
    """The fact `by` names an account's calendar; one that is not listed has `default`."""

    by: str = "country"
    default: Calendar = EVERY_DAY
    known: Mapping[str, Calendar] = field(default_factory=dict)

    def of(self, name: object) -> Calendar:
        return self.default if name is None else self.known.get(str(name).strip().casefold(), self.default)


@dataclass(frozen=True, slots=True)
class BandPolicy:
    """When a score becomes a band. Enter below, leave above, so that a score on the edge does not flap; then wait.

    A band worsens after `worse_closes` closes in a row that ask for it, and improves after `better_closes`. Red asks for more than a low
    score: a silence beyond `pause_percent` of the pauses the account came back from (`unknown_pause_days` before it has shown any; 0 per cent:
    the score alone decides). Red is left only by sustained use: `recovery_active_days` within `recovery_window` days, or
    within the account's own pause if that is longer.
    """

    red_enter: int
    red_leave: int
    pause_percent: int
    unknown_pause_days: int
    green_enter: int
    green_leave: int
    worse_closes: int
    better_closes: int
    recovery_active_days: int
    recovery_window: int

    @property
    def settle_closes(self) -> int:
        """Return how many closes without a change make a band settled, and end a silent cause: one dwell."""
        return max(self.worse_closes, self.better_closes)


@dataclass(frozen=True)
class Scorecard:
    """`coverage_floor` and shares are hundredths of a per cent of the weight. `segment_by` are the facts of which the first known one is the segment.

    Of `variants` the first one that fits an account counts for it; where none does, this is the default.
    """

    version: str
    measures: tuple[Weighted, ...]
    bands: BandPolicy
    coverage_floor: int
    least_age_days: int
    segment_by: tuple[str, ...] = ()
    knockouts: tuple[Flag, ...] = ()
    findings: tuple[Flag, ...] = ()
    calendars: Calendars | None = None
    name: str = "default"
    variants: tuple[tuple[Whom, "Scorecard"], ...] = ()
    _shares: dict[int, tuple[int, ...]] = field(init=False, default_factory=dict, repr=False, compare=False)
    _coverages: dict[tuple[int, int], int] = field(init=False, default_factory=dict, repr=False, compare=False)

    def of(self, segment: str, life: Lifecycle, tenure: int) -> "Scorecard":
        """Return the variant for an account."""
        return next((card for whom, card in self.variants if whom.fits(segment, life, tenure)), self)

    def variant(self, name: str) -> "Scorecard":
        """Return the variant of that name, the default by any other."""
        return next((card for _, card in self.variants if card.name == name), self)

    @cached_property
    def reporting(self) -> dict[str, Weighted]:
        """The measures, of all variants, whose absence means something where others report them."""
        rows = (row for card in (self, *(card for _, card in self.variants)) for row in card.measures)
        return {row.family: row for row in rows if row.measure.reports is not None}

    def shares(self, present: int) -> tuple[int, ...]:
        """Return each measure's part of the score in millionths when only the measures in the bit mask `present` have points; they total a million."""
        found = self._shares.get(present)
        if found is None:
            found = self._shares[present] = self._share_out(present)
        return found

    def coverage(self, evident: int, applicable: int) -> int:
        """Return which part of the weight of the `applicable` measures has evidence, in hundredths of a per cent; both are bit masks."""
        found = self._coverages.get((evident, applicable))
        if found is None:
            shares = self.shares(applicable)
            covered = sum(share for place, share in enumerate(shares) if evident >> place & 1)
            found = self._coverages[evident, applicable] = covered // (MILLION // FULL)
        return found

    def _share_out(self, present: int) -> tuple[int, ...]:
        chosen = [row for place, row in enumerate(self.measures) if present >> place & 1]
        groups = {row.group: row.weight for row in chosen}
        total = sum(groups.values())
        within = {group: sum(row.share for row in chosen if row.group == group) for group in groups}
        weights = [
            (row.weight * row.share, total * within[row.group]) if present >> place & 1 else (0, 1)
            for place, row in enumerate(self.measures)
        ]
        return share_out(MILLION, weights)


def share_out(whole: int, fractions: list[tuple[int, int]]) -> tuple[int, ...]:
    """Return integers near whole x numerator / denominator that total what the fractions total (rounded): the largest remainders round up.

    Equal remainders go to the earlier one, so the result depends on nothing but the numbers.
    """
    floors = [whole * top // bottom for top, bottom in fractions]
    common = 1
    for _, bottom in fractions:
        common *= bottom
    exact = sum(whole * top * (common // bottom) for top, bottom in fractions)
    missing = (2 * exact + common) // (2 * common) - sum(floors)
    rests = [(-(whole * top % bottom) * (common // bottom), place) for place, (top, bottom) in enumerate(fractions)]
    for _, place in sorted(rests)[:missing]:
        floors[place] += 1
    return tuple(floors)
