"""Pure. Keyset pages: an opaque cursor over the last row's sort key, the same in every list of the APIs."""

import base64
import binascii
from typing import Any

import msgspec


class BadCursor(ValueError):
    """The cursor did not come from us; the caller should start again without one."""

    def __init__(self) -> None:
        super().__init__("unknown cursor: ask for the first page again")


def encode_cursor(*key: Any) -> str:
    """Return an opaque cursor for the sort key of the last row shown."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> list[Any]:
    """Return the sort key, or raise BadCursor."""
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise BadCursor from error
    if not isinstance(key, list) or len(key) != length:
        raise BadCursor
    return key


def page(rows: list[dict[str, Any]], limit: int, *key: str) -> dict[str, Any]:
    """Return `{"items", "next_cursor"}` from up to limit + 1 rows; the extra row only tells that there is more."""
    items = rows[:limit]
    more = len(rows) > limit
    return {"items": items, "next_cursor": encode_cursor(*(items[-1][name] for name in key)) if more else None}
