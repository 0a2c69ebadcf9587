"""Pure. Decide about each call: refuse it with a reason, or join its original bytes into an envelope for the right topic."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec
from churnsignal_common.contracts.envelope import Around, Rejected, encoder
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_HISTORY, USAGE_REJECTED, USAGE_UNRESOLVED

from churnsignal_ingest.validate.accounts import AccountPaths, account_value
from churnsignal_ingest.validate.calls import BROKEN, Call, decode_call
from churnsignal_ingest.validate.limits import Limits, check_shape
from churnsignal_ingest.validate.reasons import REASONS, Reason, Refusal
from churnsignal_ingest.validate.subjects import Subjects, message_id_of, normal_id
from churnsignal_ingest.validate.suppressed import Suppressed
from churnsignal_ingest.validate.times import EARLIEST, happened, read_time, skew

# topic, partition, key, value. A plain tuple: one is made per event.
Record: TypeAlias = tuple[str, int, bytes, bytes]
# From a call's bytes to the call and the bytes that go on.
Parse: TypeAlias = Callable[[bytes], tuple[Call, bytes]]
json_text = msgspec.json.Encoder().encode
# What every write key looks like, wherever in a call an SDK has put it.
WRITE_KEY = re.compile(rb"cs[bsi]_[0-9a-f]{48}")
_SECRET = 8
# 512 keys take more bytes than this, and so does an event that is too large: others need no look at their shape.
SMALL = 2048
_WRITE_KEY_FIELD = re.compile(rb'("writeKey"\s*:\s*")[^"]*')
# How a `Rejected` begins and ends; between its id and these stands what calls of one reason share.
_BEFORE_ID, _AFTER_AROUND = b'{"v":1,"id":', b'false,"body":""}'
# An id with fewer characters fits its limit of bytes, whatever they are.
_PLAIN_ID = 64


class Scope(StrEnum):
    """What a write key may do. Each may do what the ones before it may; browser keys are public."""

    BROWSER = "browser"
    SERVER = "server"
    IMPORT = "import"


class Arrival(msgspec.Struct, frozen=True):
    """What all calls of one request share. `head` begins their envelopes, `topic` takes those with an account; `received` is JSON.

    `barred`: they ask to be history and may not.
    """

    source: str
    scope: Scope
    received_at: datetime
    sent_at: datetime | None
    behind: timedelta | None
    history: bool
    barred: bool
    batch_group_id: Any
    received: bytes
    head: bytes
    topic: str
    suppressed: Suppressed


def as_history(arrival: Arrival) -> Arrival:
    """Return `arrival` for one call that says of itself that it is history."""
    return msgspec.structs.replace(arrival, history=True, topic=USAGE_HISTORY, head=b'{"history":true,' + arrival.head[1:])


class Refused(msgspec.Struct, frozen=True):
    """One refused call, as the answer names it."""

    index: int
    message_id: str | None
    reason: Reason


@dataclass(slots=True)
class Judged:
    """All calls of a request: N in, N accounted for in `accepted`, `refused` and `suppressed`. Records of refused ones are in `records` too.

    `raws` are the bytes of the refused ones, until they are records.
    """

    records: list[Record] = field(default_factory=list)
    accepted: int = 0
    suppressed: int = 0
    clamped: int = 0
    refused: list[Refused] = field(default_factory=list)
    raws: list[bytes] = field(default_factory=list)


# The types of calls, and which of them a browser's public key may make.
_FOR_ALL = frozenset({"track", "page", "screen", "identify"})
_KINDS = _FOR_ALL | {"group", "alias"}


class Judge:
    """The rules of one deployment: limits, account paths when, number of partitions. `new_id` names calls that came without an id."""

    def __init__(self, limits: Limits, where: Callable[[datetime], AccountPaths], partitions: int, new_id: Callable[[], str]) -> None:
        self.limits = limits
        self._where = where
        self._partitions = partitions
        self._new_id = new_id
        self._subjects = Subjects(partitions, limits.id_bytes)

    def judge_calls(  # noqa: C901, PLR0912, PLR0915 the innermost loop: each call and tuple taken out of it costs ingest a tenth of its speed
        self, raws: Sequence[bytes | msgspec.Raw], parse: Parse, arrival: Arrival, judged: Judged, *, plain: bool, only: Call | None = None
    ) -> None:
        """Add each call to `judged`, as an envelope or as refused. Each is done with before the next, while its parts are in the cache.

        `parse` takes calls that the typed pass cannot; all of them unless `plain`. `only`: the one call, decoded already.
        """
        limits, where, records = self.limits, self._where(arrival.received_at), judged.records
        known, learn, received_at = self._subjects.known, self._subjects.learn, arrival.received_at
        listed = arrival.suppressed or None
        for index, raw in enumerate(raws):
            here, call = arrival, only
            try:
                # Before it is decoded, which costs several times as much.
                if len(raw) > SMALL:
                    raw = bytes(raw)  # noqa: PLW2901 the same, copied once for all who read it
                    check_shape(raw, limits)
                try:
                    if plain and call is None:
                        call = decode_call(raw)
                except BROKEN:
                    call = None
                if call is None:
                    raw = bytes(raw)  # noqa: PLW2901 as above
                    if len(raw) <= SMALL:
                        check_shape(raw, limits)
                    call, raw = parse(raw)  # noqa: PLW2901 the spelling that goes on is what is judged from here
                kind = call.type
                if kind != "track" or not call.event or here.barred or call.historical:
                    here = _admit(call, here, limits.id_bytes)
                user = known.get(call.user_id) or learn(call.user_id)
                anonymous = None if call.anonymous_id is None else known.get(call.anonymous_id) or learn(call.anonymous_id)
                context = call.context
                named = None if context is None or kind == "group" else context.get("groupId")
                if type(named) is not str or not named:
                    named = call.group_id if kind == "group" else account_value(call, here.batch_group_id, where)
                account = known.get(named) or learn(named)
                owner = account if kind == "group" else user or anonymous
                if owner is None:
                    raise Refusal(Reason.NO_GROUP_ID if kind == "group" else Reason.NO_IDS)  # noqa: TRY301 see above
                if listed is not None and listed.covers(call, account, user, anonymous):
                    judged.suppressed += 1
                    continue

                stamp, behind = call.timestamp, here.behind
                if call.sent_at is not None and here.sent_at is None:
                    behind = skew(received_at, read_time(call.sent_at))
                if behind is None and type(stamp) is datetime and stamp.tzinfo is UTC and EARLIEST <= stamp <= received_at:
                    stamped = occurred = json_text(stamp)
                else:
                    stamped_at = read_time(call.original_timestamp if stamp is None else stamp)
                    stamped = json_text(stamped_at)
                    occurred_at = happened(stamped_at, received_at, behind)
                    occurred = json_text(occurred_at)
                    judged.clamped += stamped_at is not None and occurred_at is received_at

                message_id = call.message_id
                if type(message_id) is not str or not 0 < len(message_id) < _PLAIN_ID:
                    message_id = message_id_of(message_id, limits.id_bytes) or self._new_id()
                value = b"".join((
                    here.head, json_text(message_id),
                    b"" if account is None else account.as_account,
                    b"" if user is None else user.as_user,
                    b"" if anonymous is None else anonymous.as_anonymous,
                    b',"occurred_at":', occurred, b',"stamped_at":', stamped, b',"call":', raw, b"}",
                ))  # fmt: skip
                if account is None:
                    records.append((USAGE_UNRESOLVED, owner.partition, owner.key, value))
                else:
                    records.append((here.topic, account.partition, account.key, value))
            except Refusal as refusal:
                self.refuse(index, bytes(raw), call, refusal.reason, arrival, judged)
        judged.accepted = len(records)

    def refuse(self, index: int, raw: bytes, call: Call | None, reason: Reason, arrival: Arrival, judged: Judged) -> None:
        """Add a refused call to `judged`; if it is about somebody on the list, only count it."""
        if arrival.suppressed and arrival.suppressed.named_in(raw, arrival.batch_group_id):
            judged.suppressed += 1
            return
        given = call.message_id if call is not None and isinstance(call.message_id, str) else None
        judged.refused.append(Refused(index, given[:255].replace("\x00", "") if given else None, reason))
        judged.raws.append(raw)

    def keep(self, judged: Judged, source: str, received_at: datetime, around: Around, write_key: str | None) -> None:
        """Make records of the refused calls, for operators: their bytes without any write key, so many as a record can hold."""
        partition, key = partition_of(source, self._partitions), source.encode()
        limit = self.limits.kept_bytes
        # What all calls of one reason share is spelled once: thousands may come together.
        shared: dict[Reason, bytes] = {}
        for each, raw in zip(judged.refused, judged.raws, strict=True):
            body = _without_keys(raw, write_key)
            middle = shared.get(each.reason)
            if middle is None:
                record = Rejected(
                    id="", source=source, stage="ingest", reason=each.reason.value, message=REASONS[each.reason].cause, rejected_at=received_at, around=around, body=b"",
                )  # fmt: skip
                middle = shared[each.reason] = encoder.encode(record)[len(_BEFORE_ID) + 2 : -len(_AFTER_AROUND)]
            cut, kept = (b"true", body[:limit]) if len(body) > limit else (b"false", body)
            value = b"".join((_BEFORE_ID, json_text(each.message_id or self._new_id()), middle, cut, b',"body":', json_text(kept), b"}"))
            judged.records.append((USAGE_REJECTED, partition, key, value))
        judged.raws.clear()


def _without_keys(raw: bytes, given: str | None) -> bytes:
    """Return the call less the request's key and all that looks like one: browsers put it on each call too, or only there."""
    # Shorter words are no secrets, and may stand anywhere in a call.
    body = raw.replace(given.encode(), b"") if given and len(given) >= _SECRET else raw
    if b"writeKey" in body:
        body = _WRITE_KEY_FIELD.sub(rb"\1", body)
    return WRITE_KEY.sub(b"", body)


def _admit(call: Call, arrival: Arrival, id_bytes: int) -> Arrival:
    """Check the type of call, what it needs, and what the key may do; return the arrival, of history when the call says so."""
    if call.type not in _KINDS:
        raise Refusal(Reason.UNKNOWN_TYPE)
    if arrival.scope is Scope.BROWSER and (call.type not in _FOR_ALL or _speaks_for_company(call)):
        raise Refusal(Reason.SCOPE_CALL)
    if arrival.barred or (call.historical and arrival.scope is not Scope.IMPORT):
        raise Refusal(Reason.SCOPE_HISTORY)
    if call.type == "track" and not call.event:
        raise Refusal(Reason.NO_EVENT_NAME)
    if call.type == "alias" and (normal_id(call.previous_id, id_bytes) is None or call.user_id in (None, "")):
        raise Refusal(Reason.NO_PREVIOUS_ID)
    return as_history(arrival) if call.historical and not arrival.history else arrival


def _speaks_for_company(call: Call) -> bool:
    """Tell whether an identify call also sets facts of the user's company, which a public key must not."""
    return call.type == "identify" and call.traits is not None and "company" in call.traits
