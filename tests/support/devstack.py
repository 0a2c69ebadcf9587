"""Door. `churnsignal-devstack` as a person runs it, in a state directory and on ports of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from churnsignal_devstack.services import free_port_base

PATIENCE_S = 60


class Devstack:
    """The command and its state."""

    def __init__(self, where: Path) -> None:
        self.where = where
        own = {"CHURNSIGNAL_DEVSTACK_DIR": str(where), "CHURNSIGNAL_PORT_BASE": str(free_port_base())}
        outside = ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS")
        self.env = {name: value for name, value in os.environ.items() if name not in outside} | own

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "churnsignal_devstack", *arguments]
        return subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=120, check=False)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return found

    def pid(self, name: str) -> int:
        return int(self.row(name)["pid"])

    def up(self, services: str) -> subprocess.CompletedProcess[str]:
        """Start it in the background; its failure is the test's."""
        done = self.run("up", "--detach", "--services", services, "--env-file", str(self.where.parent / "env"))
        assert done.returncode == 0, done.stderr
        return done

    def row(self, name: str) -> dict[str, Any]:
        return next(row for row in self.status()["processes"] if row["name"] == name)

    def supervisor(self) -> int:
        return int(json.loads((self.where / "record.json").read_text())["supervisor"]["pid"])


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
