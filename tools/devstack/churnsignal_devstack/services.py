"""Door. One process of one service: its command, its environment, its readiness."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from churnsignal_devstack import children, ports
from churnsignal_devstack.plan import PORT_OFFSETS
from churnsignal_devstack.problems import StackProblem

MODULES = {"inbox": ["churnsignal_devstack.inbox"]}
COMMAND_PATIENCE_S = 120
READY_PATHS = {"inbox": "/api/messages"}
# What a child needs of our own environment besides what we tell it.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONWARNINGS", "COVERAGE_PROCESS_START")


def command(name: str, *arguments: str) -> list[str]:
    """Return how to run a service from this very interpreter."""
    return [sys.executable, "-m", *MODULES.get(name, [f"churnsignal_{name}"]), *arguments]


def environment(told: Mapping[str, str]) -> dict[str, str]:
    """Return a child's whole environment: nothing else of ours leaks into it."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | {"PYTHONUNBUFFERED": "1"} | dict(told)


def run_once(argv: list[str], told: Mapping[str, str]) -> str:
    """Run a command to its end and return what it printed; its failure is ours."""
    return run_together([argv], told)[0]


def run_together(commands: list[list[str]], told: Mapping[str, str]) -> list[str]:
    """Run commands side by side to their ends and return what each printed; the first failure is ours."""
    running = [_begin(argv, told) for argv in commands]
    try:
        outcomes = [child.communicate(timeout=COMMAND_PATIENCE_S) for child in running]
    except BaseException:
        for child in running:
            child.kill()
        raise
    for argv, child, (printed, complaint) in zip(commands, running, outcomes, strict=True):
        if child.returncode != 0:
            raise StackProblem(f"`{' '.join(argv[1:])}` failed (code {child.returncode}):\n{(complaint or printed).strip()[-2000:]}")
    return [printed for printed, _ in outcomes]


def _begin(argv: list[str], told: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv,
        env=environment(told),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=children.dies_with_us(),  # noqa: PLW1509 see children.start
    )


def free_port_base() -> int:
    """Return a base of which all ports are free now."""
    return ports.free_port(neighbours=5)


@dataclass(slots=True)
class ServiceProcess:
    """A service that can be started, killed and frozen at will. `told` is its environment beyond the inherited few."""

    name: str
    told: dict[str, str]
    log: Path
    arguments: tuple[str, ...] = ("serve",)
    address: str = ""
    child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def url(self) -> str:
        return self.address or f"http://{ports.LOOPBACK}:{int(self.told['CHURNSIGNAL_PORT_BASE']) + PORT_OFFSETS[self.name]}"

    def start(self) -> None:
        """Start it and return when it is ready."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it; do not wait."""
        order = children.Order(command(self.name, *self.arguments), environment(self.told), self.log, self.log.parent)
        self.child = children.start(order)

    def wait_ready(self, patience_s: float = 120) -> None:
        """Wait until it says that it is ready."""
        assert self.child is not None
        children.await_ready(self.child, self.name, self.is_ready, self.log, patience_s)

    def is_ready(self) -> bool:
        """Say whether it answers 200 to the question whether it is ready."""
        try:
            with urllib.request.urlopen(self.url + READY_PATHS.get(self.name, "/readyz"), timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def is_alive(self) -> bool:
        """Say whether the process runs."""
        return self.child is not None and self.child.poll() is None

    def stop(self, patience_s: float = 30) -> int | None:
        """End it by SIGTERM, let it drain, and return its exit code."""
        if self.child is None:
            return None
        children.stop(self.child, signal.SIGTERM, patience_s)
        return self.child.returncode

    def kill(self) -> None:
        """Kill it without a word."""
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    def freeze(self) -> None:
        """Stop it where it is, as a long pause of the machine would."""
        assert self.child is not None
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.child is not None
        self.child.send_signal(signal.SIGCONT)
