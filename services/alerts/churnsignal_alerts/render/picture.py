"""Pure. The score over time as a small picture for e-mail: see-through and in middle tones, so that it reads on light and dark."""

from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

# Shown at half this size, which is also what makes its lines smooth.
WIDTH, HEIGHT = 1040, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 28, 20, 20
_GRID, _INK = (128, 136, 148, 110), (128, 136, 148, 255)
_FULL = 10_000
_FONT = ImageFont.load_default(22)


def picture(trend: Sequence[int | None], colour: str) -> bytes | None:
    """Return a PNG of the scores (hundredths) with the last one marked; None when fewer than two are known."""
    points = [None if score is None else (_x(place, len(trend)), _y(score)) for place, score in enumerate(trend)]
    known = [point for point in points if point]
    if len(known) < 2:
        return None
    image = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    for value in (0, 50, 100):
        y = _y(value * 100)
        draw.line([(_LEFT, y), (WIDTH - _RIGHT, y)], fill=_GRID, width=2)
        draw.text((_LEFT - 12, y), str(value), fill=_INK, font=_FONT, anchor="rm")
    for before, after in pairwise(points):
        if before and after:
            draw.line([before, after], fill=colour, width=5)
    draw.circle(known[-1], 11, fill=colour)
    out = BytesIO()
    image.quantize(32).save(out, "PNG")
    return out.getvalue()


def _x(place: int, many: int) -> float:
    return _LEFT + place * (WIDTH - _LEFT - _RIGHT) / (many - 1) if many > 1 else _LEFT


def _y(score: int) -> float:
    return HEIGHT - _BOTTOM - min(_FULL, max(0, score)) * (HEIGHT - _TOP - _BOTTOM) / _FULL
