"""Pure. CloudEvents 1.0 in its three modes, as calls: `type` names the event, `data` holds its properties."""

from typing import Any
from urllib.parse import unquote

import msgspec
from churnsignal_common.contracts.envelope import Format
from msgspec import Raw

from churnsignal_ingest.validate.batches import Parcel
from churnsignal_ingest.validate.calls import Call
from churnsignal_ingest.validate.limits import decode_any
from churnsignal_ingest.validate.reasons import Problem, Reason, Refusal, RequestProblem

# Extension attributes that name the account and the user; CloudEvents names hold only small letters and digits.
_ACCOUNT = ("accountid", "account", "groupid")
_USER = ("userid", "user", "subject")
_encode = msgspec.json.Encoder().encode
_split = msgspec.json.Decoder(list[Raw]).decode


def open_events(body: bytes, content_type: str, headers: dict[str, str]) -> Parcel:
    """Return the events of a structured, binary or batched request; the `Content-Type` tells which it is."""
    media = content_type.partition(";")[0].strip().lower()
    if media == "application/cloudevents-batch+json":
        try:
            return Parcel([bytes(raw) for raw in _split(body)], parse_event, form=Format.CLOUDEVENTS)
        except msgspec.ValidationError:
            raise RequestProblem(Problem.MALFORMED_BATCH) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RequestProblem(Problem.MALFORMED_JSON) from None
    if media == "application/cloudevents+json":
        return Parcel([body], parse_event, form=Format.CLOUDEVENTS)
    if "ce-specversion" in headers:
        return Parcel([_from_binary(body, media, headers)], parse_event, form=Format.CLOUDEVENTS)
    raise RequestProblem(Problem.UNSUPPORTED_MEDIA)


def _from_binary(body: bytes, media: str, headers: dict[str, str]) -> bytes:
    """Return the binary mode's event in structured form. SDKs percent-encode the headers' values."""
    parts = [_encode(name[3:]) + b":" + _encode(unquote(value)) for name, value in headers.items() if name.startswith("ce-")]
    if media:
        parts.append(b'"datacontenttype":' + _encode(media))
    if body:
        is_json = not media or media.endswith("json")
        if is_json:
            _check_json(body)
        parts.append(b'"data":' + body if is_json else b'"data_base64":' + _encode(body))
    return b"{" + b",".join(parts) + b"}"


def _check_json(body: bytes) -> None:
    """Refuse data that is not one JSON value: joined in, it could say more attributes than its headers."""
    try:
        decode_any(body)
    except Refusal:
        raise RequestProblem(Problem.MALFORMED_JSON) from None


def parse_event(raw: bytes) -> tuple[Call, bytes]:
    event = decode_any(raw)
    if not isinstance(event, dict):
        raise Refusal(Reason.NOT_AN_OBJECT)
    name, source, identity = event.get("type"), event.get("source"), event.get("id")
    if not (isinstance(name, str) and name):
        raise Refusal(Reason.NO_EVENT_NAME)
    if not (isinstance(source, str) and source and isinstance(identity, str) and identity):
        raise Refusal(Reason.BAD_ID)
    data = event.get("data")
    call = Call(
        type="track",
        event=name,
        message_id=_joined(source, identity),
        user_id=_first(event, _USER),
        context={"groupId": _first(event, _ACCOUNT)},
        timestamp=event.get("time"),
        properties=data if isinstance(data, dict) else None,
    )
    return call, raw


def _joined(source: str, identity: str) -> str:
    """Return one id for the two that name an event: a `#` in the source makes no two events look like one."""
    return f"#{len(source)}#{source}{identity}" if "#" in source else f"{source}#{identity}"


def _first(event: dict[str, Any], names: tuple[str, ...]) -> Any:
    found = next((event[name] for name in names if event.get(name) not in (None, "")), None)
    if isinstance(found, dict | list):
        raise Refusal(Reason.BAD_ID)
    return found
