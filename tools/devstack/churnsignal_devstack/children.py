"""Door. Child processes that cannot outlive us."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from churnsignal_devstack.places import Account
from churnsignal_devstack.problems import StackProblem, of_os_error

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Order:
    """What to run. `parting` is sent to the child by the kernel when we die, however we die."""

    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    cwd: Path
    account: Account | None = None
    parting: signal.Signals = signal.SIGKILL


def dies_with_us(parting: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """Return what a child calls before its program starts, so that the kernel sends it `parting` when we die."""
    parent = os.getpid()
    number = int(parting)

    def before_exec() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, number)
        # The parent may have died between fork and prctl: then nobody would ever tell us.
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def start(order: Order) -> subprocess.Popen[bytes]:
    """Start a child in its own session. Only the main thread may: the kernel sends `parting` when the starting *thread* ends."""
    who = {} if order.account is None else {"user": order.account.uid, "group": order.account.gid, "extra_groups": []}
    try:
        with order.log.open("ab") as log:
            return subprocess.Popen(  # type: ignore[call-overload, no-any-return]  # `who` is dropped from the overloads
                list(order.argv),
                env=dict(order.env),
                cwd=order.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dies_with_us(order.parting),  # noqa: PLW1509 two system calls, no locks: safe even with threads
                **who,
            )
    except OSError as error:
        raise of_os_error(error, f"starting {Path(order.argv[0]).name}") from error


def run(order: Order) -> int:
    """Run a child to its end and return its code; interrupted, it and everything below it end too."""
    child = start(order)
    try:
        return child.wait()
    except BaseException:
        kill_tree(child.pid)
        child.wait()
        raise


def stop(child: subprocess.Popen[bytes], how: signal.Signals, patience_s: float) -> None:
    """End a child: politely, then not."""
    if child.poll() is not None:
        return
    child.send_signal(how)
    child.send_signal(signal.SIGCONT)
    try:
        child.wait(patience_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and everything below it."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill_tree(pid: int) -> None:
    """Kill a process and everything below it at once, as a power cut would."""
    signal_tree(pid, signal.SIGKILL)


def signal_tree(pid: int, what: signal.Signals) -> None:
    """Send a signal to a process and everything below it."""
    for process in tree(pid):
        try:
            process.send_signal(what)
        except psutil.NoSuchProcess:
            continue


def tail(log: Path, lines: int = 12) -> str:
    """Return the last lines of a log, for a person."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def await_ready(child: subprocess.Popen[bytes], name: str, ready: Callable[[], bool], log: Path, patience_s: float) -> None:
    """Wait until `ready()` is true; a child that ends first, or takes too long, is a problem with its log's last lines."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise StackProblem(f"{name} ended at once (code {child.returncode}). Its last words, from {log}:\n{tail(log)}")
        if ready():
            return
        time.sleep(0.05)
    raise StackProblem(f"{name} was not ready after {patience_s:.0f} s. Its last words, from {log}:\n{tail(log)}")
