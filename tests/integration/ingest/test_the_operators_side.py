"""What operators ask of a running ingest: whose calls are dropped, what was refused, and another chance for it."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import asyncpg
import pytest
from churnsignal_common.contracts.envelope import Rejected, encoder, envelope_decoder
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_REJECTED, USAGE_UNRESOLVED
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


def test_questions_and_listings_that_mean_nothing_are_refused_with_the_place(ingest: ServiceProcess) -> None:
    queries = ("cursor=nonsense", "since=yesterday", "limit=0", "stage=alerts", "surce=test")
    listings = {
        "body.items": {"items": []},
        "items.0.kind": {"items": [{"kind": "team", "id": "x"}]},
        "must not be empty": {"items": [{"kind": "user", "id": " "}]},
        "over 255 bytes": {"items": [{"kind": "user", "id": "x" * 256}]},
        "items.0.idd": {"items": [{"kind": "user", "idd": "x"}]},
    }

    asked = [ask(ingest.port, f"/admin/v1/rejected?{query}", token=OPERATOR, method="GET") for query in queries]
    listed = [ask(ingest.port, "/admin/v1/suppressions", body, token=OPERATOR, method="PUT") for body in listings.values()]

    assert {headers["content-type"] for _, headers, _ in [*asked, *listed]} == {"application/problem+json"}
    assert [status for status, _, _ in [*asked, *listed]] == [400, *[422] * 9]
    assert all(said in problem["detail"] for said, (_, _, problem) in zip(listings, listed, strict=True))


def metrics(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
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
    assert twice == [dry, dry | {"published": 0, "still_refused": {"bad_timestamp": 1, "replayed": 1}}]
    assert (before.count("g1"), [(envelope.id, envelope.source, envelope.account) for envelope in added]) == (0, [("g1", "test", "acme")])
    assert "churnsignal_ingest_replayed_total 1.0" in metrics(port)


def put_into_force(told: dict[str, str], mapping: str) -> None:
    """Publish and activate a mapping as scoring's API does."""
    now = datetime.now(UTC)

    async def write() -> None:
        database = await asyncpg.connect(told["DATABASE_URL"])
        try:
            await database.execute("INSERT INTO scoring.configs VALUES ('mapping', $1, $2, 'op', $3)", mapping, mapping, now)
            await database.execute(
                "INSERT INTO scoring.activations (kind, version, effective_from, author, activated_at) VALUES ('mapping', $1, $2, 'op', $2)",
                mapping,
                now,
            )
        finally:
            await database.close()

    asyncio.run(write())


def test_a_mapping_put_into_force_by_scorings_api_says_where_accounts_stand_without_a_restart(
    told: dict[str, str], ingest: ServiceProcess
) -> None:
    key = create_key(told)

    def accounts() -> set[str | None]:
        ask(ingest.port, "/v1/track", track("m", properties={"org": "acme"}), key=key)
        records = asyncio.run(read_records(told, USAGE_EVENTS, USAGE_UNRESOLVED))
        return {envelope_decoder.decode(record.value).account for record in records}

    assert accounts() == {None}
    put_into_force(told, "name: ours\naccount_paths: [properties.org]\n")

    assert until(10, lambda: accounts() == {None, "acme"})


def importing(told: dict[str, str], cache: Path, file: Path, *more: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "churnsignal_ingest", "import", str(file), "--source", "warehouse", "--json", *more]
    return subprocess.Popen(
        argv, env=told | {"CHURNSIGNAL_CACHE_DIR": str(cache)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_an_import_goes_on_after_ctrl_c_to_the_lane_of_history_with_exact_counts_and_bad_rows_by_number(
    told: dict[str, str], ingest: ServiceProcess, tmp_path: Path
) -> None:
    file, rows = tmp_path / "events.csv", 12_000
    lines = [f"a{n % 50},u{n},commit,2026-01-02T03:04:05Z,{n}" for n in range(rows)]
    lines[6000], lines[6001], lines[11_999] = "a,u,,2026-01-02,1", "too,many,cells,in,this,row", "a,u,commit,never,1"
    file.write_text("account_id,user_id,event,occurred_at,quantity\n" + "\n".join(lines) + "\n")
    dry = importing(told, tmp_path, file, "--dry-run")
    dry_counts = json.loads(dry.communicate(timeout=60)[0])

    first = importing(told, tmp_path, file)
    assert until(60, lambda: list(tmp_path.glob("imports/warehouse-*.json")) or first.poll() is not None)
    first.send_signal(signal.SIGINT)
    stopped = (first.wait(30), first.communicate()[1])
    second, third = importing(told, tmp_path, file).communicate(timeout=120), importing(told, tmp_path, file).communicate(timeout=60)

    counts = json.loads(second[0])
    assert stopped[0] == 130, stopped
    assert "goes on where it stopped" in stopped[1]
    assert (counts["rows"], counts["accepted"]) == (rows, rows - 3)
    assert counts["rejected"] == {"no_event_name": 1, "unreadable_row": 1, "bad_timestamp": 1} == dry_counts["rejected"]
    assert [(bad["row"], bad["reason"]) for bad in counts["first_bad_rows"]] == [
        (6001, "no_event_name"),
        (6002, "unreadable_row"),
        (12_000, "bad_timestamp"),
    ]
    assert json.loads(third[0]) == counts
    live = asyncio.run(read_records(told, USAGE_EVENTS, USAGE_UNRESOLVED))
    history = [envelope_decoder.decode(r.value) for r in asyncio.run(read_records(told, USAGE_HISTORY))]
    assert live == []
    assert len({envelope.id for envelope in history}) == rows - 3
    assert all(envelope.history for envelope in history)


def test_a_key_that_may_not_import_is_named_before_anything_counts_as_live(
    told: dict[str, str], ingest: ServiceProcess, tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"account_id":"a","user_id":"u","event":"commit","occurred_at":"2026-01-02T03:04:05Z"}\n')

    failed = importing(told, tmp_path, file, "--write-key", create_key(told))

    assert "--scope import" in failed.communicate(timeout=60)[1]
    assert failed.returncode == 1
    assert lying(told) == ["refused"]
