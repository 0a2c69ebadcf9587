"""What operators ask of a running ingest: whose calls are dropped."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from churnsignal_common.contracts.envelope import envelope_decoder
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_REJECTED, USAGE_UNRESOLVED
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
