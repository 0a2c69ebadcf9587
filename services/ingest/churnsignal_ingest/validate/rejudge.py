"""Pure. Judge a refused record again: a call from its original bytes, a record that scoring buried as the envelope it was."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec
from churnsignal_common.contracts.envelope import NULL, Around, Format, Rejected, envelope_decoder, subject
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED

from churnsignal_ingest.validate.accounts import AccountPaths
from churnsignal_ingest.validate.batches import Parcel, Sender, judge_all
from churnsignal_ingest.validate.calls import Call, parse_call, parse_single
from churnsignal_ingest.validate.cloudevents import parse_event
from churnsignal_ingest.validate.judge import Judge, Record, Scope
from churnsignal_ingest.validate.limits import Limits
from churnsignal_ingest.validate.reasons import RequestProblem
from churnsignal_ingest.validate.suppressed import Suppressed

SUPPRESSED = "suppressed"
CUT = "cut"
UNREADABLE = "unreadable"
_USAGE = (USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED)


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds now. `scope`, when given, takes the place of what the write key might do at the time."""

    limits: Limits
    where: AccountPaths
    partitions: int
    suppressed: Suppressed
    scope: Scope | None = None


def rejudge(rejected: Rejected, rules: Rules) -> Record | str:
    """Return the record to publish, or why there is still none. The same record gives the same id and times again."""
    if rejected.cut:
        return CUT
    if rejected.around is None:
        return _as_it_was(rejected, rules)
    around = rejected.around
    parcel = Parcel(
        [rejected.body], _parser(around), None, around.sent_at and around.sent_at.isoformat(), around.historical,
        None if around.batch_context == NULL else bytes(around.batch_context), form=around.format, kind=around.kind,
    )  # fmt: skip
    judge = Judge(rules.limits, lambda _: rules.where, rules.partitions, lambda: rejected.id)
    sender = Sender(rejected.source, rules.scope or Scope(around.scope))
    try:
        judged = judge_all(parcel, sender, rejected.rejected_at, judge, rules.suppressed, importing=around.importing)
    except RequestProblem as problem:
        return problem.problem.value
    if judged.refused:
        return judged.refused[0].reason.value
    return judged.records[0] if judged.records else SUPPRESSED


def _parser(around: Around) -> Callable[[bytes], tuple[Call, bytes]]:
    if around.format is Format.CLOUDEVENTS:
        return parse_event
    return partial(parse_single, kind=around.kind) if around.kind else parse_call


def _as_it_was(rejected: Rejected, rules: Rules) -> Record | str:
    """Return what scoring buried, for the place its envelope names today."""
    try:
        envelope = envelope_decoder.decode(rejected.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNREADABLE
    key = subject(envelope) if rejected.topic == USAGE_UNRESOLVED else envelope.account
    if key is None or rejected.topic not in _USAGE:
        return UNREADABLE
    if envelope.account is not None and envelope.account.encode() in rules.suppressed.accounts:
        return SUPPRESSED
    if any(person.encode() in rules.suppressed.users for person in (envelope.user, envelope.anonymous) if person):
        return SUPPRESSED
    return (rejected.topic, partition_of(key, rules.partitions), key.encode(), rejected.body)
