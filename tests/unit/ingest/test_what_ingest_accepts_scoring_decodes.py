"""Differential: whatever the door lets in decodes by the contract, in full, and can be stored by Postgres."""

import json
from typing import Any

import msgspec
from churnsignal_common.contracts.envelope import Format, envelope_decoder
from churnsignal_common.contracts.topics import USAGE_REJECTED
from churnsignal_ingest.validate.batches import open_batch
from churnsignal_ingest.validate.cloudevents import open_events
from churnsignal_ingest.validate.reasons import RequestProblem
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ingest.cases import NOW, judged
from tests.unit.scoring.accounts import MAPPER

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=6
)
names = st.sampled_from([
    "type", "event", "userId", "anonymousId", "groupId", "previousId", "messageId", "timestamp", "sentAt", "context", "properties", "traits",
    "writeKey", "historical", "name", "other",
])  # fmt: skip
likely = {
    "type": st.sampled_from(["track", "identify", "group", "page", "screen", "alias"]),
    "event": st.text(max_size=8),
    "name": values,
    "userId": st.text(max_size=8) | st.integers(),
    "context": st.dictionaries(st.sampled_from(["groupId", "traits", "userAgent", "active"]), values, max_size=3),
    "timestamp": st.datetimes().map(lambda moment: moment.isoformat() + "Z") | st.integers(),
}
calls = st.fixed_dictionaries({}, optional=likely) | st.dictionaries(names, values, max_size=8) | values


def has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_nul(part) for pair in value.items() for part in pair)
    return any(map(has_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\x00" in value


@settings(max_examples=400)
@given(st.lists(calls, max_size=2), st.booleans(), scalars)
def test_accepted_calls_decode_and_can_be_stored(batch: list[Any], escaped: bool, sent_at: Any) -> None:
    body = json.dumps({"batch": batch, "sentAt": sent_at}, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    try:
        verdicts = judged(open_batch(body))
    except RequestProblem:
        return

    for topic, partition, key, value in verdicts.records:
        assert 0 <= partition < 8
        if topic == USAGE_REJECTED:
            continue
        envelope = envelope_decoder.decode(value)
        call = msgspec.json.decode(envelope.call)
        assert envelope.format is Format.SEGMENT
        assert key.decode() == (envelope.account or envelope.user or envelope.anonymous)
        assert envelope.occurred_at <= envelope.received_at == NOW
        assert not has_nul(call)
        assert "writeKey" not in call
        MAPPER.usage(envelope)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(["event", "name", "context", "traits", "data", "subject", "userid", "accountid", "time"]), values))
def test_accepted_cloud_events_are_read_whatever_their_attributes_are(attributes: dict[str, Any]) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/a", "type": "track", "user": "u"} | attributes
    verdicts = judged(open_events(json.dumps(event).encode(), "application/cloudevents+json", {}))

    for topic, _, _, value in verdicts.records:
        if topic != USAGE_REJECTED:
            MAPPER.usage(envelope_decoder.decode(value))


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_answered_with_a_verdict_or_a_problem(garbage: bytes) -> None:
    for body in (garbage, b'{"batch":[' + garbage + b"]}", b'{"batch":[{"type":"track","event":"' + garbage + b'","userId":"u"}]}'):
        try:
            judged(open_batch(body))
        except RequestProblem:
            continue
