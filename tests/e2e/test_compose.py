"""`docker compose up`, as a person would: healthy within two minutes, and what an unmodified SDK sends ends in the inbox.

Skips where there is no container engine or the official images are not there: it pulls nothing.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from churnsignal_devstack import ports
from segment.analytics import Client

HOME = Path(__file__).parents[2]
IMAGES = ("python:3.13-slim-bookworm", "postgres:18", "apache/kafka:4.3.1")
SERVICES = ("ingest", "scoring", "alerts", "inbox")
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True, slots=True)
class Project:
    """One running compose project of its own, on free ports."""

    name: str
    ports: dict[str, int]
    took_s: float = 0.0

    def run(self, *arguments: str, timeout_s: float = 300) -> str:
        own = {f"CHURNSIGNAL_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        environment = {**os.environ, **own, "CHURNSIGNAL_PUBLIC_URL": self.url("alerts")}
        argv = ["docker", "compose", "--project-name", self.name, "--file", str(HOME / "docker-compose.yml"), *arguments]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def keys(self) -> dict[str, str]:
        lines = self.run("exec", "-T", "inbox", "cat", "/run/churnsignal/client.env").splitlines()
        return {name: value.strip("'") for name, _, value in (line.removeprefix("export ").partition("=") for line in lines)}


def missing() -> str | None:
    """Return why this cannot run here."""
    if shutil.which("docker") is None or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        return "there is no container engine with compose here"
    if subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30).returncode:
        return "there is no container engine running here"
    absent = [
        image for image in IMAGES if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode
    ]
    return f"the engine has no image {', '.join(absent)}" if absent else None


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    if reason := missing():
        pytest.skip(reason)
    own = Project(f"churnsignal-test-{os.getpid()}", {name: ports.free_port() for name in SERVICES})
    try:
        own.run("build", "--quiet", timeout_s=600)
        start = time.monotonic()
        own.run("up", "--detach", "--wait", "--wait-timeout", "180")
        yield Project(own.name, own.ports, time.monotonic() - start)
    finally:
        own.run("down", "--volumes", "--timeout", "10", "--remove-orphans")


def told(project: Project, wanted: int) -> list[dict[str, Any]]:
    """Return what is in the inbox, once that many messages are."""
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while len(found) < wanted and time.monotonic() < deadline:
        time.sleep(0.5)
        found = httpx2.get(f"{project.url('inbox')}/api/messages", trust_env=False).json()
    return found


def test_it_is_healthy_within_two_minutes(project: Project) -> None:
    ready = {name: httpx2.get(f"{project.url(name)}/readyz", trust_env=False).status_code for name in SERVICES}

    assert project.took_s < 120
    assert ready == dict.fromkeys(SERVICES, 200)


def test_what_a_real_sdk_sends_ends_in_the_inbox_as_slack_message_and_email(project: Project) -> None:
    keys = project.keys()
    csm = {"name": "Hanako Sato", "email": "hanako@example.com", "hours": "always", "workdays": "mon-sun", "locale": "ja"}
    slack = httpx2.post(
        f"{project.url('inbox')}/slack/api/users.lookupByEmail",
        json={"email": csm["email"]},
        headers={"Authorization": "Bearer xoxb-test"},
        trust_env=False,
    ).json()
    people = {
        "hanako": {**csm, "slack": slack["user"]["id"]},
        "anna": {**csm, "name": "Anna Keller", "email": "anna@example.com", "locale": "en", "channels": ["email"]},
    }
    for ident, body in people.items():
        answer = httpx2.put(
            f"{project.url('alerts')}/v1/csms/{ident}",
            json=body,
            headers={"Authorization": f"Bearer {keys['CHURNSIGNAL_ADMIN_TOKEN']}"},
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text

    client = Client(keys["CHURNSIGNAL_WRITE_KEY"], host=project.url("ingest"))
    for account, owner in (("Sakura", "hanako@example.com"), ("Northwind", "anna@example.com")):
        client.group(f"user-of-{account}", account, {"name": account, "csm": owner})
        for number in range(20):
            client.track(f"user-of-{account}", "Report Exported", {"number": number})
        client.track("billing", "Payment Failed", {"amount": 100}, context={"groupId": account})
    client.shutdown()
    found = told(project, 2)

    assert sorted((message["kind"], message["to"]) for message in found) == [("email", "anna@example.com"), ("slack", "hanako@example.com")]
    assert all(message["episode_id"] for message in found)
    assert {"Sakura" in message["text"] or "Northwind" in message["text"] for message in found} == {True}


def test_a_container_can_write_nowhere_and_is_nobody(project: Project) -> None:
    for service in SERVICES:
        seen = project.run(
            "exec", "-T", service, "sh", "-c", "id -u; touch /app/x /etc/x 2>&1 | grep -c 'Read-only'; grep CapEff /proc/self/status"
        )

        assert seen.split() == ["65532", "2", "CapEff:", "0000000000000000"], service


def test_a_second_start_keeps_keys_and_data(project: Project) -> None:
    before = project.keys()

    project.run("up", "--detach", "--wait", "--wait-timeout", "180")

    assert project.keys() == before
