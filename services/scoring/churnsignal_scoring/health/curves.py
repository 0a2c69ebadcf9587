"""Pure. Curves from a measured value to points: piecewise linear between documented knots, flat outside them."""

from bisect import bisect_right
from dataclasses import dataclass

FULL = 10_000
"""Points and scores are integer hundredths: 10,000 is 100."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Knots in hundredths of the measure's unit (x, not falling) and hundredths of points (y, one direction only).

    At a knot the value is exactly its y. Left of the first and right of the last knot the curve stays flat. Two knots with the same x are a
    step: from that x on the second y counts.
    """

    xs: tuple[int, ...]
    ys: tuple[int, ...]

    @property
    def rising(self) -> bool:
        """Return whether more of the measure is better."""
        return self.ys[-1] >= self.ys[0]

    def points(self, value: int) -> int:
        """Return the points of `value`, rounded down; monotone because rounding down is."""
        xs, ys = self.xs, self.ys
        if value < xs[0]:
            return ys[0]
        if value >= xs[-1]:
            return ys[-1]
        right = bisect_right(xs, value)
        x0, y0 = xs[right - 1], ys[right - 1]
        return y0 + (ys[right] - y0) * (value - x0) // (xs[right] - x0)

    def value_for(self, points: int) -> int | None:
        """Return the nearest value that earns at least `points`: the smallest on a rising curve, the largest on a falling one."""
        if points > max(self.ys[0], self.ys[-1]):
            return None
        low, high = self.xs[0], self.xs[-1]
        while low < high:
            if self.rising:
                middle = (low + high) // 2
                low, high = (low, middle) if self.points(middle) >= points else (middle + 1, high)
            else:
                middle = (low + high + 1) // 2
                low, high = (middle, high) if self.points(middle) >= points else (low, middle - 1)
        return low


def curve(knots: list[tuple[float, float]]) -> Curve:
    """Return the curve through `knots` given as (value, points 0..100)."""
    return Curve(tuple(round(x * 100) for x, _ in knots), tuple(round(y * 100) for _, y in knots))
