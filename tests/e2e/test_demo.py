"""The demo, short: from an empty directory to messages in the inbox, with every promise that a week can show."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from churnsignal_devstack.services import free_port_base

pytestmark = pytest.mark.timeout(240)


def test_a_week_of_the_demo_keeps_every_promise_and_leaves_no_process(tmp_path: Path) -> None:
    report, where = tmp_path / "report.json", tmp_path / "stack"
    argv = [
        sys.executable,
        "-m",
        "churnsignal_devstack",
        "demo",
        "--days",
        "7",
        "--days-per-second",
        "20",
        "--exit",
        "--report",
        str(report),
    ]
    env = {"CHURNSIGNAL_DEVSTACK_DIR": str(where), "CHURNSIGNAL_PORT_BASE": str(free_port_base())}

    done = subprocess.run(argv, env={**_plain_environment(), **env}, capture_output=True, text=True, timeout=200, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["ok"] is True
    assert found["events"]["accepted"] == found["events"]["applied"] > 75_000
    assert found["notices"]["slack"] >= 1
    assert found["notices"]["email"] >= 1
    assert found["episodes"] >= 1
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(where) in " ".join(p.info["cmdline"] or ())]


def _plain_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "XDG_CACHE_HOME", "CHURNSIGNAL_CACHE_DIR") if name in os.environ}
