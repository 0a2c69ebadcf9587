"""Pure. What a call may weigh: bytes, depth, keys, and strings that every later store can hold."""

from dataclasses import dataclass
from typing import Any

import msgspec
from churnsignal_common.contracts.envelope import holds_nul

from churnsignal_ingest.validate.reasons import Reason, Refusal

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Limits:
    """All after decompression. `rudder_batch_bytes` is for keys of kind rudder, whose SDKs send up to 4 MB."""

    event_bytes: int = 32 * 1024
    batch_bytes: int = 500 * 1024
    rudder_batch_bytes: int = 4000 * 1024
    batch_events: int = 2500
    depth: int = 32
    keys: int = 512
    id_bytes: int = 255
    # Of a refused call. In base64 and with its frame it stays under what brokers take, whatever it is made of.
    kept_bytes: int = 256 * 1024


def check_shape(raw: bytes, limits: Limits) -> None:
    """Refuse a call that is too large, too deep, too wide, or holds U+0000.

    Counting bytes is an upper bound that nearly every call passes; only the others are walked.
    """
    size = len(raw)
    if size > limits.event_bytes:
        raise Refusal(Reason.TOO_LARGE)
    opened = raw.count(b"{") + (raw.count(b"[") if b"[" in raw else 0)
    if opened > limits.depth or (size > 4 * limits.keys and raw.count(b":") > limits.keys):
        _walk(decode_any(raw), limits)
    if holds_nul(raw):
        decode_any(raw)
        raise Refusal(Reason.NUL)


def decode_any(raw: bytes | msgspec.Raw) -> Any:
    """Return the JSON value, or refuse what other readers would choke on: broken UTF-8, endless numbers, lone surrogates."""
    try:
        return _decode(raw)
    except RecursionError:
        raise Refusal(Reason.TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refusal(Reason.MALFORMED) from None


def _walk(value: Any, limits: Limits) -> None:
    keys = depth = 0
    level = [value]
    while level:
        below: list[Any] = []
        nested = False
        for item in level:
            if isinstance(item, dict):
                keys += len(item)
                below.extend(item.values())
                nested = True
            elif isinstance(item, list):
                below.extend(item)
                nested = True
        depth += nested
        if depth > limits.depth:
            raise Refusal(Reason.TOO_DEEP)
        if keys > limits.keys:
            raise Refusal(Reason.TOO_MANY_KEYS)
        level = below
