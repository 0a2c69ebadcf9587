"""What operators ask of a running ingest: whose calls are dropped, what was refused, and another chance for it."""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from churnsignal_common.contracts.envelope import Rejected, encoder, envelope_decoder
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_REJECTED, USAGE_UNRESOLVED
from churnsignal_common.kafka.client import Brokers, new_producer
from churnsignal_devstack.services import ServiceProcess

from tests.support.ingest import OPERATOR, READER, arm, ask
from tests.support.load import create_key
from tests.support.records import read_records
from tests.support.stack import service


@pytest.fixture
def ingest(told: dict[str, str], tmp_path: Path) -> Iterator[ServiceProcess]:
    with service("ingest", arm(told, tmp_path), tmp_path) as process:
        yield process


def track(message: str, **fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Login", "userId": "u1", "messageId": message} | fields


def lying(told: dict[str, str]) -> list[str]:
    """Return the ids of all calls on Kafka, refused ones as `refused`."""
    records = asyncio.run(read_records(told, USAGE_EVENTS, USAGE_UNRESOLVED, USAGE_REJECTED))
    return ["refused" if r.topic == USAGE_REJECTED else envelope_decoder.decode(r.value).id for r in records]


def until(seconds: float, attempt: Any) -> Any:
    """Return the first truthy answer of `attempt`, asked again and again for so long."""
    end = time.monotonic() + seconds
    while not (found := attempt()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def test_listed_users_and_accounts_are_dropped_within_ten_seconds_and_taken_again_when_lifted(
    told: dict[str, str], ingest: ServiceProcess
) -> None:
    port, path, key = ingest.port, "/admin/v1/suppressions", create_key(told)
    listing: dict[str, list[dict[str, Any]]] = {
        "items": [{"kind": "user", "id": 7}, {"kind": "account", "id": "acme"}, {"kind": "user", "id": " gone "}]
    }
    batch = {"batch": [track("m1", userId="7"), track("m2", context={"groupId": "acme"}), track("m3"), {"type": "nope", "userId": "gone"}]}
    assert ask(port, path, listing, token=READER, method="PUT")[0] == 403
    assert ask(port, path, token=READER, method="GET")[0] == 403

    first = ask(port, path, listing, token=OPERATOR, method="PUT")
    again = ask(port, path, listing, token=OPERATOR, method="PUT")
    told_of = until(10, lambda: [reply for reply in [ask(port, "/v1/batch", batch, key=key)] if "suppressed" in reply[2]])
    before = lying(told)
    ask(port, "/v1/batch", batch, key=key)
    after = lying(told)
    page = ask(port, path + "?limit=2", token=OPERATOR, method="GET")[2]
    rest = ask(port, f"{path}?limit=2&cursor={page['next_cursor']}", token=OPERATOR, method="GET")[2]

    assert (first[0], first[2]) == (200, {"listed": 3, "lifted": 0})
    assert again[2] == {"listed": 0, "lifted": 0}
    assert told_of[0][2] == {"success": True, "suppressed": 3}
    assert [name for name in after if after.count(name) > before.count(name)] == ["m3"] * after.count("m3")
    assert len(after) == len(before) + 1
    assert [(item["kind"], item["id"], item["listed_by"]) for item in (*page["items"], *rest["items"])] == [
        ("account", "acme", "op"),
        ("user", "7", "op"),
        ("user", "gone", "op"),
    ]
    assert rest["next_cursor"] is None

    lifting = {"items": [each | {"suppressed": False} for each in listing["items"]]}
    assert ask(port, path, lifting, token=OPERATOR, method="PUT")[2] == {"listed": 0, "lifted": 3}
    assert until(10, lambda: ask(port, "/v1/track", track("m5", userId="7"), key=key)[2] == {"success": True})
    assert 'churnsignal_ingest_events_total{outcome="suppressed",reason="",source="test"}' in metrics(port)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"items": []}, "items"),
        ({"items": [{"kind": "team", "id": "x"}]}, "items.0.kind"),
        ({"items": [{"kind": "user", "id": " "}]}, "must not be empty"),
        ({"items": [{"kind": "user", "id": "x" * 256}]}, "over 255 bytes"),
    ],
)
def test_a_listing_that_names_nobody_is_refused_with_the_place(ingest: ServiceProcess, body: Any, said: str) -> None:
    status, headers, problem = ask(ingest.port, "/admin/v1/suppressions", body, token=OPERATOR, method="PUT")

    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert said in problem["detail"]


def metrics(port: int) -> str:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


def listed(port: int, query: str) -> list[dict[str, Any]]:
    """Return all items behind a query, a page at a time."""
    items, cursor = [], ""
    while True:
        status, _, page = ask(port, f"/admin/v1/rejected?{query}{cursor}", token=OPERATOR, method="GET")
        assert status == 200, page
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = f"&cursor={page['next_cursor']}"


def bury(told: dict[str, str], value: bytes) -> None:
    """Publish what scoring publishes about a record that it cannot process."""
    record = Rejected(
        id=f"{USAGE_EVENTS}:0:9", source="", stage="scoring", reason="unreadable", message="why", rejected_at=datetime.now(UTC),
        topic=USAGE_EVENTS, partition=0, offset=9, body=value,
    )  # fmt: skip
    partition = partition_of("unknown", int(told["CHURNSIGNAL_PARTITIONS"]))

    async def publish() -> None:
        producer = new_producer(Brokers(told["KAFKA_BOOTSTRAP_SERVERS"], {}), "test-scoring")
        await producer.start()
        try:
            topic = told["CHURNSIGNAL_TOPIC_PREFIX"] + USAGE_REJECTED
            await producer.send_and_wait(topic, encoder.encode(record), b"unknown", partition=partition)
        finally:
            await producer.stop()

    asyncio.run(publish())


def test_refused_and_buried_records_are_found_by_source_reason_and_time_and_replayed_once(
    told: dict[str, str], ingest: ServiceProcess
) -> None:
    port, path = ingest.port, "/admin/v1/rejected"
    browser, other = create_key(told, "--scope", "browser"), create_key(told, source="other")
    group = {"type": "group", "userId": "u1", "groupId": "acme", "messageId": "g1"}
    began = quote(datetime.now(UTC).isoformat())
    ask(port, "/v1/batch", {"batch": [group, track("b1", timestamp="never")], "writeKey": browser})
    ask(port, "/v1/batch", {"batch": [track(f"o{number}", timestamp="never") for number in range(5)]}, key=other)
    bury(told, b"\xff\xfe")
    ended = quote(datetime.now(UTC).isoformat())
    assert [ask(port, path, token=READER, method="GET")[0], ask(port, path + "/replay", {}, token=READER)[0]] == [403, 403]

    everything = listed(port, "limit=2")
    by_reason = listed(port, "source=test&reason=scope_call")
    poison = listed(port, "stage=scoring")

    assert sorted(item["id"] for item in everything) == ["b1", "g1", "o0", "o1", "o2", "o3", "o4", f"{USAGE_EVENTS}:0:9"]
    assert [(item["id"], item["scope"], json.loads(item["body"])) for item in by_reason] == [("g1", "browser", group)]
    assert "key of scope `server`" in by_reason[0]["remedy"]
    assert [(item["source"], item["place"], item["body"], item["body_base64"]) for item in poison] == [
        ("unknown", {"topic": USAGE_EVENTS, "partition": 0, "offset": 9}, None, "//4=")
    ]
    assert [len(listed(port, query)) for query in (f"since={began}", f"until={began}", f"since={ended}", "source=other&id=o3")] == [
        8,
        0,
        0,
        1,
    ]
    assert browser not in json.dumps(everything)

    still = ask(port, path + "/replay", {}, token=OPERATOR)[2]
    dry = ask(port, path + "/replay", {"source": "test", "scope": "server", "dry_run": True}, token=OPERATOR)[2]
    before = lying(told)
    twice = [ask(port, path + "/replay", {"source": "test", "scope": "server"}, token=OPERATOR)[2] for _ in range(2)]
    added = [envelope_decoder.decode(r.value) for r in asyncio.run(read_records(told, USAGE_EVENTS))]

    assert still["still_refused"] == {"scope_call": 1, "bad_timestamp": 6, "unreadable": 1}
    assert (still["matched"], still["published"]) == (8, 0)
    assert dry | {"next_cursor": None} == {"matched": 2, "published": 1, "still_refused": {"bad_timestamp": 1}, "next_cursor": None}
    assert twice[0] == twice[1] == dry
    assert (before.count("g1"), [(envelope.id, envelope.source, envelope.account) for envelope in added]) == (
        0,
        [("g1", "test", "acme")] * 2,
    )
    assert added[0] == added[1]
    assert "churnsignal_ingest_replayed_total 2.0" in metrics(port)


@pytest.mark.parametrize("query", ["cursor=nonsense", "since=yesterday", "limit=0", "stage=alerts", "surce=test"])
def test_a_question_that_means_nothing_is_refused(ingest: ServiceProcess, query: str) -> None:
    status, headers, _ = ask(ingest.port, f"/admin/v1/rejected?{query}", token=OPERATOR, method="GET")

    assert (status in (400, 422), headers["content-type"]) == (True, "application/problem+json")
