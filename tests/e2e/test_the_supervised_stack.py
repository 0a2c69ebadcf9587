"""Root. The whole stack under its supervisor: every process may be killed, and comes back."""

import base64
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.devstack import Devstack, until


@pytest.fixture
def devstack(tmp_path: Path) -> Iterator[Devstack]:
    one = Devstack(tmp_path / "state")
    yield one
    one.run("down", "--wipe")


def _addresses(path: Path) -> dict[str, str]:
    lines = (line.removeprefix("export ").split("=", 1) for line in path.read_text().splitlines())
    return {name: value.strip("'") for name, value in lines}


def _track(addresses: dict[str, str], event_id: str) -> int:
    body = json.dumps({"event": "Logged in", "userId": "u1", "context": {"groupId": "acme"}, "messageId": event_id}).encode()
    key = base64.b64encode(f"{addresses['CHURNSIGNAL_WRITE_KEY']}:".encode()).decode()
    headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{addresses['CHURNSIGNAL_INGEST_URL']}/v1/track", body, headers), timeout=10
        ) as answer:
            return int(answer.status)
    except (urllib.error.URLError, OSError) as error:
        return int(getattr(error, "code", 0))


@pytest.mark.timeout(300)
def test_every_killed_process_comes_back_and_the_same_key_is_accepted_again(devstack: Devstack) -> None:
    devstack.up("ingest,scoring,alerts")
    addresses = _addresses(devstack.where.parent / "env")
    assert _track(addresses, "before") == 200

    # All numbers first: one that ends because another was killed must not be looked for afterwards.
    numbers = {row["name"]: row["pid"] for row in devstack.status()["processes"]}
    for number in numbers.values():
        os.kill(number, signal.SIGKILL)

    assert set(numbers) == {"postgres", "kafka", "inbox", "ingest", "scoring", "alerts"}
    until(lambda: all(row["restarts"] >= 1 and row["ready"] for row in devstack.status()["processes"]))
    until(lambda: _track(addresses, "after") == 200)


@pytest.mark.timeout(300)
def test_no_process_of_any_service_outlives_a_killed_supervisor(devstack: Devstack) -> None:
    devstack.up("ingest,scoring,alerts")
    children = psutil.Process(devstack.supervisor()).children(recursive=True)
    assert len(children) >= 6

    os.kill(devstack.supervisor(), signal.SIGKILL)

    until(lambda: not any(psutil.pid_exists(child.pid) for child in children))
