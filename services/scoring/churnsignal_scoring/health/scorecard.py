"""Pure. A scorecard: which measures count how much, on which curves, and when a score becomes a band."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from churnsignal_common.contracts.risk import Band

from churnsignal_scoring.health.curves import FULL, Curve
from churnsignal_scoring.health.measures.measure import Measure

MILLION = 1_000_000


class MissingPolicy(StrEnum):
    """What a measure without evidence does to the score. None of them counts as evidence."""

    SKIP = "skip"  # its weight goes to the rest of its group, a group's weight to the other groups
    NEUTRAL = "neutral"  # half of its points
    BAD = "bad"  # no points

    @property
    def points(self) -> int | None:
        """Return the points in its place; None leaves it out."""
        if self is MissingPolicy.SKIP:
            return None
        return FULL // 2 if self is MissingPolicy.NEUTRAL else 0


@dataclass(frozen=True, slots=True)
class Weighted:
    """A measure in a scorecard. `share` is its part of its group, `group` that group's place and `weight` the group's part of the score, in per cent."""

    measure: Measure
    curve: Curve
    share: int
    group: int
    weight: int
    missing: MissingPolicy
    options: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Knockout:
    """One fact forces a band: `fact` happened within `days` and `cleared_by` has not happened since. `values`: only with one of these values."""

    code: str
    fact: str
    band: Band
    days: int
    cleared_by: str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BandPolicy:
    """When a score becomes a band. Enter below, leave above, so that a score on the edge does not flap; then wait.

    A band worsens after `worse_closes` closes in a row that ask for it, and improves after `better_closes`. Red asks for more than a low
    score: a silence beyond `pause_percent` of the pauses the account came back from (`unknown_pause_days` before it has shown any; 0 per cent:
    the score alone decides). Red is left only by sustained use: `recovery_active_days` within `recovery_window` days.
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
    """`version` names the content. `segment_by` are the facts of which the first known one is the account's segment."""

    version: str
    measures: tuple[Weighted, ...]
    bands: BandPolicy
    coverage_floor: int
    least_age_days: int
    segment_by: tuple[str, ...] = ()
    knockouts: tuple[Knockout, ...] = ()
    _shares: dict[int, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)

    def shares(self, present: int) -> tuple[int, ...]:
        """Return each measure's part of the score in millionths when only the measures in the bit mask `present` have points; they total a million."""
        found = self._shares.get(present)
        if found is None:
            found = self._shares[present] = self._share_out(present)
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
