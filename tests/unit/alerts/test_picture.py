"""The score's picture: what it shows, on which ground, and when there is none."""

from io import BytesIO

import pytest
from churnsignal_alerts.render.picture import HEIGHT, WIDTH, picture
from PIL import Image

RED = (212, 63, 58)


def opened(png: bytes | None) -> Image.Image:
    assert png is not None
    return Image.open(BytesIO(png)).convert("RGBA")


def height_of(image: Image.Image, x: int) -> float:
    """Return where the line is in a column, from 0 (bottom) to 1 (top)."""
    rows = [y for y in range(HEIGHT) if close(image.getpixel((x, y)))]
    assert rows, f"no line at {x}"
    return 1 - (sum(rows) / len(rows) - 20) / (HEIGHT - 40)


def close(pixel: object) -> bool:
    assert isinstance(pixel, tuple)
    return pixel[3] > 200 and all(abs(a - b) < 30 for a, b in zip(pixel, RED, strict=False))


def test_the_line_goes_where_the_score_went() -> None:
    image = opened(picture([10_000] * 45 + [2_500] * 45, "#d43f3a"))

    assert image.size == (WIDTH, HEIGHT)
    assert height_of(image, 200) == pytest.approx(1.0, abs=0.03)
    assert height_of(image, 900) == pytest.approx(0.25, abs=0.03)


def test_the_ground_is_see_through_so_that_it_fits_light_and_dark() -> None:
    corner = opened(picture([5_000, 6_000], "#d43f3a")).getpixel((WIDTH - 1, 0))

    assert isinstance(corner, tuple)
    assert corner[3] == 0


def test_days_without_a_score_are_a_gap() -> None:
    image = opened(picture([8_000] * 30 + [None] * 30 + [8_000] * 30, "#d43f3a"))

    with pytest.raises(AssertionError, match="no line"):
        height_of(image, WIDTH // 2)


@pytest.mark.parametrize("trend", [(), (5_000,), (None, None), (None, 5_000, None)])
def test_a_history_too_short_for_a_line_has_no_picture(trend: tuple[int | None, ...]) -> None:
    assert picture(trend, "#d43f3a") is None


@pytest.mark.parametrize("trend", [(-(10**9), 10**9), (0, 10_000), tuple(range(0, 10_000, 7))])
def test_any_scores_make_a_small_picture(trend: tuple[int, ...]) -> None:
    png = picture(trend, "#d43f3a")

    assert opened(png).size == (WIDTH, HEIGHT)
    assert len(png or b"") < 12_000
