"""Pure. One request: open its body, know what its calls share, judge each call by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from churnsignal_common.contracts.envelope import NULL, Around, Format, holds_nul
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY
from msgspec import Raw

from churnsignal_ingest.validate.calls import BROKEN, Call, decode_call, parse_call, parse_single
from churnsignal_ingest.validate.judge import SMALL, Arrival, Judge, Judged, Parse, Scope
from churnsignal_ingest.validate.limits import Limits, check_shape, decode_any
from churnsignal_ingest.validate.reasons import Problem, Refusal, RequestProblem
from churnsignal_ingest.validate.suppressed import Suppressed
from churnsignal_ingest.validate.times import json_time, read_time, skew

_encode = msgspec.json.Encoder().encode
# A batch's context stands in each of its envelopes: together they may weigh so many times what the batch may.
_CONTEXT_GROWTH = 8


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends, as the write key says."""

    source: str
    scope: Scope
    rudder: bool = False


class Parcel(msgspec.Struct, frozen=True):
    """An opened body: the calls as original bytes, how to parse one, and what stands around them.

    `plain`: they are Segment's calls, and no text in them can hold U+0000, so that most are decoded as they stand. `call`: the only one, decoded.
    """

    items: Sequence[bytes | Raw]
    parse: Parse
    write_key: str | None = None
    sent_at: Any = None
    historical: bool = False
    context: bytes | None = None
    plain: bool = False
    call: Call | None = None
    form: Format = Format.SEGMENT
    kind: str | None = None


class _Batch(msgspec.Struct):
    batch: list[Raw]
    write_key: Any = msgspec.field(default=None, name="writeKey")
    sent_at: Any = msgspec.field(default=None, name="sentAt")
    historical: Any = None
    # A union with Raw cannot be decoded, hence a default that is JSON itself.
    context: Raw = msgspec.field(default_factory=lambda: NULL)


class _Single(msgspec.Struct):
    write_key: Any = msgspec.field(default=None, name="writeKey")
    sent_at: Any = msgspec.field(default=None, name="sentAt")
    historical: Any = None


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_single = msgspec.json.Decoder(_Single).decode


def open_batch(body: bytes) -> Parcel:
    """Return the calls of a batch, or raise RequestProblem when it is none."""
    try:
        batch = _decode_batch(body)
    except BROKEN as error:
        is_object = isinstance(error, msgspec.ValidationError) and body.lstrip()[:1] == b"{"
        raise RequestProblem(Problem.MALFORMED_BATCH if is_object else Problem.MALFORMED_JSON) from None
    context = bytes(batch.context)
    return Parcel(
        batch.batch, parse_call, _text(batch.write_key) or _key_of_first(batch.batch), batch.sent_at, batch.historical is True, None if context == b"null" else context, not holds_nul(body),
    )  # fmt: skip


def _key_of_first(calls: list[Raw]) -> str | None:
    """Return the write key that stands in the calls only; the first one's speaks for all of its batch."""
    try:
        return _text(_decode_single(calls[0]).write_key) if calls else None
    except BROKEN:
        return None


def open_single(body: bytes, kind: str) -> Parcel:
    """Return a call that came alone to the path of its `kind`, or raise RequestProblem."""
    call = _decode_plain(body)
    if call is not None and call.type == kind:
        return Parcel([body], parse_call, None, call.sent_at, call.historical is True, kind=kind, plain=True, call=call)
    try:
        single = _decode_single(body)
    except BROKEN:
        raise RequestProblem(Problem.MALFORMED_JSON) from None
    parse = partial(parse_single, kind=kind)
    return Parcel([body], parse, _text(single.write_key), single.sent_at, single.historical is True, kind=kind)


def _decode_plain(body: bytes) -> Call | None:
    """Return a small call without a key of its own, as most that come alone are; None leaves it to those who look closer."""
    if len(body) > SMALL or holds_nul(body):
        return None
    try:
        return decode_call(body)
    except BROKEN:
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def judge_all(parcel: Parcel, sender: Sender, received_at: datetime, judge: Judge, suppressed: Suppressed, *, importing: bool) -> Judged:
    """Judge every call of `parcel`: N in, N in `accepted`, `refused` and `suppressed`. Raises RequestProblem when the batch breaks a limit."""
    _check_batch(parcel, judge.limits)
    arrival = _arrive(parcel, sender, received_at, judge.limits, suppressed, importing)
    judged = Judged()
    judge.judge_calls(parcel.items, parcel.parse, arrival, judged, plain=parcel.plain, only=parcel.call)
    if judged.refused:
        judge.keep(judged, sender.source, received_at, _around(parcel, sender, arrival, importing), parcel.write_key)
    return judged


def _around(parcel: Parcel, sender: Sender, arrival: Arrival, importing: bool) -> Around:
    return Around(
        scope=sender.scope.value, kind=parcel.kind, format=parcel.form, sent_at=arrival.sent_at, importing=importing,
        historical=parcel.historical, batch_context=NULL if parcel.context is None else Raw(parcel.context),
    )  # fmt: skip


def _check_batch(parcel: Parcel, limits: Limits) -> None:
    if len(parcel.items) > limits.batch_events:
        raise RequestProblem(Problem.TOO_MANY_EVENTS)
    if parcel.context is not None and len(parcel.context) * len(parcel.items) > _CONTEXT_GROWTH * limits.batch_bytes:
        raise RequestProblem(Problem.BATCH_TOO_LARGE)


def _arrive(parcel: Parcel, sender: Sender, received_at: datetime, limits: Limits, suppressed: Suppressed, importing: bool) -> Arrival:
    """Work out once what all calls share. On /v1/import only keys of scope import make history: other SDKs send live calls there."""
    try:
        sent_at = read_time(parcel.sent_at)
    except Refusal:
        sent_at = None
    may_import = sender.scope is Scope.IMPORT
    history = (importing or parcel.historical) and may_import
    received = json_time(received_at)
    head = b'{"source":' + _encode(sender.source) + b',"received_at":' + received
    if sent_at is not None:
        head += b',"sent_at":' + json_time(sent_at)
    if history:
        head += b',"history":true'
    if sender.scope is Scope.BROWSER:
        head += b',"public":true'
    if parcel.form is not Format.SEGMENT:
        head += b',"format":' + _encode(parcel.form)
    group_id = None
    if parcel.context is not None:
        head += b',"batch_context":' + parcel.context
        group_id = _group_of(parcel.context, limits)
    return Arrival(
        sender.source, sender.scope, received_at, sent_at, skew(received_at, sent_at), history,
        parcel.historical and not may_import, group_id, received, head + b',"id":',
        USAGE_HISTORY if history else USAGE_EVENTS, suppressed,
    )  # fmt: skip


def _group_of(context: bytes, limits: Limits) -> Any:
    try:
        check_shape(context, limits)
        parsed = decode_any(context)
    except Refusal:
        raise RequestProblem(Problem.MALFORMED_BATCH) from None
    if not isinstance(parsed, dict):
        raise RequestProblem(Problem.MALFORMED_BATCH)
    found = parsed.get("groupId")
    return None if found == "" else found
