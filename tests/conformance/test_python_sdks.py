"""Unmodified SDKs against a running ingest: what each client believes is exactly what lies on the topics."""

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from churnsignal_common.contracts.envelope import envelope_decoder
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_REJECTED, USAGE_UNRESOLVED
from churnsignal_devstack.places import cache_dir
from churnsignal_devstack.services import ServiceProcess

from tests.support.load import create_key
from tests.support.records import Lying, read_records
from tests.support.stack import service

HERE = Path(__file__).parent
CALLS = 1000
TOPICS = (USAGE_EVENTS, USAGE_UNRESOLVED, USAGE_HISTORY, USAGE_REJECTED)


def installed(requirements: Path) -> Path:
    """Return a folder with exactly the pinned wheel; made once per machine, its dependencies are the environment's own."""
    folder = cache_dir() / "sdks" / hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    if not folder.exists():
        fresh = folder.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--target",
            str(fresh),
            "-r",
            str(requirements),
        ]
        subprocess.run(pip, check=True, timeout=120)
        fresh.rename(folder)
    return folder


@pytest.fixture
def ingest(told: dict[str, str], tmp_path: Path) -> Iterator[ServiceProcess]:
    with service("ingest", told, tmp_path) as process:
        yield process


def drive(told: dict[str, str], kind: str, host: str, key: str, *, gzip: bool, older: Path | None) -> dict[str, Any]:
    driver = HERE / "drivers" / "python_sdks.py"
    argv = [sys.executable, str(driver), kind, host, key, str(CALLS), "gzip" if gzip else "plain"]
    env = {name: value for name, value in told.items() if name in ("PATH", "HOME")} | ({"PYTHONPATH": str(older)} if older else {})
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("kind", "version", "gzip", "older"),
    [
        ("segment", "2.4.0", False, False),
        ("segment", "2.4.0", True, False),
        ("segment", "2.3.6", False, True),
        ("rudder", "2.1.9", True, False),
        ("rudder", "2.1.9", False, False),
    ],
)
def test_every_call_of_an_unmodified_sdk_is_on_the_topics_once(
    told: dict[str, str], ingest: ServiceProcess, kind: str, version: str, gzip: bool, older: bool
) -> None:
    key = create_key(told, "--kind", kind)
    folder = installed(HERE / "segment_2_3.txt") if older else None

    seen = drive(told, kind, ingest.url, key, gzip=gzip, older=folder)

    records = asyncio.run(read_records(told, *TOPICS))
    assert (seen["version"], seen["errors"], len(seen["ids"])) == (version, [], CALLS)
    assert Counter(ids_of(records)) == Counter(seen["ids"])
    by_topic = Counter(record.topic for record in records)
    # Of six kinds of calls, screen and alias name no account.
    assert by_topic == {USAGE_EVENTS: CALLS - by_topic[USAGE_UNRESOLVED], USAGE_UNRESOLVED: sum(n % 6 in (3, 4) for n in range(CALLS))}
    assert all(key.encode() not in record.value for record in records)
    assert {e.account for e in map(envelope_decoder.decode, values(records, USAGE_EVENTS))} == {str(1000 + n) for n in range(20)}


def ids_of(records: list[Lying]) -> list[str]:
    return [envelope_decoder.decode(record.value).id for record in records if record.topic != USAGE_REJECTED]


def values(records: list[Lying], topic: str) -> list[bytes]:
    return [record.value for record in records if record.topic == topic]
