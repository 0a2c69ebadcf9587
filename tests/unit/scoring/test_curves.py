"""Curves: exact at their knots, straight between, flat outside, one direction only."""

import pytest
from churnsignal_scoring.health.curves import FULL, Curve, curve
from hypothesis import given
from hypothesis import strategies as st

FALLING = curve([(0, 100), (5, 80), (13, 35), (30, 0)])
RISING = curve([(0, 0), (1, 20.6), (28, 100)])

knots = st.lists(st.integers(0, 10_000), min_size=2, max_size=8, unique=True).map(sorted)
heights = st.lists(st.integers(0, FULL), min_size=2, max_size=8)


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    xs = draw(knots)
    ys = sorted(draw(st.lists(st.integers(0, FULL), min_size=len(xs), max_size=len(xs))), reverse=draw(st.booleans()))
    return Curve(tuple(xs), tuple(ys))


@pytest.mark.parametrize(
    ("value", "points"),
    [
        (-100, 10_000),
        (0, 10_000),
        (250, 9_000),
        (500, 8_000),
        (501, 7_994),
        (900, 5_750),
        (1_300, 3_500),
        (2_999, 2),
        (3_000, 0),
        (99_999, 0),
    ],
)
def test_a_falling_curve_is_exact_at_knots_and_flat_outside(value: int, points: int) -> None:
    assert FALLING.points(value) == points


@pytest.mark.parametrize(("value", "points"), [(-1, 0), (0, 0), (50, 1_030), (100, 2_060), (2_800, 10_000), (2_801, 10_000)])
def test_a_rising_curve_is_exact_at_knots_and_flat_outside(value: int, points: int) -> None:
    assert RISING.points(value) == points


@given(curves(), st.integers(-100, 11_000), st.integers(0, 5_000))
def test_more_of_a_value_never_moves_points_against_the_curve(shape: Curve, value: int, more: int) -> None:
    before, after = shape.points(value), shape.points(value + more)

    assert 0 <= before <= FULL
    assert after >= before if shape.rising else after <= before


@given(curves(), st.integers(0, FULL))
def test_the_value_for_points_earns_them_and_its_neighbour_does_not(shape: Curve, points: int) -> None:
    value = shape.value_for(points)

    if value is None:
        assert points > max(shape.ys)
        return
    assert shape.points(value) >= points
    worse = value - 1 if shape.rising else value + 1
    assert worse < shape.xs[0] or worse > shape.xs[-1] or shape.points(worse) < points


def test_on_a_falling_curve_the_largest_value_that_earns_enough_is_found() -> None:
    assert [Curve((0, 10), (10, 0)).value_for(points) for points in range(11)] == list(range(10, -1, -1))


@pytest.mark.parametrize(("ys", "rises"), [((100, 100, 0), False), ((100, 0, 0), False), ((0, 0, 100), True), ((0, 100, 100), True)])
def test_a_curve_that_is_flat_at_one_end_still_has_its_direction(ys: tuple[int, ...], rises: bool) -> None:
    assert Curve((0, 1, 2), ys).rising is rises


def test_a_step_at_the_first_knot_counts_from_there_on() -> None:
    assert [Curve((0, 0, 500), (0, 5_000, 10_000)).points(value) for value in (-1, 0)] == [0, 5_000]
