"""What the tests of ingest's pure rooms share: a judge, an arrival, and ways to ask it about one call."""

import json
from datetime import UTC, datetime
from typing import Any

from churnsignal_common.contracts.envelope import Envelope, Rejected, envelope_decoder, rejected_decoder
from churnsignal_common.contracts.topics import USAGE_REJECTED
from churnsignal_common.mapping.parse import DEFAULT_PATHS
from churnsignal_ingest.validate.accounts import account_paths, always
from churnsignal_ingest.validate.batches import Parcel, Sender, judge_all, open_batch, open_single
from churnsignal_ingest.validate.judge import Judge, Judged, Scope
from churnsignal_ingest.validate.limits import Limits
from churnsignal_ingest.validate.suppressed import NOBODY, Suppressed

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SERVER = Sender("web", Scope.SERVER)
BROWSER = Sender("web", Scope.BROWSER)
IMPORTER = Sender("web", Scope.IMPORT)


def new_judge(*paths: str, limits: Limits | None = None) -> Judge:
    return Judge(limits or Limits(), always(account_paths(paths or DEFAULT_PATHS)).at, 8, lambda: "fresh-id")


def judge_batch(*calls: Any, sender: Sender = SERVER, importing: bool = False, judge: Judge | None = None, **around: Any) -> Judged:
    return judged(open_batch(json.dumps({"batch": list(calls), **around}).encode()), sender, importing=importing, judge=judge)


def judge_raw(body: bytes, sender: Sender = SERVER) -> Judged:
    return judged(open_batch(body), sender)


def judge_single(kind: str, body: bytes, sender: Sender = SERVER) -> Judged:
    return judged(open_single(body, kind), sender)


def judged(
    parcel: Parcel, sender: Sender = SERVER, *, importing: bool = False, judge: Judge | None = None, suppressed: Suppressed = NOBODY
) -> Judged:
    verdicts = judge_all(parcel, sender, NOW, judge or new_judge(), suppressed, importing=importing)
    assert verdicts.accepted + len(verdicts.refused) + verdicts.suppressed == len(parcel.items)
    assert verdicts.accepted + len(verdicts.refused) == len(verdicts.records)
    assert verdicts.raws == []
    return verdicts


def envelopes(verdicts: Judged) -> list[Envelope]:
    return [envelope_decoder.decode(value) for topic, _, _, value in verdicts.records if topic != USAGE_REJECTED]


def rejected(verdicts: Judged) -> list[Rejected]:
    return [rejected_decoder.decode(value) for topic, _, _, value in verdicts.records if topic == USAGE_REJECTED]


def only(verdicts: Judged) -> Envelope:
    (envelope,) = envelopes(verdicts)
    return envelope


def track(**fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Login", "userId": "u1", "messageId": "m1"} | fields
