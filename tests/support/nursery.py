"""Door. Start services and their commands in the time of a fork: a nursery loads their modules once, and each child is a process of its own.

That the commands start by themselves is shown where people start them: by the demo, the supervised stack, compose and the tests of command lines.

Run as `python -m tests.support.nursery`: a line of JSON on stdin asks for a child, or how one ended; the answer is a number.
"""

import atexit
import functools
import importlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

from churnsignal_common.runtime import crash
from churnsignal_devstack.children import dies_with_us
from churnsignal_devstack.services import COMMAND_PATIENCE_S, environment


class Child(subprocess.Popen[bytes]):
    """A process that a nursery started: as if it were our own child, except that the nursery has to be asked how it ended."""

    def __init__(self, nursery: "Nursery", pid: int, args: Sequence[str]) -> None:
        self.args = list(args)
        self.pid = pid
        self.returncode = None
        self._nursery = nursery
        self._lock = threading.Lock()
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, timeout_s: float | None) -> int | None:
        end = select.poll()  # each caller's own: several threads may wait
        end.register(self._handle, select.POLLIN)
        if self.returncode is None and end.poll(None if timeout_s is None else timeout_s * 1000):
            with self._lock:
                if self.returncode is None:
                    self.returncode = self._nursery.ask(ended=self.pid)
                    os.close(self._handle)
        return self.returncode


class Nursery:
    """A process that starts others. `outer` is the environment of the interpreter itself, such as its hash seed."""

    def __init__(self, outer: Mapping[str, str] | None = None) -> None:
        self._outer = dict(outer or {})
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment({"PYTHONPATH": ":".join(sys.path)}) | self._outer,
            start_new_session=True,
            preexec_fn=dies_with_us(),  # noqa: PLW1509 one system call, no locks: safe even with threads
        )

    def begin(self, name: str, arguments: Sequence[str], told: Mapping[str, str], log: Path, complaints: Path | None = None) -> Child:
        """Start what `python -m churnsignal_{name}` would, or the function after a colon in `name`; it writes to `log`, and its errors to `complaints` if given."""
        own = environment(told) | self._outer
        pid = self.ask(module=f"churnsignal_{name}", arguments=list(arguments), environment=own, out=str(log), err=str(complaints or log))
        return Child(self, pid, [name, *arguments])

    def run(
        self, name: str, arguments: Sequence[str], told: Mapping[str, str], patience_s: float = COMMAND_PATIENCE_S
    ) -> tuple[int, str, str]:
        """Run a command to its end; return its exit code, what it printed, and its complaints."""
        with tempfile.TemporaryDirectory(prefix="churnsignal-run-") as where:
            said, complaints = Path(where) / "out", Path(where) / "err"
            child = self.begin(name, arguments, told, said, complaints)
            try:
                return child.wait(patience_s), said.read_text(), complaints.read_text()
            finally:
                child.kill()
                child.wait()

    def ask(self, **question: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it, and with it every child that is left."""
        self._process.kill()
        self._process.communicate()


@functools.cache
def nursery() -> Nursery:
    """Return the nursery of this test run's worker."""
    made = Nursery()
    atexit.register(made.close)
    return made


@functools.cache
def _loaded(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    if spec.submodule_search_locations is None:
        return importlib.import_module(name)
    # A command line loads the service, or what else it does, only when it is asked for it.
    importlib.import_module("churnsignal_common.runtime.cli")
    importlib.import_module(f"{name}.app")
    command = importlib.import_module(f"{name}.__main__")
    for place in command.OTHERS.values():
        resolve_name(place)
    return command


def _live(command: Callable[[], None], asked: dict[str, Any]) -> int:
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    os.chdir(Path(asked["out"]).parent)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
    # The crash point of this life is read from the environment, as at a start.
    importlib.reload(crash)
    sys.argv = [asked["module"], *asked["arguments"]]
    try:
        command()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def _begin(asked: dict[str, Any]) -> int:
    module, _, function = asked["module"].partition(":")
    loaded = _loaded(module)
    bound = dies_with_us()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            bound()
            os.setsid()
            code = _live(getattr(loaded, function or "main"), asked)
        except BaseException:  # noqa: BLE001 as at the top of any program
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return child


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "ended" in asked:
            _, status = os.waitpid(asked["ended"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = _begin(asked)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
