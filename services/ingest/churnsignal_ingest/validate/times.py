"""Pure. When a call happened: lenient reading of timestamps, correction of wrong client clocks, no future."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from churnsignal_ingest.validate.reasons import Reason, Refusal

SKEW_TOLERANCE = timedelta(seconds=60)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
# Epoch numbers below this are seconds (until the year 5138), above it milliseconds (since 1973).
_SECONDS_BELOW = 100_000_000_000
_ODD_FRACTION = re.compile(r"\.(?=[Zz+-]|$)")
_encode = msgspec.json.Encoder().encode


def read_time(value: Any) -> datetime | None:
    """Return the aware UTC time that `value` spells; None when absent. No zone means UTC."""
    if value is None:
        return None
    try:
        # As the typed pass over a call reads it, so that one spelling is one moment whichever way a call came.
        moment = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        moment = _from_odd_text(value) if isinstance(value, str) else _from_number(value)
    if moment.tzinfo is not UTC:
        moment = _to_utc(moment)
    if moment < EARLIEST:
        raise Refusal(Reason.BAD_TIMESTAMP)
    return moment


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise Refusal(Reason.BAD_TIMESTAMP) from None


def _from_number(value: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(Reason.BAD_TIMESTAMP)
    try:
        return datetime.fromtimestamp(value if value < _SECONDS_BELOW else value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise Refusal(Reason.BAD_TIMESTAMP) from None


def _from_odd_text(value: str) -> datetime:
    """Read what RFC 3339 does not know: short zones, blanks around, a leap second, a bare point, epoch numbers as text."""
    text = value.strip().upper()
    if text.isascii() and text.isdigit() and len(text) >= 9:
        return _from_number(int(text[:17]))
    leap = ":60" in text
    if leap:
        text = text.replace(":60", ":59", 1)
    if "." in text:
        text = _ODD_FRACTION.sub("", text)
    try:
        moment = datetime.fromisoformat(text)
        return moment + timedelta(seconds=1) if leap else moment
    except (ValueError, OverflowError):
        raise Refusal(Reason.BAD_TIMESTAMP) from None


def skew(received_at: datetime, sent_at: datetime | None) -> timedelta | None:
    """Return how far the client's clock is behind ours; None when it is right within the tolerance, or unknown."""
    if sent_at is None:
        return None
    behind = received_at - sent_at
    return behind if abs(behind) > SKEW_TOLERANCE else None


def happened(stamped_at: datetime | None, received_at: datetime, behind: timedelta | None) -> datetime:
    """Return when the call happened by our clock, never after we received it."""
    if stamped_at is None:
        return received_at
    try:
        moment = stamped_at if behind is None else stamped_at + behind
    except OverflowError:
        return received_at
    return min(moment, received_at)


def json_time(moment: datetime) -> bytes:
    """Return `moment` as JSON, quotes included."""
    return _encode(moment)
