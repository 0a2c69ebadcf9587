"""Whose calls are dropped: by any id that a call names them with, refused ones too, and nobody else's."""

import json
from typing import Any

import pytest
from churnsignal_ingest.validate.batches import open_batch, open_single
from churnsignal_ingest.validate.cloudevents import open_events
from churnsignal_ingest.validate.judge import Judged
from churnsignal_ingest.validate.suppressed import Suppressed

from tests.unit.ingest.cases import BROWSER, envelopes, judged, track

LISTED = Suppressed(frozenset({b"gone", b"7"}), frozenset({b"acme"}))


def judge(*calls: Any, **around: Any) -> Judged:
    return judged(open_batch(json.dumps({"batch": list(calls), **around}).encode()), suppressed=LISTED)


@pytest.mark.parametrize(
    "call",
    [
        track(userId="gone"),
        track(userId=" gone "),
        track(userId=7),
        track(userId=None, anonymousId="gone"),
        track(userId="other", anonymousId="gone"),
        track(context={"groupId": "acme"}),
        track(traits={"company": {"id": "acme"}}),
        {"type": "group", "userId": "u1", "groupId": "acme"},
        {"type": "group", "userId": "gone", "groupId": "other"},
        {"type": "alias", "userId": "u1", "previousId": "gone"},
        {"type": "identify", "userId": "gone", "traits": {"email": "x@y"}},
    ],
)
def test_a_call_about_somebody_on_the_list_is_dropped(call: dict[str, Any]) -> None:
    verdicts = judge(call)

    assert (verdicts.suppressed, verdicts.accepted, verdicts.records) == (1, 0, [])


@pytest.mark.parametrize(
    "call",
    [track(userId="acme"), track(context={"groupId": "gone"}), track(userId="Gone"), track(userId="gone2"), track(previousId="gone")],
)
def test_others_are_taken_though_they_share_a_name_with_somebody_of_the_other_kind(call: dict[str, Any]) -> None:
    assert judge(call).accepted == 1


@pytest.mark.parametrize(
    "call",
    [
        {"type": "nope", "userId": "gone"},
        {"type": "track", "userId": "gone"},
        {"type": "alias", "previousId": "gone"},
        {"type": "nope", "userId": "u1", "groupId": "acme"},
        {"type": "nope", "userId": "u1", "context": {"groupId": "acme"}},
        track(userId="gone", timestamp="never"),
        track(userId="gone", properties={"long": "x" * 40_000}),
        track(userId="gone", properties="none"),
        track(userId="gone", context="none"),
        track(userId="  7 ", anonymousId=[], context=[]),
        {"type": "nope", "userId": {}, "user": 7.0},
    ],
)
def test_a_call_that_would_be_refused_does_not_reach_kafka_that_way(call: dict[str, Any]) -> None:
    verdicts = judge(call)

    assert (verdicts.suppressed, verdicts.refused, verdicts.records) == (1, [], [])


def test_a_refused_call_is_also_known_by_the_group_that_stands_on_its_batch() -> None:
    assert judge({"type": "nope", "userId": "u1"}, context={"groupId": "acme"}).suppressed == 1


def test_a_batch_keeps_its_other_calls() -> None:
    verdicts = judge(track(), track(userId="gone", messageId="m2"), track(messageId="m3"), {"type": "nope", "userId": "u1"})

    assert [envelope.id for envelope in envelopes(verdicts)] == ["m1", "m3"]
    assert (verdicts.suppressed, [refused.index for refused in verdicts.refused]) == (1, [3])


def test_a_single_call_and_a_cloud_event_are_dropped_as_well() -> None:
    event = {"specversion": "1.0", "type": "x", "source": "s", "id": "1", "subject": "gone"}
    parcels = [
        open_single(b'{"userId":"gone","event":"Login"}', "track"),
        open_events(json.dumps(event).encode(), "application/cloudevents+json", {}),
    ]

    assert [judged(parcel, suppressed=LISTED).suppressed for parcel in parcels] == [1, 1]


def test_what_a_browser_key_may_not_send_is_dropped_rather_than_kept_as_refused() -> None:
    call = {"type": "group", "userId": "u1", "groupId": "acme"}

    assert judged(open_batch(json.dumps({"batch": [call]}).encode()), BROWSER, suppressed=LISTED).records == []
