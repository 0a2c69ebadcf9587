"""Pure. Rows of a file as calls: `account_id, user_id, event, occurred_at` and any further columns as properties."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
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


@dataclass(frozen=True, slots=True)
class Slice:
    """Some rows' calls as one body for /v1/import. `rows` counts them, `after` is the number of the row behind the last."""

    body: bytes
    rows: int
    after: int


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


def slices(rows: Iterable[dict[str, Any]], file_id: str, skip: int, max_rows: int, max_bytes: int) -> Iterator[Slice]:
    """Yield the calls in bodies that stay within the limits of a batch; the first `skip` rows are behind us."""
    held: list[bytes] = []
    size = 0
    number = -1
    for number, row in enumerate(rows):
        if number < skip:
            continue
        call = _encode(call_of(row, number, file_id))
        if held and (len(held) >= max_rows or size + len(call) > max_bytes):
            yield _slice(held, number)
            held, size = [], 0
        held.append(call)
        size += len(call) + 1
    if held:
        yield _slice(held, number + 1)


def _slice(calls: list[bytes], after: int) -> Slice:
    return Slice(b'{"batch":[' + b",".join(calls) + b"]}", len(calls), after)
