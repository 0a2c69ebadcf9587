"""Pure. Decide about each call: refuse it with a reason, or join its original bytes into an envelope for the right topic."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec
from churnsignal_common.contracts.envelope import Rejected, encoder
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_REJECTED, USAGE_UNRESOLVED

from churnsignal_ingest.validate.accounts import AccountPaths, account_value
from churnsignal_ingest.validate.calls import Call
from churnsignal_ingest.validate.limits import Limits, check_shape
from churnsignal_ingest.validate.reasons import REASONS, Reason, Refusal
from churnsignal_ingest.validate.subjects import Subjects, message_id_of
from churnsignal_ingest.validate.times import happened, json_time, read_time, skew

# topic, partition, key, value. A plain tuple: one is made per event.
Record: TypeAlias = tuple[str, int, bytes, bytes]
_encode = msgspec.json.Encoder().encode


class Scope(StrEnum):
    """What a write key may do. Each may do what the ones before it may; browser keys are public."""

    BROWSER = "browser"
    SERVER = "server"
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What all calls of one request share. `head` begins their envelopes; `barred`: they ask to be history and may not."""

    source: str
    scope: Scope
    received_at: datetime
    sent_at: datetime | None
    behind: timedelta | None
    history: bool
    barred: bool
    batch_group_id: Any
    write_key: bytes
    head: bytes


def as_history(arrival: Arrival) -> Arrival:
    """Return `arrival` for one call that says of itself that it is history."""
    return replace(arrival, history=True, head=b'{"history":true,' + arrival.head[1:])


@dataclass(frozen=True, slots=True)
class Refused:
    """One refused call, as the answer names it."""

    index: int
    message_id: str | None
    reason: Reason


@dataclass(slots=True)
class Judged:
    """All calls of a request: N in, N accounted for in `accepted` and `refused`. Records of refused ones are in `records` too."""

    records: list[Record] = field(default_factory=list)
    accepted: int = 0
    clamped: int = 0
    refused: list[Refused] = field(default_factory=list)


# The types of calls, and which of them a browser's public key may make.
_FOR_ALL = frozenset({"track", "page", "screen", "identify"})
_KINDS = _FOR_ALL | {"group", "alias"}


class Judge:
    """The rules of one deployment: limits, account paths, number of partitions. `new_id` names calls that came without an id."""

    def __init__(self, limits: Limits, where: AccountPaths, partitions: int, new_id: Callable[[], str]) -> None:
        self.limits = limits
        self._where = where
        self._partitions = partitions
        self._new_id = new_id
        self._subjects = Subjects(partitions, limits.id_bytes)

    def accept(self, call: Call, raw: bytes, arrival: Arrival, judged: Judged) -> None:
        """Add the call's record to `judged`, or raise Refusal. One long function: calls and tuples in between cost a fifth of ingest."""
        check_shape(raw, self.limits)
        kind = call.type
        if kind != "track" or not call.event or arrival.barred or call.historical:
            arrival = _admit(call, arrival)
        known = self._subjects.known
        user = known.get(call.user_id) or self._subjects.learn(call.user_id)
        anonymous = None if call.anonymous_id is None else self._subjects.find(call.anonymous_id)
        named = call.group_id if kind == "group" else account_value(call, arrival.batch_group_id, self._where)
        account = known.get(named) or self._subjects.learn(named)
        owner = account if kind == "group" else user or anonymous
        if owner is None:
            raise Refusal(Reason.NO_GROUP_ID if kind == "group" else Reason.NO_IDS)

        behind = arrival.behind
        if arrival.sent_at is None and call.sent_at is not None:
            behind = skew(arrival.received_at, read_time(call.sent_at))
        stamped_at = read_time(call.timestamp if call.timestamp is not None else call.original_timestamp)
        occurred_at = happened(stamped_at, arrival.received_at, behind)
        occurred = json_time(occurred_at)
        stamped = occurred if stamped_at is occurred_at else b"null" if stamped_at is None else json_time(stamped_at)
        if stamped_at is not None and occurred_at is arrival.received_at:
            judged.clamped += 1

        value = b"".join((
            arrival.head, _encode(message_id_of(call.message_id, self.limits.id_bytes) or self._new_id()),
            b',"account":', b"null" if account is None else account.json,
            b',"user":', b"null" if user is None else user.json,
            b"" if anonymous is None else b',"anonymous":' + anonymous.json,
            b',"occurred_at":', occurred, b',"stamped_at":', stamped, b',"call":', raw, b"}",
        ))  # fmt: skip
        if account is None:
            topic, account = USAGE_UNRESOLVED, owner
        else:
            topic = USAGE_HISTORY if arrival.history else USAGE_EVENTS
        judged.records.append((topic, account.partition, account.key, value))
        judged.accepted += 1

    def refuse(self, index: int, raw: bytes, call: Call | None, reason: Reason, arrival: Arrival, judged: Judged) -> None:
        """Add a refused call to `judged`, its bytes less the write key to the topic of rejected calls."""
        given = call.message_id if call is not None and isinstance(call.message_id, str) else None
        message_id = given[:255].replace("\x00", "") if given else None
        judged.refused.append(Refused(index, message_id, reason))
        body = raw.replace(arrival.write_key, b"") if arrival.write_key else raw
        record = Rejected(
            id=message_id or self._new_id(), source=arrival.source, stage="ingest", reason=reason.value,
            message=REASONS[reason].cause, rejected_at=arrival.received_at, body=body,
        )  # fmt: skip
        partition = partition_of(arrival.source, self._partitions)
        judged.records.append((USAGE_REJECTED, partition, arrival.source.encode(), encoder.encode(record)))


def _admit(call: Call, arrival: Arrival) -> Arrival:
    """Check the type of call, what it needs, and what the key may do; return the arrival, of history when the call says so."""
    if call.type not in _KINDS:
        raise Refusal(Reason.UNKNOWN_TYPE)
    if arrival.scope is Scope.BROWSER and (call.type not in _FOR_ALL or _speaks_for_company(call)):
        raise Refusal(Reason.SCOPE_CALL)
    if arrival.barred or (call.historical and arrival.scope is not Scope.IMPORT):
        raise Refusal(Reason.SCOPE_HISTORY)
    if call.type == "track" and not call.event:
        raise Refusal(Reason.NO_EVENT_NAME)
    if call.type == "alias" and (call.previous_id in (None, "") or call.user_id in (None, "")):
        raise Refusal(Reason.NO_PREVIOUS_ID)
    return as_history(arrival) if call.historical and not arrival.history else arrival


def _speaks_for_company(call: Call) -> bool:
    """Tell whether an identify call also sets facts of the user's company, which a public key must not."""
    return call.type == "identify" and call.traits is not None and "company" in call.traits
