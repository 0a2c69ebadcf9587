"""Refused calls judged again: by what holds now, as they were, with the ids and times they had."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from churnsignal_common.contracts.envelope import Rejected, encoder, envelope_decoder, rejected_decoder
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED
from churnsignal_ingest.auth.keys import RANDOM_BYTES, make_key
from churnsignal_ingest.validate.accounts import account_paths
from churnsignal_ingest.validate.batches import Parcel, Sender, open_batch, open_single
from churnsignal_ingest.validate.cloudevents import open_events
from churnsignal_ingest.validate.judge import Scope
from churnsignal_ingest.validate.limits import Limits
from churnsignal_ingest.validate.rejudge import Rules, rejudge
from churnsignal_ingest.validate.suppressed import NOBODY, Suppressed

from tests.unit.ingest.cases import BROWSER, IMPORTER, NOW, SERVER, judge_batch, judged, new_judge, rejected, track

RULES = Rules(Limits(), account_paths(("traits.company.id",)), 8, NOBODY)
# Rules of an earlier time, under which calls with such properties were too large.
STRICT = Limits(event_bytes=2500)
LONG = {"long": "x" * 3000}


def refused_by(parcel: Parcel, sender: Sender = SERVER, *, importing: bool = False) -> Rejected:
    """Return the record of a call that only earlier rules refused, after a way through the topic."""
    (record,) = rejected(judged(parcel, sender, importing=importing, judge=new_judge(limits=STRICT)))
    return record


def batch(*calls: Any, **around: Any) -> Parcel:
    return open_batch(json.dumps({"batch": calls, **around}).encode())


CASES: dict[str, tuple[Parcel, Sender, bool]] = {
    "a call of a batch": (batch(track(properties=LONG, context={"groupId": "acme"})), SERVER, False),
    "one whose group stands on its batch": (batch(track(properties=LONG), context={"groupId": "acme"}), SERVER, False),
    "one from a clock that is wrong": (
        batch(track(properties=LONG, timestamp="2026-11-23T08:00:00Z"), sentAt="2026-11-23T08:00:05Z"),
        SERVER,
        False,
    ),
    "one that came alone, to the path of its kind": (
        open_single(json.dumps({"userId": "u1", "event": "Login", "properties": LONG}).encode(), "track"),
        SERVER,
        False,
    ),
    "history by its path": (batch(track(properties=LONG, context={"groupId": "acme"})), IMPORTER, True),
    "history by its batch": (batch(track(properties=LONG, context={"groupId": "acme"}), historical=True), IMPORTER, False),
    "a cloud event": (
        open_events(
            json.dumps(
                {"specversion": "1.0", "type": "Login", "source": "s", "id": "1", "userid": "u1", "accountid": "acme", "data": LONG}
            ).encode(),
            "application/cloudevents+json",
            {},
        ),
        SERVER,
        False,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_passes_now_is_what_it_would_have_been_at_the_time(name: str) -> None:
    parcel, sender, importing = CASES[name]
    expected = judged(parcel, sender, importing=importing).records

    found = rejudge(refused_by(parcel, sender, importing=importing), RULES)

    assert not isinstance(found, str)
    assert (found[:3], envelope_decoder.decode(found[3])) == (expected[0][:3], envelope_decoder.decode(expected[0][3]))


def test_the_lane_of_history_is_kept() -> None:
    found = rejudge(refused_by(*CASES["history by its path"][:2], importing=True), RULES)

    assert found[0] == USAGE_HISTORY


def test_a_call_without_an_id_gets_the_same_one_each_time() -> None:
    call = {name: value for name, value in track(properties=LONG).items() if name != "messageId"}
    record = refused_by(batch(call))

    found = [rejudge(record, RULES) for _ in range(2)]

    assert found[0] == found[1]
    assert envelope_decoder.decode(found[0][3]).id == record.id


def test_what_is_still_wrong_is_named_again() -> None:
    (record,) = rejected(judge_batch(track(timestamp="never")))

    assert rejudge(record, RULES) == "bad_timestamp"


def test_a_browsers_call_passes_only_when_somebody_vouches_for_it() -> None:
    (record,) = rejected(judge_batch({"type": "group", "userId": "u1", "groupId": "acme"}, sender=BROWSER))

    assert rejudge(record, RULES) == "scope_call"
    assert rejudge(record, replace(RULES, scope=Scope.SERVER))[0] == USAGE_EVENTS


def test_whoever_was_suppressed_in_the_meantime_is_left_out() -> None:
    record = refused_by(batch(track(properties=LONG)))

    assert rejudge(record, replace(RULES, suppressed=Suppressed(users=frozenset({b"u1"})))) == "suppressed"


def buried(topic: str, value: bytes, **fields: Any) -> Rejected:
    return Rejected(
        id=f"{topic}:1:5", source="web", stage="scoring", reason="unreadable", message="", rejected_at=NOW + timedelta(days=1),
        topic=topic, partition=1, offset=5, body=value, **fields,
    )  # fmt: skip


def test_what_scoring_buried_goes_back_as_it_was_to_its_own_topic() -> None:
    (live,) = judge_batch(track(context={"groupId": "acme"})).records
    (unresolved,) = judge_batch(track()).records

    assert rejudge(buried(USAGE_EVENTS, live[3]), RULES) == live
    assert rejudge(buried(USAGE_UNRESOLVED, unresolved[3]), RULES) == unresolved


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (buried(USAGE_EVENTS, b"\xff\x00"), "unreadable"),
        (buried(USAGE_EVENTS, b"{}"), "unreadable"),
        (buried("risk.changes.v1", judge_batch(track(context={"groupId": "a"})).records[0][3]), "unreadable"),
        (buried(USAGE_EVENTS, judge_batch(track(context={"groupId": "a"})).records[0][3], cut=True), "cut"),
    ],
)
def test_what_nobody_could_read_stays_where_it_is(record: Rejected, why: str) -> None:
    assert rejudge(record, RULES) == why


def test_what_scoring_buried_of_somebody_suppressed_stays_buried() -> None:
    (live,) = judge_batch(track(context={"groupId": "acme"})).records

    for suppressed in (Suppressed(accounts=frozenset({b"acme"})), Suppressed(users=frozenset({b"u1"}))):
        assert rejudge(buried(USAGE_EVENTS, live[3]), replace(RULES, suppressed=suppressed)) == "suppressed"


def test_a_body_that_no_record_can_hold_is_cut_and_says_so() -> None:
    (record,) = judged(batch(track(properties={"long": "x" * 600_000}))).records
    kept = rejected_decoder.decode(record[3])

    assert (kept.cut, len(kept.body), len(record[3]) < 1_000_000) == (True, Limits().kept_bytes, True)
    assert rejudge(kept, RULES) == "cut"


def test_an_unknown_field_of_a_later_version_does_not_hide_a_record() -> None:
    (record,) = rejected(judge_batch(track(timestamp="never")))
    later = b'{"added":1,' + encoder.encode(record)[1:]

    assert rejected_decoder.decode(later) == record


def test_no_write_key_is_kept_wherever_an_sdk_has_put_it() -> None:
    key = make_key(Scope.SERVER, b"k" * RANDOM_BYTES)
    in_items = batch(track(timestamp="never", writeKey=key), track(timestamp="never", properties={"copied": key}))

    records = rejected(judged(in_items))

    assert [key.encode() in record.body for record in records] == [False, False]
    assert all(json.loads(record.body)["event"] == "Login" for record in records)
