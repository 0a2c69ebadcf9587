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
from churnsignal_ingest.validate.subjects import Subject, Subjects, message_id_of
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


@dataclass(frozen=True, slots=True)
class _Kind:
    """What one type of call needs."""

    needs: str | None = None
    missing: Reason = Reason.NO_IDS
    browser: bool = True


_KINDS = {
    "track": _Kind("event", Reason.NO_EVENT_NAME),
    "page": _Kind(),
    "screen": _Kind(),
    "identify": _Kind(),
    "group": _Kind("group_id", Reason.NO_GROUP_ID, browser=False),
    "alias": _Kind("previous_id", Reason.NO_PREVIOUS_ID, browser=False),
}


class Judge:
    """The rules of one deployment: limits, account paths, number of partitions. `new_id` names calls that came without an id."""

    def __init__(self, limits: Limits, where: AccountPaths, partitions: int, new_id: Callable[[], str]) -> None:
        self.limits = limits
        self._where = where
        self._partitions = partitions
        self._new_id = new_id
        self._find = Subjects(partitions, limits.id_bytes).find

    def accept(self, call: Call, raw: bytes, arrival: Arrival, judged: Judged) -> None:
        """Add the call's record to `judged`, or raise Refusal."""
        check_shape(raw, self.limits)
        kind = _allowed(call, arrival)
        if call.historical is True and not arrival.history:
            arrival = as_history(arrival)
        message_id = message_id_of(call.message_id, self.limits.id_bytes) or self._new_id()
        user = self._find(call.user_id)
        anonymous = None if call.anonymous_id is None else self._find(call.anonymous_id)
        if user is None and anonymous is None and call.type != "group":
            raise Refusal(Reason.NO_IDS)
        account = self._find(call.group_id if kind.needs == "group_id" else account_value(call, arrival.batch_group_id, self._where))
        stamped_at = read_time(call.timestamp if call.timestamp is not None else call.original_timestamp)
        behind = arrival.behind
        if arrival.sent_at is None and call.sent_at is not None:
            behind = skew(arrival.received_at, read_time(call.sent_at))
        occurred_at = happened(stamped_at, arrival.received_at, behind)
        if account is None and user is None and anonymous is None:
            raise Refusal(kind.missing)
        judged.records.append(self._join(raw, arrival, message_id, (account, user, anonymous), occurred_at, stamped_at))
        judged.accepted += 1
        if stamped_at is not None and occurred_at is arrival.received_at:
            judged.clamped += 1

    def _join(
        self,
        raw: bytes,
        arrival: Arrival,
        message_id: str,
        subjects: tuple[Subject | None, Subject | None, Subject | None],
        occurred_at: datetime,
        stamped_at: datetime | None,
    ) -> Record:
        account, user, anonymous = subjects
        occurred = json_time(occurred_at)
        stamped = b"null" if stamped_at is None else occurred if stamped_at is occurred_at else json_time(stamped_at)
        value = b"".join((
            arrival.head, _encode(message_id),
            b',"account":', b"null" if account is None else account.json,
            b',"user":', b"null" if user is None else user.json,
            b"" if anonymous is None else b',"anonymous":' + anonymous.json,
            b',"occurred_at":', occurred, b',"stamped_at":', stamped, b',"call":', raw, b"}",
        ))  # fmt: skip
        if account is not None:
            return (USAGE_HISTORY if arrival.history else USAGE_EVENTS), account.partition, account.key, value
        owner = user or anonymous
        assert owner is not None
        return USAGE_UNRESOLVED, owner.partition, owner.key, value

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


def _allowed(call: Call, arrival: Arrival) -> _Kind:
    kind = _KINDS.get(call.type) if type(call.type) is str else None
    if kind is None:
        raise Refusal(Reason.UNKNOWN_TYPE)
    if arrival.scope is Scope.BROWSER and (not kind.browser or _sets_profile(call)):
        raise Refusal(Reason.SCOPE_CALL)
    if arrival.barred or (call.historical is True and arrival.scope is not Scope.IMPORT):
        raise Refusal(Reason.SCOPE_HISTORY)
    if kind.needs is not None:
        _check_needs(call, kind)
    for value in (call.context, call.properties, call.traits):
        if value is not None and type(value) is not dict:
            raise Refusal(Reason.BAD_FIELD)
    return kind


def _sets_profile(call: Call) -> bool:
    """Tell whether an identify call also speaks for the user's company, which a public key must not."""
    return call.type == "identify" and type(call.traits) is dict and "company" in call.traits


def _check_needs(call: Call, kind: _Kind) -> None:
    value = getattr(call, kind.needs or "")
    if value is None or value == "" or (kind.needs == "event" and type(value) is not str):
        raise Refusal(kind.missing)
    if kind.needs == "previous_id" and not call.user_id:
        raise Refusal(kind.missing)
