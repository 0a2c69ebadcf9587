"""Pure. From an account's view to a score whose parts add up to it exactly."""

from collections.abc import Sequence

import msgspec

from churnsignal_scoring.health.measures.measure import Missing, Reading
from churnsignal_scoring.health.scorecard import MILLION, Scorecard
from churnsignal_scoring.health.view import View

_NOT_APPLICABLE = Missing.NOT_APPLICABLE


class Evaluation(msgspec.Struct, frozen=True, array_like=True):
    """`readings`, `points` and `shares` are in the scorecard's order; points are None where a measure does not count.

    `asked` are the counts that each reading of a live evaluation asked for, as they were on the newest day.

    `score` is what the points make; whether there is enough evidence for it is in `coverage` (hundredths of a per cent of the weight).
    """

    score: int
    coverage: int
    readings: tuple[Reading | Missing, ...]
    points: tuple[int | None, ...]
    shares: tuple[int, ...]
    asked: tuple[dict[str, int], ...] = ()

    @property
    def contributions(self) -> tuple[int, ...]:
        """Return each measure's part of the score; they total it exactly: rounded down, the largest remainders get what is left."""
        parts = [points * share if points else 0 for points, share in zip(self.points, self.shares, strict=True)]
        found = [part // MILLION for part in parts]
        rests = [part % MILLION for part in parts]
        for _ in range(self.score - sum(found)):
            place = rests.index(max(rests))
            found[place] += 1
            rests[place] = -1
        return tuple(found)


def evaluate(view: View, scorecard: Scorecard, before: Evaluation | None = None) -> Evaluation:
    """Return the evaluation of one account; of what was read `before`, as of the same day, only what has moved since is read again."""
    asked: list[dict[str, int]] = []
    if view.live:
        readings = _read_live(view, scorecard, before, asked)
    else:
        readings = [row.measure.read(view, row.options) for row in scorecard.measures]
    points: list[int | None] = []
    present = evident = applicable = 0
    bit = 1
    for row, reading in zip(scorecard.measures, readings, strict=True):
        value: int | None = None
        if isinstance(reading, Reading):
            value = row.curve(view).points(reading.measured)
            evident |= bit
            applicable |= bit
            present |= bit
        elif reading is not _NOT_APPLICABLE:
            value = row.missing.points
            applicable |= bit
            present |= 0 if value is None else bit
        points.append(value)
        bit <<= 1
    shares = scorecard.shares(present)
    coverage = scorecard.coverage(evident, applicable)
    return Evaluation(add_up(points, shares), coverage, tuple(readings), tuple(points), shares, tuple(asked))


def _read_live(view: View, scorecard: Scorecard, before: Evaluation | None, asked: list[dict[str, int]]) -> list[Reading | Missing]:
    readings: list[Reading | Missing] = []
    for place, row in enumerate(scorecard.measures):
        if before is None or view.state.has_moved(before.asked[place]):
            view.asked = set()
            readings.append(row.measure.read(view, row.options))
            asked.append(view.state.newest(view.asked))
        else:
            readings.append(before.readings[place])
            asked.append(before.asked[place])
    return readings


def add_up(points: Sequence[int | None], shares: Sequence[int]) -> int:
    """Return the score; what has no points has no share."""
    return (sum([value * share for value, share in zip(points, shares, strict=True) if value]) + MILLION // 2) // MILLION
