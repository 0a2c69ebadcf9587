"""Ingest as a process, on a real Kafka and Postgres: its promises under faults, its command line, its admin API."""

import asyncio
import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from churnsignal_common.contracts.envelope import envelope_decoder, rejected_decoder
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_REJECTED, USAGE_UNRESOLVED
from churnsignal_devstack.services import ServiceProcess
from churnsignal_ingest.auth.keys import RANDOM_BYTES, make_key
from churnsignal_ingest.validate.judge import Scope

from tests.support.devstack import until
from tests.support.ingest import OPERATOR, READER, arm, ask
from tests.support.load import create_key
from tests.support.nursery import nursery
from tests.support.records import read_records
from tests.support.stack import Stack, service, stack_to_hurt  # noqa: F401 takes the place of `stack`


@pytest.fixture
def armed(told: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment with two admin tokens."""
    return arm(told, tmp_path)


@pytest.fixture
def ingest(armed: dict[str, str], tmp_path: Path) -> Iterator[ServiceProcess]:
    with service("ingest", armed, tmp_path) as process:
        yield process


def track(number: int, **fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Login", "userId": f"u{number}", "messageId": f"m{number}"} | fields


def test_a_200_names_what_is_on_the_topics_and_what_was_refused(told: dict[str, str], ingest: ServiceProcess) -> None:
    server, importer = create_key(told), create_key(told, "--scope", "import")

    live = ask(
        ingest.port, "/v1/batch", {"batch": [track(1, context={"groupId": 7}), track(2), {"type": "nope", "messageId": "m3"}]}, key=server
    )
    past = ask(ingest.port, "/v1/import", {"batch": [track(4, context={"groupId": 7}), track(5)]}, key=importer)

    assert (live[0], [told["messageId"] for told in live[2]["rejected"]]) == (200, ["m3"])
    assert (past[0], past[2]) == (200, {"success": True})
    records = asyncio.run(read_records(told, USAGE_EVENTS, USAGE_UNRESOLVED, USAGE_HISTORY, USAGE_REJECTED))
    placed = {envelope_decoder.decode(r.value).id: (r.topic, r.key) for r in records if r.topic != USAGE_REJECTED}
    assert placed == {
        "m1": (USAGE_EVENTS, b"7"),
        "m2": (USAGE_UNRESOLVED, b"u2"),
        "m4": (USAGE_HISTORY, b"7"),
        "m5": (USAGE_UNRESOLVED, b"u5"),
    }
    assert [rejected_decoder.decode(r.value).reason for r in records if r.topic == USAGE_REJECTED] == ["unknown_type"]


class Sender(threading.Thread):
    """Sends small batches back to back and keeps books: what got 200, and how long each answer took."""

    def __init__(self, port: int, key: str, first: int) -> None:
        super().__init__()
        self.port, self.key, self.number = port, key, first
        self.accepted: list[str] = []
        self.refused: list[tuple[int, str | None]] = []
        self.cut = 0
        self.slowest_s = 0.0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            batch = [track(self.number + i, context={"groupId": f"a{i}"}) for i in range(10)]
            self.number += 10
            began = time.monotonic()
            try:
                status, headers, _ = ask(self.port, "/v1/batch", {"batch": batch}, key=self.key)
            except (OSError, http.client.HTTPException):
                self.cut += 1
                self.over.wait(0.05)
                continue
            finally:
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            if status == 200:
                self.accepted += [call["messageId"] for call in batch]
            else:
                self.refused.append((status, headers.get("retry-after")))
                self.over.wait(0.02)


def senders(port: int, key: str, count: int = 6) -> list[Sender]:
    threads = [Sender(port, key, 1_000_000 * (i + 1)) for i in range(count)]
    for thread in threads:
        thread.start()
    return threads


def stop(threads: list[Sender]) -> list[str]:
    for thread in threads:
        thread.over.set()
    for thread in threads:
        thread.join(30)
    return [message for thread in threads for message in thread.accepted]


def ids_on_topic(told: dict[str, str]) -> list[str]:
    return [envelope_decoder.decode(r.value).id for r in asyncio.run(read_records(told, USAGE_EVENTS, USAGE_UNRESOLVED))]


def test_it_starts_while_kafka_and_postgres_are_away_and_says_so(told: dict[str, str], tmp_path: Path) -> None:
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "DATABASE_URL": "postgresql://u:p@127.0.0.1:9/x"}
    with service("ingest", told | nowhere, tmp_path) as process:
        status, _, ready = ask(process.port, "/readyz", method="GET")
        refused = ask(process.port, "/v1/track", track(1), key="css_nothing")

        assert (status, ready["status"]) == (200, "degraded: kafka, postgres")
        assert (refused[0], refused[2]["code"]) == (429, "kafka_unavailable")


def test_it_takes_nothing_while_the_topics_have_another_number_of_partitions_than_it_believes(told: dict[str, str], tmp_path: Path) -> None:
    with service("ingest", told | {"CHURNSIGNAL_PARTITIONS": "3"}, tmp_path) as process:
        _, _, ready = ask(process.port, "/readyz", method="GET")
        refused = ask(process.port, "/v1/track", track(1), key="css_nothing")

    assert "CHURNSIGNAL_PARTITIONS is 3, but " in ready["dependencies"][0]["reason"]
    assert (refused[0], refused[2]["code"]) == (429, "kafka_unavailable")


def test_known_keys_work_while_postgres_is_away_and_unknown_ones_are_not_called_bad(
    stack: Stack, told: dict[str, str], ingest: ServiceProcess
) -> None:
    key, other = create_key(told), create_key(told)
    assert ask(ingest.port, "/v1/track", track(1), key=key)[0] == 200
    # Well made, and nowhere in the table: only Postgres could tell that.
    unheard = make_key(Scope.SERVER, bytes(RANDOM_BYTES))
    stack.postgres.kill()
    try:
        known = ask(ingest.port, "/v1/track", track(2), key=key)
        seldom = ask(ingest.port, "/v1/track", track(3), key=other)
        unknown = ask(ingest.port, "/v1/track", track(4), key=unheard)
    finally:
        stack.postgres.launch()
        stack.postgres.wait_ready()

    assert known[0] == 200
    assert seldom[0] in (200, 503)
    assert (unknown[0], unknown[2]["code"]) == (503, "keys_unavailable")


def test_sigterm_answers_all_it_began_and_loses_nothing(told: dict[str, str], ingest: ServiceProcess) -> None:
    threads = senders(ingest.port, create_key(told))
    time.sleep(1.5)

    assert ingest.child is not None
    ingest.child.send_signal(signal.SIGTERM)
    code = ingest.child.wait(20)
    accepted = stop(threads)

    assert code == 0
    assert len(accepted) > 100
    assert set(accepted) - set(ids_on_topic(told)) == set()


def test_headers_without_end_and_silent_clients_are_cut(ingest: ServiceProcess) -> None:
    with socket.create_connection(("127.0.0.1", ingest.port), timeout=10) as flood:
        flood.sendall(b"POST /v1/track HTTP/1.1\r\nHost: x\r\n")
        sent = 0
        try:
            while sent < 5_000_000:
                flood.sendall(b"x-%d: " % sent + b"y" * 1000 + b"\r\n")
                sent += 1000
        except OSError:
            pass

    assert sent < 5_000_000
    assert ask(ingest.port, "/healthz", method="GET")[0] == 200


def test_operators_manage_sources_and_keys_over_http(ingest: ServiceProcess) -> None:
    port = ingest.port
    assert ask(port, "/admin/v1/sources", method="GET")[0] == 401
    assert ask(port, "/admin/v1/sources", {"name": "app"}, token=READER)[0] == 403

    made = ask(port, "/admin/v1/sources", {"name": "app", "kind": "rudder", "rate": 5}, token=OPERATOR)
    again = ask(port, "/admin/v1/sources", {"name": "app"}, token=OPERATOR)
    keys = f"/admin/v1/sources/{made[2]['id']}/keys"
    key = ask(port, keys, {"scope": "browser"}, token=OPERATOR)[2]
    rotated = ask(port, keys, {"id": key["id"], "action": "rotate"}, token=OPERATOR, method="PATCH")[2]
    works = [ask(port, "/v1/track", track(1), key=each["write_key"])[0] for each in (key, rotated)]
    ask(port, keys, {"id": key["id"], "action": "revoke"}, token=OPERATOR, method="PATCH")
    listed = ask(port, keys, token=READER, method="GET")[2]["items"]
    ask(port, f"/admin/v1/sources/{made[2]['id']}", {"disabled": True}, token=OPERATOR, method="PATCH")
    sources = ask(port, "/admin/v1/sources?limit=1", token=READER, method="GET")[2]

    assert (made[0], again[0]) == (201, 409)
    assert works == [200, 200]
    assert [each["revoked_at"] is None for each in listed] == [False, True]
    assert all("write_key" not in each for each in listed)
    assert (rotated["scope"], sources["items"][0]["name"], sources["items"][0]["disabled_at"] is None) == ("browser", "app", False)
    until(lambda: [ask(port, "/v1/track", track(1), key=each["write_key"])[0] for each in (key, rotated)] == [401, 401])
    assert ask(port, "/admin/v1/sources/999/keys", token=READER, method="GET")[0] == 404
    assert ask(port, "/admin/v1/sources?cursor=x", token=READER, method="GET")[0] == 400


def run_cli(told: dict[str, str], *argv: str) -> tuple[int, str, str]:
    return nursery().run("ingest", argv, told)


def test_the_command_line_creates_lists_rotates_and_revokes(told: dict[str, str]) -> None:
    made = json.loads(run_cli(told, "keys", "create", "--source", "shop", "--kind", "rudder", "--scope", "import", "--json")[1])
    rotated = json.loads(run_cli(told, "keys", "rotate", str(made["id"]), "--json")[1])
    revoked = run_cli(told, "keys", "revoke", str(made["id"]))
    twice = run_cli(told, "keys", "revoke", str(made["id"]))
    misnamed = run_cli(told, "keys", "create", "--source", "My Shop")
    listed = json.loads(run_cli(told, "keys", "list", "--source", "shop", "--json")[1])

    assert made["write_key"] != rotated["write_key"]
    assert (rotated["scope"], made["source"]) == ("import", "shop")
    assert (revoked[0], twice[0], misnamed[0]) == (0, 1, 1)
    assert "keys list" in twice[2]
    assert "small letters" in misnamed[2]
    assert [each["revoked_at"] is None for each in listed] == [False, True]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"CHURNSIGNAL_SIGNING_KEYS": "short"}, "CHURNSIGNAL_SIGNING_KEYS"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"CHURNSIGNAL_CLOCK": "soon"}, "CHURNSIGNAL_CLOCK"),
    ],
)
def test_nonsense_in_the_environment_is_named_and_not_repeated(told: dict[str, str], change: dict[str, str], named: str) -> None:
    code, _, complaint = run_cli(told | change, "check-config")

    assert code == 2
    assert named in complaint
    assert not any(value in complaint for name, value in change.items() if name != "CHURNSIGNAL_CLOCK")
