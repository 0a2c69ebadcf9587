"""Pure. One call of the tracking API, as it arrived: parsed once, its original bytes kept."""

from datetime import datetime
from typing import TypeAlias

import msgspec
from msgspec import Raw

from churnsignal_ingest.validate.limits import decode_any
from churnsignal_ingest.validate.reasons import Reason, Refusal

Scalar: TypeAlias = str | int | float | None
# The typed pass takes calls nested so far; it thus proves their depth on the way. Deeper ones, which are rare, are counted.
_Flat: TypeAlias = str | int | float | bool | None
_Deep1: TypeAlias = dict[str, _Flat] | list[_Flat] | _Flat
_Deep2: TypeAlias = dict[str, _Deep1] | list[_Deep1] | _Flat
_Deep3: TypeAlias = dict[str, _Deep2] | list[_Deep2] | _Flat
Object: TypeAlias = dict[str, _Deep3] | None


class Call(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields that SDKs send. A call with others, or with a `writeKey` of its own, takes the slower way through `parse_call`.

    No field is skipped: all of a call is decoded once here, so that no reader after us meets a byte that cannot be.
    A `timestamp` that is no RFC 3339 takes the slower way too, as text.
    """

    type: str | None = None
    event: str | None = None
    message_id: Scalar = msgspec.field(default=None, name="messageId")
    user_id: Scalar = msgspec.field(default=None, name="userId")
    anonymous_id: Scalar = msgspec.field(default=None, name="anonymousId")
    group_id: Scalar = msgspec.field(default=None, name="groupId")
    previous_id: Scalar = msgspec.field(default=None, name="previousId")
    timestamp: datetime | int | float | None = None
    original_timestamp: Scalar = msgspec.field(default=None, name="originalTimestamp")
    sent_at: Scalar = msgspec.field(default=None, name="sentAt")
    historical: bool | None = None
    context: Object = None
    properties: Object = None
    traits: Object = None
    integrations: _Deep3 = None
    name: _Flat = None
    category: _Flat = None
    channel: _Flat = None
    version: _Flat = None
    received_at: _Flat = msgspec.field(default=None, name="receivedAt")
    metadata: _Deep3 = msgspec.field(default=None, name="_metadata")


_Types: TypeAlias = tuple[set[type], Reason]
_ID: _Types = ({str, int, float}, Reason.BAD_ID)
_TIME: _Types = ({str, int, float}, Reason.BAD_TIMESTAMP)
_OBJECT: _Types = ({dict}, Reason.BAD_FIELD)
_ANY: _Types = ({str, int, float, bool, dict, list}, Reason.BAD_FIELD)
# What the rest of the validation relies on, whichever way a call came.
_TYPES: dict[str, _Types] = {
    "type": ({str}, Reason.UNKNOWN_TYPE), "event": ({str}, Reason.NO_EVENT_NAME), "historical": ({bool}, Reason.BAD_FIELD),
    "messageId": _ID, "userId": _ID, "anonymousId": _ID, "groupId": _ID, "previousId": _ID,
    "timestamp": _TIME, "originalTimestamp": _TIME, "sentAt": _TIME,
    "context": _OBJECT, "properties": _OBJECT, "traits": _OBJECT,
}  # fmt: skip
_FIELDS = {field.encode_name: (field.name, *_TYPES.get(field.encode_name, _ANY)) for field in msgspec.structs.fields(Call)}
decode_call = msgspec.json.Decoder(Call).decode
_split = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def parse_single(raw: bytes, kind: str) -> tuple[Call, bytes]:
    """Return a call that came alone to the path of its `kind`, and its bytes."""
    try:
        call = decode_call(raw)
    except BROKEN:
        return parse_call(raw, kind)
    return (call, raw) if call.type == kind else parse_call(raw, kind)


def parse_call(raw: bytes, kind: str | None = None) -> tuple[Call, bytes]:
    """Return a call that the typed pass did not take, and its bytes: the original ones, unless a write key must come out or the path's `kind` go in."""
    fields = decode_any(raw)
    if not isinstance(fields, dict):
        raise Refusal(Reason.NOT_AN_OBJECT)
    if "writeKey" in fields or kind is not None:
        raw = _respell(raw, kind)
        fields["type"] = kind or fields.get("type")
    known = {}
    for spelled, value in fields.items():
        if spelled in _FIELDS:
            name, types, reason = _FIELDS[spelled]
            if value is not None and type(value) not in types:
                raise Refusal(reason)
            known[name] = value
    return Call(**known), raw


def _respell(raw: bytes, kind: str | None) -> bytes:
    """Return the object without `writeKey` and with its type; the values keep their original bytes."""
    parts: dict[str, Raw | str] = {**_split(raw)}
    parts.pop("writeKey", None)
    if kind is not None:
        parts["type"] = kind
    return _encode(parts)
