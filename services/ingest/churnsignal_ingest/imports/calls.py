"""Pure. Rows of a file as calls: `account_id, user_id, event, occurred_at` and any further columns as properties."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import msgspec

from churnsignal_ingest.validate.reasons import REASONS, Reason

# Warehouses keep whole numbers as decimals.
_encode = msgspec.json.Encoder(decimal_format="number").encode
_MEANING = {
    "account_id": "account",
    "group_id": "account",
    "groupId": "account",
    "user_id": "user",
    "userId": "user",
    "anonymous_id": "anonymous",
    "anonymousId": "anonymous",
    "event": "event",
    "occurred_at": "time",
    "timestamp": "time",
    "id": "id",
    "message_id": "id",
    "messageId": "id",
}
_TIMES = ("timestamp", "originalTimestamp")
_HEAD, _TAIL = b'{"historical":true,"batch":[', b"]}"


class RowProblem(StrEnum):
    """Why a row is not even sent; the service's own reasons tell of the others."""

    UNREADABLE = "unreadable_row"
    NOT_UTF_8 = "not_utf_8"
    NO_TIME = "no_time"
    TOO_LARGE = Reason.TOO_LARGE.value


SAVE_AS_UTF_8 = "Save the file as UTF-8, in Excel as `CSV UTF-8`."
_SAID = {
    RowProblem.NOT_UTF_8: f"The row is no UTF-8. {SAVE_AS_UTF_8}",
    RowProblem.NO_TIME: "The row does not say when it happened; as history it would count for today. Fill `occurred_at`.",
    RowProblem.TOO_LARGE: f"{REASONS[Reason.TOO_LARGE].cause} {REASONS[Reason.TOO_LARGE].remedy}",
}


class Unreadable(str):
    """What a reader of files yields in the place of a row that it cannot read: why."""

    __slots__ = ()


Row = dict[str, Any] | Unreadable


class BadRow(msgspec.Struct, frozen=True):
    """One row that will not count: its number (from 1), a reason's code, and the sentence about it."""

    row: int
    reason: str
    message: str


@dataclass(slots=True)
class Slice:
    """Some rows' calls as one body for /v1/import, and which row each call is. `after` rows of the file are then behind us."""

    body: bytes
    numbers: list[int]
    bad: list[BadRow] = field(default_factory=list)
    after: int = 0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much goes into one body, and how much one call may weigh."""

    rows: int
    body_bytes: int
    call_bytes: int


def call_of(row: dict[str, Any], number: int, file_id: str) -> dict[str, Any]:
    """Return the call that a row stands for. A row with a `type` is a call already. Ids are the same in every run."""
    if "type" in row:
        return row if row.get("messageId") else {**row, "messageId": f"{file_id}-{number}"}
    known = {_MEANING[name]: value for name, value in row.items() if name in _MEANING and value not in (None, "")}
    time = known.get("time")
    return {
        "type": "track",
        "messageId": str(known.get("id", f"{file_id}-{number}")),
        "event": known.get("event"),
        "userId": known.get("user"),
        "anonymousId": known.get("anonymous"),
        "timestamp": time.isoformat() if isinstance(time, date | datetime) else time,
        "context": {"groupId": known.get("account")},
        "properties": {name: value for name, value in row.items() if name not in _MEANING and value not in (None, "")},
    }


def slices(rows: Iterable[Row], file_id: str, skip: int, sizes: Sizes) -> Iterator[Slice]:
    """Yield the calls in bodies that stay within the limits of a batch; the first `skip` rows are behind us. The last one may be empty."""
    held: list[bytes] = []
    size = 0
    part = Slice(b"", [])
    number = -1
    for number, row in enumerate(rows):
        if number < skip:
            continue
        found = _encoded(row, number, file_id, sizes.call_bytes)
        if isinstance(found, BadRow):
            part.bad.append(found)
            continue
        if held and (len(held) >= sizes.rows or size + len(found) > sizes.body_bytes):
            yield _closed(part, held, number)
            held, size, part = [], 0, Slice(b"", [])
        held.append(found)
        part.numbers.append(number + 1)
        size += len(found) + 1
    if held or part.bad:
        yield _closed(part, held, number + 1)


def _encoded(row: Row, number: int, file_id: str, limit: int) -> bytes | BadRow:
    if isinstance(row, Unreadable):
        return BadRow(number + 1, RowProblem.UNREADABLE, str(row))
    call = call_of(row, number, file_id)
    if all(call.get(name) in (None, "") for name in _TIMES):
        return _bad(number, RowProblem.NO_TIME)
    try:
        encoded = _encode(call)
    except UnicodeEncodeError:
        return _bad(number, RowProblem.NOT_UTF_8)
    except (TypeError, ValueError) as error:
        return BadRow(number + 1, RowProblem.UNREADABLE, f"A value is no JSON: {type(error).__name__}.")
    return encoded if len(encoded) <= limit else _bad(number, RowProblem.TOO_LARGE)


def _bad(number: int, problem: RowProblem) -> BadRow:
    return BadRow(number + 1, problem.value, _SAID[problem])


def _closed(part: Slice, calls: list[bytes], after: int) -> Slice:
    part.body = _HEAD + b",".join(calls) + _TAIL
    part.after = after
    return part
