"""Root. The whole stack under its supervisor: every process may be killed, and comes back; none outlives the supervisor."""

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


PERSON = "canary.person@customer.example"
SERVICES = ("ingest", "scoring", "alerts")


def _send(addresses: dict[str, str], event_id: str) -> int:
    """Let a person of account acme, owned by a CSM who is a person too, do what turns the account red; return the status."""
    about = {"userId": PERSON}
    batch = [
        {"type": "group", "groupId": "acme", "traits": {"owner": PERSON, "name": PERSON}, "messageId": f"{event_id}-group", **about},
        {"type": "track", "event": f"Wrote to {PERSON}", "properties": {"to": PERSON}, "messageId": f"{event_id}-wrote", **about},
        {"type": "track", "event": "Payment Failed", "properties": {"card": PERSON}, "messageId": event_id, **about},
    ]
    key = base64.b64encode(f"{addresses['CHURNSIGNAL_WRITE_KEY']}:".encode()).decode()
    headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
    body = json.dumps({"batch": batch}).encode()
    try:
        asked = urllib.request.Request(f"{addresses['CHURNSIGNAL_INGEST_URL']}/v1/batch", body, headers)
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return int(answer.status)
    except (urllib.error.URLError, OSError) as error:
        return int(getattr(error, "code", 0))


# What a stranger, a client and an operator may ask, and get wrong. In each body a person, in some of them a key where it should not be.
QUESTIONS: tuple[tuple[str, str, str, str | None], ...] = (
    *((service, "GET", path, None) for service in SERVICES for path in ("/readyz", "/metrics", "/openapi.json", f"/nowhere?who={PERSON}")),
    ("ingest", "POST", "/v1/track", '{"userId": "' + PERSON),
    ("ingest", "POST", "/v1/track", json.dumps({"userId": {PERSON: 1}, "event": PERSON, "properties": {"key": "KEY", "writeKey": "KEY"}})),
    ("ingest", "POST", "/v1/batch", json.dumps({"batch": PERSON})),
    (
        "ingest",
        "POST",
        "/v1/batch?writeKey=KEY",
        json.dumps({"writeKey": "KEY", "batch": [{"type": PERSON, "writeKey": "KEY"}, {"type": "track"}]}),
    ),
    ("ingest", "POST", "/v1/track", json.dumps({"writeKey": "KEYx", "userId": PERSON, "event": "x"})),
    ("ingest", "POST", "/admin/v1/rejected/replay", json.dumps({"id": PERSON, "scope": PERSON})),
    ("scoring", "GET", f"/v1/accounts?cursor={PERSON}&owner={PERSON}", None),
    ("scoring", "PATCH", "/v1/accounts/acme/profile", json.dumps({"arr": PERSON, "plan": {"x": PERSON}})),
    ("alerts", "PUT", "/v1/csms/kei", json.dumps({"name": "Kei", "email": "no address of " + PERSON, "hours": PERSON})),
    ("alerts", "POST", "/slack/interactions", "payload=" + PERSON),
)


def _settings(pid: int) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in pair)


def _secrets(settings: dict[str, str]) -> set[str]:
    """All that the process was told and nobody may read, and the passwords in it."""
    named = [value for name, value in settings.items() if name.endswith(("_URL", "_KEYS", "_TOKEN", "_SECRET", "_SECRETS", "_PASSWORD"))]
    passwords = [value.rpartition("@")[0].rpartition(":")[2] for value in named if "@" in value]
    secret = [value for value in named if not value.startswith("http") and ("://" not in value or "@" in value)]
    return {value for value in (*secret, *passwords) if len(value) > 8}


def _answer(url: str, method: str, body: str | None, headers: dict[str, str]) -> str:
    asked = urllib.request.Request(url, body.encode() if body is not None else None, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return f"{answer.status} {answer.headers}\n{answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.headers}\n{error.read().decode()}"


@pytest.mark.timeout(300)
def test_every_killed_process_comes_back_no_secret_is_seen_and_none_outlives_a_killed_supervisor(devstack: Devstack) -> None:
    devstack.env |= {
        "SMTP_URL": "smtp://mailer:canary-of-the-mail-relay@127.0.0.1:9",
        "SLACK_SIGNING_SECRET": "canary-of-slacks-signatures",
        "CHURNSIGNAL_WEBHOOK_SECRETS": "whsec_Y2FuYXJ5LW9mLXdlYmhvb2tzLWNhbmFyeQ==",
    }
    devstack.up(",".join(SERVICES))
    addresses = _addresses(devstack.where.parent / "env")
    key, token = addresses["CHURNSIGNAL_WRITE_KEY"], addresses["CHURNSIGNAL_ADMIN_TOKEN"]
    bearer = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    csm = json.dumps({"name": PERSON, "email": PERSON, "channels": ["email"], "hours": "always", "workdays": "mon-sun"})
    assert _answer(f"{addresses['CHURNSIGNAL_ALERTS_URL']}/v1/csms/kei", "PUT", csm, bearer).startswith("200")
    assert _send(addresses, "before") == 200

    # All numbers first: one that ends because another was killed must not be looked for afterwards.
    numbers = {row["name"]: row["pid"] for row in devstack.status()["processes"]}
    for number in numbers.values():
        os.kill(number, signal.SIGKILL)

    assert set(numbers) == {"postgres", "kafka", "inbox", *SERVICES}
    until(lambda: all(row["restarts"] >= 1 and row["ready"] for row in devstack.status()["processes"]))
    until(lambda: _send(addresses, "after") == 200)

    settings = [_settings(devstack.pid(name)) for name in SERVICES]
    secrets = {key, token} | {secret for one in settings for secret in _secrets(one)}
    basic = {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}
    wrong = {"Authorization": f"Bearer {token}x", "Content-Type": "application/json"}
    # The mail relay is nowhere, so that each delivery to them fails, which is worth a line of the log.
    until(lambda: "cannot reach the mail relay" in _answer(f"{addresses['CHURNSIGNAL_ALERTS_URL']}/v1/deliveries", "GET", None, bearer))
    answers = [
        _answer(
            addresses[f"CHURNSIGNAL_{service.upper()}_URL"] + path.replace("KEY", key), method, body and body.replace("KEY", key), headers
        )
        for service, method, path, body in QUESTIONS
        for headers in (basic, bearer, wrong, {})
    ]
    # Operators may read what was refused, less the key of whoever sent it.
    refused = _answer(f"{addresses['CHURNSIGNAL_INGEST_URL']}/admin/v1/rejected", "GET", None, bearer)
    logs = {path.name: path.read_text(errors="replace") for path in devstack.where.rglob("*.log")}
    said = {f"answer {number}": answer for number, answer in enumerate(answers)} | logs

    # So that commands find, with what clients are told, what the services have.
    assert {name for one in settings for name in one.keys() & addresses.keys() if one[name] != addresses[name]} == set()
    assert {"DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "CHURNSIGNAL_SIGNING_KEYS", "CHURNSIGNAL_PARTITIONS"} <= addresses.keys()
    assert len(secrets) >= 7
    assert {f"{name}.log" for name in SERVICES} <= logs.keys()
    assert PERSON in refused
    assert [place for place, text in [*said.items(), ("refused", refused)] if any(secret in text for secret in secrets)] == []
    # What the inbox shows of a mail is its purpose; Postgres and Kafka keep what they are told.
    assert [place for place, text in said.items() if PERSON in text and place not in ("inbox.log", "postgres.log", "kafka.log")] == []

    children = psutil.Process(devstack.supervisor()).children(recursive=True)
    assert len(children) >= 6

    os.kill(devstack.supervisor(), signal.SIGKILL)

    until(lambda: not any(psutil.pid_exists(child.pid) for child in children))
