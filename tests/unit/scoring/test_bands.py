"""The band machine as a table: what each close makes of a band."""

import itertools
from dataclasses import replace

import pytest
from churnsignal_common.contracts.risk import Band
from churnsignal_scoring.health.bands import Standing, at_least, is_worse, step, wanted
from churnsignal_scoring.health.scorecard import BandPolicy
from hypothesis import given
from hypothesis import strategies as st

GREY, GREEN, YELLOW, RED = Band.GREY, Band.GREEN, Band.YELLOW, Band.RED
POLICY = BandPolicy(
    red_enter=4_000,
    red_leave=4_500,
    pause_percent=250,
    unknown_pause_days=4,
    green_enter=7_000,
    green_leave=6_500,
    worse_closes=2,
    better_closes=3,
    recovery_active_days=3,
    recovery_window=14,
)


@pytest.mark.parametrize(
    ("band", "score", "quiet", "asked"),
    [
        (GREEN, 6_500, False, GREEN),
        (GREEN, 6_499, False, YELLOW),
        (YELLOW, 6_999, False, YELLOW),
        (YELLOW, 7_000, False, GREEN),
        (YELLOW, 4_000, True, YELLOW),
        (YELLOW, 3_999, True, RED),
        (YELLOW, 3_999, False, YELLOW),
        (GREEN, 0, False, YELLOW),
        (GREEN, 0, True, RED),
        (RED, 4_499, False, RED),
        (RED, 4_500, True, YELLOW),
        (RED, 7_000, True, GREEN),
        (GREY, 7_000, False, GREEN),
        (GREY, 6_999, False, YELLOW),
        (GREY, 3_999, True, RED),
        (RED, None, True, GREY),
        (GREEN, None, False, GREY),
    ],
)
def test_a_band_is_left_later_than_it_is_entered(band: Band, score: int | None, quiet: bool, asked: Band) -> None:
    assert wanted(POLICY, band, score, quiet=quiet) is asked


def walk(start: Band, closes: list[tuple[int | None, bool, bool]], policy: BandPolicy = POLICY) -> list[Band]:
    standing, seen = Standing(start), []
    for score, quiet, recovered in closes:
        standing = step(policy, standing, score, quiet=quiet, recovered=recovered)
        seen.append(standing.band)
    return seen


@pytest.mark.parametrize(
    ("start", "closes", "bands"),
    [
        pytest.param(GREY, [(8_000, False, True)], [GREEN], id="the first evidence is believed at once"),
        pytest.param(GREEN, [(5_000, False, True)] * 2, [GREEN, YELLOW], id="worse needs two closes in a row"),
        pytest.param(
            GREEN, [(5_000, False, True), (8_000, False, True), (5_000, False, True)], [GREEN] * 3, id="a close between starts anew"
        ),
        pytest.param(GREEN, [(3_000, True, False)] * 2, [GREEN, RED], id="green may turn red without being yellow"),
        pytest.param(GREEN, [(5_000, False, True), (3_000, True, False)], [GREEN, RED], id="two different worse closes count together"),
        pytest.param(YELLOW, [(8_000, False, True)] * 3, [YELLOW, YELLOW, GREEN], id="better needs three"),
        pytest.param(YELLOW, [(8_000, False, True)] * 2 + [(5_000, False, True)] + [(8_000, False, True)], [YELLOW] * 4, id="better anew"),
        pytest.param(RED, [(9_000, False, False)] * 9, [RED] * 9, id="red is not left without sustained use, whatever the score"),
        pytest.param(RED, [(9_000, False, True)] * 3, [RED, RED, GREEN], id="red is left after sustained use"),
        pytest.param(RED, [(9_000, False, True)] * 2 + [(9_000, False, False)] + [(9_000, False, True)] * 2, [RED] * 5, id="use must last"),
        pytest.param(RED, [(4_400, False, True)] * 5, [RED] * 5, id="red is not left below its upper edge"),
        pytest.param(GREEN, [(None, False, True)] * 2, [GREEN, GREY], id="evidence that goes missing turns grey after the dwell"),
        pytest.param(RED, [(None, False, False)] * 2, [RED, GREY], id="red turns grey without evidence"),
        pytest.param(YELLOW, [(8_000, False, True), (3_000, True, False), (8_000, False, True)], [YELLOW] * 3, id="up and down cancel"),
    ],
)
def test_a_band_moves_only_after_its_dwell(start: Band, closes: list[tuple[int | None, bool, bool]], bands: list[Band]) -> None:
    assert walk(start, closes) == bands


@given(st.lists(st.sampled_from([5_999, 6_000, 6_499, 6_500, 6_999]), max_size=60))
def test_a_score_between_the_edges_never_flaps(scores: list[int]) -> None:
    bands = walk(YELLOW, [(score, False, True) for score in scores])

    assert set(bands) <= {YELLOW}


@given(st.lists(st.tuples(st.integers(0, 10_000), st.booleans(), st.booleans()), max_size=60))
def test_two_changes_are_never_closer_than_the_shorter_dwell(closes: list[tuple[int, bool, bool]]) -> None:
    bands = [GREEN, *walk(GREEN, list(closes))]

    moves = [place for place in range(1, len(bands)) if bands[place] is not bands[place - 1]]
    assert all(after - before >= 2 for before, after in itertools.pairwise(moves))


def test_a_policy_without_dwell_moves_at_once() -> None:
    assert walk(GREEN, [(3_000, True, False), (9_000, False, True)], replace(POLICY, worse_closes=1, better_closes=1)) == [RED, GREEN]


@pytest.mark.parametrize(
    ("own", "forced", "shown"),
    [(GREEN, RED, RED), (RED, YELLOW, RED), (GREY, RED, RED), (GREY, YELLOW, YELLOW), (YELLOW, YELLOW, YELLOW), (GREEN, YELLOW, YELLOW)],
)
def test_a_fact_forces_a_band_that_the_score_can_only_make_worse(own: Band, forced: Band, shown: Band) -> None:
    assert at_least(own, forced) is shown


def test_grey_is_neither_better_nor_worse_than_green_and_yellow() -> None:
    assert not any(is_worse(*pair) for pair in [(GREY, GREEN), (GREY, YELLOW), (GREEN, GREY), (YELLOW, GREY), (GREY, RED)])


@pytest.mark.parametrize("band", [GREEN, YELLOW, RED])
def test_no_band_is_worse_than_itself(band: Band) -> None:
    assert not is_worse(band, band)


@pytest.mark.parametrize("band", [GREEN, YELLOW, RED])
def test_grey_is_worse_than_nothing(band: Band) -> None:
    assert is_worse(GREY, band) is False


def test_a_close_that_asks_for_better_ends_the_wait_for_worse() -> None:
    assert step(POLICY, Standing(YELLOW, 1), 9_000, quiet=False, recovered=True) == Standing(YELLOW, -1)
