"""Pure. What a call may weigh: bytes, depth, keys, and strings that every later store can hold."""

from dataclasses import dataclass
from typing import Any

import msgspec

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


def check_shape(raw: bytes, limits: Limits) -> None:
    """Refuse a call that is too large, too deep, too wide, or holds U+0000.

    Counting bytes is an upper bound that nearly every call passes; only the others are walked.
    """
    size = len(raw)
    if size > limits.event_bytes:
        raise Refusal(Reason.TOO_LARGE)
    if (
        raw.count(b"{") + (raw.count(b"[") if b"[" in raw else 0) > limits.depth
        or (size > 4 * limits.keys and raw.count(b":") > limits.keys)
        or (b"\\" in raw and b"\\u0000" in raw)
    ):
        _walk(decode_any(raw), limits)


def decode_any(raw: bytes | msgspec.Raw) -> Any:
    """Return the JSON value, or refuse what other readers would choke on: broken UTF-8, endless numbers, lone surrogates."""
    try:
        return _decode(raw)
    except RecursionError:
        raise Refusal(Reason.TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refusal(Reason.MALFORMED) from None


def _walk(value: Any, limits: Limits) -> None:
    keys = 0
    level = [value]
    depth = 0
    while level := [item for item in level if isinstance(item, dict | list | str)]:
        if any("\x00" in item for item in level if isinstance(item, str)):
            raise Refusal(Reason.NUL)
        containers = [item for item in level if not isinstance(item, str)]
        depth += bool(containers)
        keys += sum(len(item) for item in containers if isinstance(item, dict))
        if depth > limits.depth:
            raise Refusal(Reason.TOO_DEEP)
        if keys > limits.keys:
            raise Refusal(Reason.TOO_MANY_KEYS)
        level = [inside for item in containers for inside in ((*item.keys(), *item.values()) if isinstance(item, dict) else item)]
