"""What becomes of each call: its topic, key, envelope, or its reason."""

import json
from typing import Any

import msgspec
import pytest
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_REJECTED, USAGE_UNRESOLVED
from churnsignal_ingest.validate.batches import Sender, open_batch, open_single
from churnsignal_ingest.validate.limits import Limits
from churnsignal_ingest.validate.reasons import Problem, Reason, RequestProblem

from tests.unit.ingest.cases import (
    BROWSER,
    IMPORTER,
    NOW,
    SERVER,
    envelopes,
    judge_batch,
    judge_raw,
    judge_single,
    new_judge,
    only,
    rejected,
    track,
)  # fmt: skip


def test_a_call_with_an_account_goes_to_the_partition_of_the_account() -> None:
    (record,) = judge_batch(track(context={"groupId": "acme"})).records

    assert record[:3] == (USAGE_EVENTS, partition_of("acme", 8), b"acme")


def test_a_call_without_an_account_goes_to_the_partition_of_its_user() -> None:
    (record,) = judge_batch(track()).records

    assert record[:3] == (USAGE_UNRESOLVED, partition_of("u1", 8), b"u1")


def test_a_call_of_a_device_goes_to_the_partition_of_the_device() -> None:
    (record,) = judge_batch({"type": "page", "anonymousId": "device"}).records

    assert record[:3] == (USAGE_UNRESOLVED, partition_of("device", 8), b"device")


def test_the_envelope_holds_what_was_decided_around_the_original_bytes() -> None:
    raw = b'{ "type":"track", "event" : "L\\u00f6gin",\t"userId":"u1","messageId":"m\\"1","timestamp":"2026-11-23T11:00:00.5Z","x":1.50 }'

    envelope = only(judge_raw(b'{"sentAt":"2026-11-23T12:00:10Z","batch":[' + raw + b"]}"))

    assert bytes(envelope.call) == raw
    assert (envelope.id, envelope.source, envelope.user, envelope.account) == ('m"1', "web", "u1", None)
    assert envelope.occurred_at.isoformat() == envelope.stamped_at.isoformat() == "2026-11-23T11:00:00.500000+00:00"  # type: ignore[union-attr]
    assert envelope.received_at == NOW
    assert envelope.sent_at is not None


def test_a_write_key_never_reaches_the_topic() -> None:
    batch = judge_batch(track(writeKey="css_secret"), {"type": "nope", "writeKey": "css_secret"}, writeKey="css_secret")
    single = judge_single("track", json.dumps(track(writeKey="css_secret")).encode())

    assert all(b"css_secret" not in record[3] for record in [*batch.records, *single.records])
    assert b"css_secret" not in rejected(batch)[0].body
    assert batch.accepted == single.accepted == 1


def test_the_key_of_a_single_call_that_is_refused_stays_here_too() -> None:
    verdicts = judge_batch(track(writeKey="css_secret", event=5), {"type": "nope", "writeKey": "css_secret"})

    assert [kept.body.count(b"css_secret") for kept in rejected(verdicts)] == [0, 0]
    assert json.loads(rejected(verdicts)[0].body) == track(writeKey="", event=5)


def test_of_a_huge_call_that_is_refused_a_record_keeps_what_brokers_take() -> None:
    limits = Limits()
    verdicts = judge_batch(track(pad="x" * (limits.rudder_batch_bytes - 1000)))

    assert [refused.reason for refused in verdicts.refused] == [Reason.TOO_LARGE]
    assert len(rejected(verdicts)[0].body) == limits.kept_bytes
    assert len(verdicts.records[0][3]) < 512 * 1024


def test_an_escaped_write_key_does_not_reach_the_topic_either() -> None:
    verdicts = judge_raw(b'{"batch":[{"type":"track","event":"x","userId":"u","write\\u004bey":"css_secret"}]}')

    assert b"css_secret" not in verdicts.records[0][3]


@pytest.mark.parametrize(
    ("call", "account"),
    [
        ({"type": "group", "userId": "u", "groupId": "acme"}, "acme"),
        ({"type": "group", "groupId": 1001}, "1001"),
        (track(context={"groupId": 1001}), "1001"),
        (track(context={"groupId": 1001.0}), "1001"),
        (track(context={"groupId": "Cafe\u0301 "}), "Caf\u00e9"),
        (track(context={"groupId": ""}), None),
        (track(context={"groupId": None}), None),
        ({"type": "identify", "userId": "u", "traits": {"company": {"id": "acme"}}}, "acme"),
        ({"type": "identify", "userId": "u", "context": {"traits": {"company": {"id": 7}}}}, "7"),
        (track(context={"groupId": "first"}, traits={"company": {"id": "second"}}), "first"),
        (track(properties={"accountId": "elsewhere"}), None),
    ],
)
def test_the_account_is_found_in_the_agreed_order(call: dict[str, Any], account: str | None) -> None:
    assert only(judge_batch(call)).account == account


def test_configured_paths_find_accounts_in_properties() -> None:
    verdicts = judge_batch(track(properties={"account": {"key": "acme"}}), judge=new_judge("traits.org", "properties.account.key"))

    assert only(verdicts).account == "acme"


def test_the_context_of_a_batch_fills_in_the_account_and_is_kept() -> None:
    verdicts = judge_batch(track(), track(context={"groupId": "own"}), context={"groupId": "batch", "ip": "10.0.0.1"})

    assert [envelope.account for envelope in envelopes(verdicts)] == ["batch", "own"]
    assert all(msgspec.json.decode(e.batch_context) == {"groupId": "batch", "ip": "10.0.0.1"} for e in envelopes(verdicts))


@pytest.mark.parametrize(("given", "spelled"), [(7, "7"), (7.0, "7"), (" u ", "u"), ("Ünï", "Ünï"), (2**63, str(2**63))])
def test_user_ids_become_text_by_one_rule(given: object, spelled: str) -> None:
    assert only(judge_batch(track(userId=given))).user == spelled


@pytest.mark.parametrize("given", [None, "", ...])
def test_a_call_without_an_id_gets_a_fresh_one(given: object) -> None:
    call = track(messageId=given)
    if given is ...:
        del call["messageId"]

    assert only(judge_batch(call)).id == "fresh-id"


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("text", Reason.NOT_AN_OBJECT),
        (None, Reason.NOT_AN_OBJECT),
        ([], Reason.NOT_AN_OBJECT),
        ({}, Reason.UNKNOWN_TYPE),
        ({"type": "delete", "userId": "u"}, Reason.UNKNOWN_TYPE),
        ({"type": ["track"], "userId": "u"}, Reason.UNKNOWN_TYPE),
        ({"type": "track", "userId": "u"}, Reason.NO_EVENT_NAME),
        (track(event=""), Reason.NO_EVENT_NAME),
        (track(event=5), Reason.NO_EVENT_NAME),
        (track(userId=None), Reason.NO_IDS),
        (track(userId="  "), Reason.NO_IDS),
        (track(userId={"id": 1}), Reason.BAD_ID),
        (track(userId=True), Reason.BAD_ID),
        (track(userId=1.5), Reason.BAD_ID),
        (track(messageId=["m"]), Reason.BAD_ID),
        (track(context={"groupId": ["a"]}), Reason.BAD_ID),
        (track(context={"groupId": True}), Reason.BAD_ID),
        ({"type": "group", "userId": "u"}, Reason.NO_GROUP_ID),
        ({"type": "alias", "userId": "u"}, Reason.NO_PREVIOUS_ID),
        ({"type": "alias", "previousId": "p", "anonymousId": "a"}, Reason.NO_PREVIOUS_ID),
        ({"type": "alias", "previousId": " ", "userId": "u"}, Reason.NO_PREVIOUS_ID),
        ({"type": "alias", "previousId": 7.5, "userId": "u"}, Reason.BAD_ID),
        ({"type": "alias", "previousId": "p" * 256, "userId": "u"}, Reason.ID_TOO_LONG),
        (track(timestamp="soon"), Reason.BAD_TIMESTAMP),
        (track(timestamp={}), Reason.BAD_TIMESTAMP),
        (track(timestamp=0), Reason.BAD_TIMESTAMP),
        (track(sentAt=[]), Reason.BAD_TIMESTAMP),
        (track(context="x"), Reason.BAD_FIELD),
        (track(properties=[1]), Reason.BAD_FIELD),
        (track(traits=1), Reason.BAD_FIELD),
        (track(historical=True), Reason.SCOPE_HISTORY),
    ],
)
def test_a_bad_call_is_refused_with_its_reason_and_its_batch_goes_on(call: object, reason: Reason) -> None:
    verdicts = judge_batch(track(messageId="before"), call, track(messageId="after"))

    assert [envelope.id for envelope in envelopes(verdicts)] == ["before", "after"]
    assert [(refused.index, refused.reason) for refused in verdicts.refused] == [(1, reason)]
    (kept,) = rejected(verdicts)
    assert (kept.reason, kept.stage, kept.source) == (reason.value, "ingest", "web")
    assert json.loads(kept.body) == call


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (rb'{"type":"track","event":"x","userId":"u","p":"\u0000"}', Reason.NUL),
        (rb'{"type":"track","event":"x","userId":"u\u0000"}', Reason.NUL),
        (rb'{"type":"track","event":"x","userId":"u","\u0000":1}', Reason.NUL),
        (b'{"type":"track","event":"x","userId":"u","p":"\xff"}', Reason.MALFORMED),
        (b'{"type":"track","event":"x","userId":"u","properties":{"n":1e999}}', Reason.MALFORMED),
        (b'{"type":"track","event":"x","userId":"u","unknown":1e999}', Reason.MALFORMED),
        (b'{"type":"track","event":"x","userId":"u","p":' + b"9" * 5000 + b"}", Reason.MALFORMED),
    ],
)
def test_bytes_that_stores_refuse_are_refused_at_the_door(raw: bytes, reason: Reason) -> None:
    verdicts = judge_raw(b'{"batch":[{"type":"track","event":"ok","userId":"u"},' + raw + b"]}")

    assert [refused.reason for refused in verdicts.refused] == [reason]
    assert verdicts.accepted == 1


@pytest.mark.parametrize("text", [rb'"\\u0000"', rb'"\\\\u0000 \ud83d\ude00"'])
def test_text_that_only_looks_like_nul_is_welcome(text: bytes) -> None:
    assert judge_raw(b'{"batch":[{"type":"track","event":"x","userId":"u","p":' + text + b"}]}").accepted == 1


@pytest.mark.parametrize("call", [{"type": "group", "groupId": "a", "userId": "u"}, {"type": "alias", "previousId": "p", "userId": "u"},
                                  {"type": "identify", "userId": "u", "traits": {"company": {"id": "a", "plan": "free"}}}])  # fmt: skip
def test_a_browser_key_may_not_speak_for_accounts(call: dict[str, Any]) -> None:
    assert [refused.reason for refused in judge_batch(call, sender=BROWSER).refused] == [Reason.SCOPE_CALL]
    assert judge_batch(call, sender=SERVER).accepted == 1


@pytest.mark.parametrize("call", [track(), {"type": "page", "anonymousId": "a"}, {"type": "screen", "userId": "u"},
                                  {"type": "identify", "userId": "u", "traits": {"email": "a@b.c"}}])  # fmt: skip
def test_a_browser_key_may_tell_what_its_user_does(call: dict[str, Any]) -> None:
    assert judge_batch(call, sender=BROWSER).accepted == 1


@pytest.mark.parametrize(
    ("sender", "importing", "around", "topic"),
    [
        (IMPORTER, True, {}, USAGE_HISTORY),
        (IMPORTER, False, {"historical": True}, USAGE_HISTORY),
        (IMPORTER, False, {}, USAGE_EVENTS),
        (SERVER, True, {}, USAGE_EVENTS),
        (SERVER, False, {"historical": True}, USAGE_REJECTED),
    ],
)
def test_only_an_import_key_makes_history(sender: Sender, importing: bool, around: dict[str, Any], topic: str) -> None:
    verdicts = judge_batch(track(context={"groupId": "acme"}), sender=sender, importing=importing, **around)

    assert verdicts.records[0][0] == topic
    assert [envelope.history for envelope in envelopes(verdicts)] == [topic == USAGE_HISTORY] * verdicts.accepted


def test_one_call_may_say_of_itself_that_it_is_history() -> None:
    verdicts = judge_batch(track(historical=True), track(), sender=IMPORTER)

    assert [envelope.history for envelope in envelopes(verdicts)] == [True, False]
    assert {record[0] for record in verdicts.records} == {USAGE_UNRESOLVED}


def test_the_path_of_a_single_call_names_its_type() -> None:
    envelope = only(judge_single("track", b'{"userId":"u","event":"Login","properties":{"a": 1.0}}'))

    assert msgspec.json.decode(envelope.call) == {"type": "track", "userId": "u", "event": "Login", "properties": {"a": 1.0}}
    assert b'{"a": 1.0}' in bytes(envelope.call)


def test_a_slow_clock_is_corrected_for_a_whole_batch_and_for_rudders_own_stamps() -> None:
    stamped = "2026-11-23T10:00:00Z"

    whole = only(judge_batch(track(timestamp=stamped), sentAt="2026-11-23T11:00:00Z"))
    own = only(judge_batch(track(originalTimestamp=stamped, sentAt="2026-11-23T11:00:00Z")))

    assert whole.occurred_at.hour == own.occurred_at.hour == 11
    assert whole.stamped_at == own.stamped_at
    assert whole.stamped_at is not None
    assert whole.stamped_at.hour == 10


def test_a_future_call_is_clamped_and_counted() -> None:
    verdicts = judge_batch(track(timestamp="2027-01-01T00:00:00Z"))

    assert only(verdicts).occurred_at == NOW
    assert verdicts.clamped == 1


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"nonsense", b"\xef\xbb\xbf{}", b'{"batch":[', b'{"batch":' + b"[" * 100_000, b'{"batch":[NaN]}']
)
def test_a_body_that_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(RequestProblem) as problem:
        open_batch(body)

    assert problem.value.problem is Problem.MALFORMED_JSON


@pytest.mark.parametrize("body", [b"{}", b'{"batch":{}}', b'{"batch":"x"}'])
def test_an_object_without_a_list_is_no_batch(body: bytes) -> None:
    with pytest.raises(RequestProblem) as problem:
        open_batch(body)

    assert problem.value.problem is Problem.MALFORMED_BATCH


@pytest.mark.parametrize("body", [b"", b"[]", b"3", b"{"])
def test_a_single_call_must_be_an_object(body: bytes) -> None:
    with pytest.raises(RequestProblem) as problem:
        open_single(body, "track")

    assert problem.value.problem is Problem.MALFORMED_JSON


def test_the_slow_way_decides_as_the_fast_way_does() -> None:
    calls = [
        track(messageId="a", context={"groupId": 1001}),
        {"type": "group", "groupId": "g", "traits": {"a": None}},
        track(timestamp=1767268800),
    ]

    fast = judge_batch(*calls)
    slow = judge_batch(*calls, {"type": "track", "unknown": 1})

    assert [record[3] for record in slow.records[:3]] == [record[3] for record in fast.records]
