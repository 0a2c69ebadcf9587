"""Pure. What a call may weigh: bytes, depth, keys, and strings that every later store can hold."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec
from churnsignal_common.contracts.envelope import holds_nul

from churnsignal_ingest.validate.reasons import Reason, Refusal

_decode = msgspec.json.Decoder().decode
_SQUARE = bytes.maketrans(b"{}", b"[]")
# What is neither a bracket, nor a colon, nor the end of a text.
_NO_MARKS = bytes(set(range(256)) - set(b'{}[]:"'))
_RUNS = re.compile(rb"(\[+)(\]+)")
_RUNS_AT_ONCE = 32


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

    Counting all colons and brackets is an upper bound that nearly every call passes; only in the others those outside texts are counted.
    """
    if len(raw) > limits.event_bytes:
        raise Refusal(Reason.TOO_LARGE)
    _check_row(raw, limits)
    marks = raw.translate(_SQUARE, _NO_MARKS)
    if marks.count(b":") > limits.keys or marks.count(b"[") > limits.depth:
        _measure(raw.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_SQUARE, _NO_MARKS) if b"\\" in raw else marks, limits)
    if holds_nul(raw):
        decode_any(raw)
        raise Refusal(Reason.NUL)


def _check_row(spelled: bytes, limits: Limits) -> None:
    """Refuse too many brackets in a row, outside of texts and before any escape: thousands of such calls would cost most if each were taken apart."""
    row = spelled.find(b"[" * (limits.depth + 1))
    if row >= 0 and spelled.count(b'"', 0, row) % 2 == 0 and spelled.find(b"\\", 0, row) < 0:
        raise Refusal(Reason.TOO_DEEP)


def decode_any(raw: bytes | msgspec.Raw) -> Any:
    """Return the JSON value, or refuse what other readers would choke on: broken UTF-8, endless numbers, lone surrogates."""
    try:
        return _decode(raw)
    except RecursionError:
        raise Refusal(Reason.TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refusal(Reason.MALFORMED) from None


def _measure(marks: bytes, limits: Limits) -> None:
    """Count keys and levels as they are spelled: a fraction of what decoding costs, which the largest batches of bad events would make us pay."""
    _check_row(marks, limits)
    left = marks.replace(b'""', b"")
    if b'"' in left:
        left = b"".join(left.split(b'"')[::2])
    room = limits.depth
    colons, left = len(left), left.translate(None, b":")
    if colons - len(left) > limits.keys:
        raise Refusal(Reason.TOO_MANY_KEYS)
    if b"[" * (room + 1) in left:
        raise Refusal(Reason.TOO_DEEP)
    # Runs of brackets tell the depth. What holds nothing goes first, while that leaves far fewer of them to step through.
    while left.count(b"][") > _RUNS_AT_ONCE and room > limits.depth - 3:
        left, room = left.replace(b"[]", b""), room - 1
    level = 0
    for opened, closed in _RUNS.findall(left):
        level += len(opened)
        if level > room:
            raise Refusal(Reason.TOO_DEEP)
        level -= len(closed)
