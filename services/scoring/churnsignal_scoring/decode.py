"""Pure. Turn polled records into columns: envelopes, fingerprints for dedup, and what cannot be read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from churnsignal_common.contracts.envelope import Envelope, envelope_decoder, holds_nul, subject
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED
from churnsignal_common.mapping.usage import Usage
from xxhash import xxh3_64_digest

from churnsignal_scoring.dedup import WINDOW_DAYS, Bodies, Bucket, Group, Ids
from churnsignal_scoring.health.days import EPOCH_ORDINAL
from churnsignal_scoring.links import ACCOUNT, USER

USAGE_TOPICS = (USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED)
ACCOUNT_LANE, USER_LANE = 0, 1
# Browser SDKs write how often they tried into the last member of a call, so that only its end is searched.
RETRY_TAIL = 400
# What msgspec raises for bytes that are no JSON: its own class, and these two from deep inside.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Record(Protocol):
    """What we use of a consumer's record."""

    offset: int
    timestamp: int
    value: bytes | None


class Poison(NamedTuple):
    """A record that cannot be processed, and why."""

    place: Place
    offset: int
    reason: str
    value: bytes


class Span(NamedTuple):
    """The rows of one place: [start, end) of the columns."""

    place: Place
    start: int
    end: int


@dataclass(slots=True)
class Reading:
    """Columns of a micro-batch in the order of the log. `lost` records were deleted by the broker before we read them.

    `usages` is what calls with an account mean; None when that cannot be read, and for calls without an account.
    """

    envelopes: list[Envelope] = field(default_factory=list)
    usages: list[Usage | None] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    dead: list[Poison] = field(default_factory=list)
    lost: dict[Place, int] = field(default_factory=dict)
    next: dict[Place, int] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def fingerprints(self) -> tuple[Ids, Bodies]:
        """Return the hashes of (source, id) and of the bodies, row by row."""
        ids = np.frombuffer(b"".join(self.ids), ">u8").astype(np.uint64)
        bodies = np.frombuffer(b"".join(self.bodies), ">u8").astype(np.uint32)
        return ids, bodies


def read(polled: Iterable[tuple[Place, Sequence[Record]]], positions: dict[Place, int], usage_of: Callable[[Envelope], Usage]) -> Reading:
    """Return the columns of what was polled. `positions` are the offsets expected next."""
    reading = Reading()
    for place, records in polled:
        if not records:
            continue
        start = len(reading.envelopes)
        _read_place(reading, place, records, usage_of)
        reading.spans.append(Span(place, start, len(reading.envelopes)))
        reading.next[place] = records[-1].offset + 1
        lost = records[-1].offset + 1 - positions[place] - len(records)
        if lost:
            reading.lost[place] = lost
    return reading


def _read_place(reading: Reading, place: Place, records: Sequence[Record], usage_of: Callable[[Envelope], Usage]) -> None:
    # The hot loop: locals, no calls that can be avoided; about 2 us a record, most of it JSON.
    decode, digest = envelope_decoder.decode, xxh3_64_digest
    envelopes, usages, kept, ids, bodies = reading.envelopes, reading.usages, reading.records, reading.ids, reading.bodies
    by_user, imported = place.topic == USAGE_UNRESOLVED, place.topic == USAGE_HISTORY
    mark = USER if by_user else ACCOUNT
    prefixes: dict[str, str] = {}
    groups: dict[tuple[int, bool], list[int]] = {}
    rows: list[int] = []
    rows_day, rows_loose = -1, False
    row = len(envelopes)
    for record in records:
        value = record.value or b""
        try:
            envelope = decode(value)
        except UNREADABLE:
            reading.dead.append(Poison(place, record.offset, "unreadable", value))
            continue
        # Looking for a backslash first, as `holds_nul` does, spares nearly every record the call.
        if (b"\\" in value and holds_nul(value)) or envelope.v != 1 or not (_has_subject(envelope) if by_user else envelope.account):
            reading.dead.append(Poison(place, record.offset, _why(envelope, value, by_user), value))
            continue
        day = received = envelope.received_at.toordinal()
        loose = True
        if envelope.stamped_at is not None and not imported:
            stamped = envelope.stamped_at.toordinal()
            if received - WINDOW_DAYS <= stamped <= received + 1:
                day, loose = stamped, False
        source = envelope.source
        prefix = prefixes.get(source)
        if prefix is None:
            prefix = prefixes[source] = f"{len(source)}:{source}"
        ids.append(digest((prefix + (_sent_on(envelope, mark) if envelope.via else envelope.id)).encode()))
        # One byte is found ten times faster than a word, and most calls have no `A`.
        again = (b"A" in value and b'"sentAt"' in value) or (value.endswith(b"}}}") and b'"retryCount"' in value[-RETRY_TAIL:])
        bodies.append(digest(_as_sent_first(envelope.call) if again else envelope.call))
        if day != rows_day or loose is not rows_loose:
            rows_day, rows_loose = day, loose
            rows = groups.setdefault((day, loose), [])
        rows.append(row)
        try:
            # Here and not later: its bytes are still in the processor's cache.
            usages.append(None if by_user else usage_of(envelope))
        except UNREADABLE:
            usages.append(None)
        envelopes.append(envelope)
        kept.append(record)
        row += 1
    lane = USER_LANE if by_user else ACCOUNT_LANE
    for (day, loose), rows in groups.items():
        bucket = Bucket(place.partition, lane, day - EPOCH_ORDINAL)
        reading.groups.append(Group(bucket, loose, np.array(rows, np.intp)))


def _sent_on(envelope: Envelope, mark: str) -> str:
    # What one user or account of a partition sent on to another of the same partition is another record of the same call.
    return "\0".join((envelope.id, *(step for step in envelope.via if step.startswith(mark))))


def _has_subject(envelope: Envelope) -> bool:
    # A user.linked command names its subject in the call.
    return subject(envelope) is not None or envelope.format == "command"


def _why(envelope: Envelope, value: bytes, by_user: bool) -> str:
    if envelope.v != 1:
        return "unknown_version"
    if holds_nul(value):
        return "null_character"
    return "no_user" if by_user else "no_account"


def _as_sent_first(call: msgspec.Raw) -> bytes:
    # A retry is sent at another time, and browser SDKs count it in the call: that alone is no conflict.
    try:
        body = msgspec.json.decode(call)
    except UNREADABLE:
        return bytes(call)
    if isinstance(body, dict):
        body.pop("sentAt", None)
        noted = body.get("_metadata")
        if isinstance(noted, dict) and noted.pop("retryCount", None) is not None and not noted:
            del body["_metadata"]
    return msgspec.json.encode(body)
