"""Pure. Facts come as people and CRMs write them: read them as numbers, days and words, or not at all."""

from datetime import UTC, date, datetime
from typing import Any

LARGEST = 1e15


def as_text(value: Any) -> str | None:
    """Return the words without space around them; None when there are none."""
    return None if value is None or not str(value).strip() else str(value).strip()


def as_number(value: Any) -> float | None:
    """Return `1,200` as 1200; None for what is no number or not finite."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value) if isinstance(value, (int, float)) else float(str(value).replace(",", ""))
    except (ValueError, OverflowError):
        return None
    return number if -LARGEST < number < LARGEST else None


def as_date(value: Any) -> date | None:
    """Return the day of an ISO date or time, or of epoch seconds or milliseconds as CRMs send them."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not -LARGEST < value < LARGEST:
            return None
        seconds = value / 1000 if value > 1e11 else value
        return datetime.fromtimestamp(seconds, UTC).date() if 0 < seconds < 1e11 else None
    try:
        return date.fromisoformat(str(value).strip()[:10])
    except ValueError:
        return None
