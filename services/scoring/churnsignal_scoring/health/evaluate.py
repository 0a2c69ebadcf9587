"""Pure. From an account's view to a score whose parts add up to it exactly."""

import msgspec

from churnsignal_scoring.health.curves import FULL
from churnsignal_scoring.health.measures.measure import Missing, Reading
from churnsignal_scoring.health.scorecard import MILLION, Scorecard
from churnsignal_scoring.health.view import View

_NOT_APPLICABLE = Missing.NOT_APPLICABLE


class Evaluation(msgspec.Struct, frozen=True):
    """`readings`, `points`, `shares` and `contributions` are in the scorecard's order; points are None where a measure does not count.

    `asked` are the counts that each reading asked for, as they were on the newest day.

    `score` is what the points make; whether there is enough evidence for it is in `coverage` (hundredths of a per cent of the weight).
    """

    score: int
    coverage: int
    readings: tuple[Reading | Missing, ...]
    points: tuple[int | None, ...]
    shares: tuple[int, ...]
    contributions: tuple[int, ...]
    asked: tuple[dict[str, int], ...] = ()


def evaluate(view: View, scorecard: Scorecard, before: Evaluation | None = None) -> Evaluation:
    """Return the evaluation of one account; of what was read `before`, from the same view, only what has moved since is read again."""
    readings: list[Reading | Missing] = []
    points: list[int | None] = []
    asked: list[dict[str, int]] = []
    present = evident = applicable = 0
    bit = 1
    for place, row in enumerate(scorecard.measures):
        if before is None or view.state.has_moved(before.asked[place]):
            view.asked = {}
            reading = row.measure.read(view, row.options)
        else:
            view.asked, reading = before.asked[place], before.readings[place]
        asked.append(view.asked)
        readings.append(reading)
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
    score, contributions = add_up(points, shares)
    return Evaluation(score, _coverage(scorecard, evident, applicable), tuple(readings), tuple(points), shares, contributions, tuple(asked))


def add_up(points: list[int | None], shares: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Return the score and the contributions that total it exactly: rounded down, the largest remainders get what is left."""
    parts = [(value or 0) * share for value, share in zip(points, shares, strict=True)]
    score = (sum(parts) + MILLION // 2) // MILLION
    contributions = [part // MILLION for part in parts]
    rests = [part % MILLION for part in parts]
    for _ in range(score - sum(contributions)):
        place = rests.index(max(rests))
        contributions[place] += 1
        rests[place] = -1
    return score, tuple(contributions)


def _coverage(scorecard: Scorecard, evident: int, applicable: int) -> int:
    if evident == applicable:
        return FULL if applicable else 0
    shares = scorecard.shares(applicable)
    return sum(share for place, share in enumerate(shares) if evident >> place & 1) // (MILLION // FULL)
