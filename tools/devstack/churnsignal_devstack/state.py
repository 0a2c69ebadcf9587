"""Door. What a running stack leaves on disk under `.devstack/`, so that `down`, `status` and the next `up` know about it."""

import fcntl
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from churnsignal_devstack.problems import StackProblem, of_os_error


def default_dir() -> Path:
    """Return `.devstack` of the checkout that this package is installed from, or of the current directory."""
    if own := os.environ.get("CHURNSIGNAL_DEVSTACK_DIR"):
        return Path(own).resolve()
    checkout = Path(__file__).resolve().parents[3]
    return (checkout if (checkout / "requirements.lock").exists() else Path.cwd()) / ".devstack"


@dataclass(frozen=True, slots=True)
class Mark:
    """A process, told from a later one that got the same number by when it started."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> "Mark":
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return cls(pid, 0.0)

    def find(self) -> psutil.Process | None:
        """Return the process if it still lives."""
        try:
            found = psutil.Process(self.pid)
            return found if found.create_time() == self.created else None
        except psutil.NoSuchProcess:
            return None


class State:
    """The files in one state directory."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self._lock: IO[str] | None = None

    def prepare(self) -> None:
        """Make the directory."""
        try:
            self.where.mkdir(parents=True, exist_ok=True)
            (self.where / "logs").mkdir(exist_ok=True)
        except OSError as error:
            raise of_os_error(error, f"making {self.where}") from error

    def take(self) -> None:
        """Become the one supervisor of this directory. The kernel gives the lock back when we die."""
        self.prepare()
        lock = (self.where / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StackProblem(
                "A stack already runs here: see `churnsignal-devstack status --json`, end it by `churnsignal-devstack down`."
            ) from None
        self._lock = lock

    def release(self) -> None:
        """Stop being the supervisor."""
        for name in ("record.json", "status.json"):
            (self.where / name).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def is_taken(self) -> bool:
        """Say whether a supervisor lives."""
        if not (self.where / "lock").exists():
            return False
        with (self.where / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def write(self, name: str, value: Any) -> None:
        """Replace a file atomically; it is for our user only, because some hold keys."""
        fresh = self.where / f"{name}.{os.getpid()}.tmp"
        try:
            with open(fresh, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                json.dump(value, file, indent=1)
            fresh.replace(self.where / name)
        except OSError as error:
            raise of_os_error(error, f"writing {self.where / name}") from error

    def read(self, name: str) -> Any:
        """Return what a file says, or None."""
        try:
            return json.loads((self.where / name).read_text())
        except (OSError, ValueError):
            return None

    def secret(self, name: str) -> str:
        """Return a random secret that stays the same as long as the directory lives."""
        known = self.read("secrets.json") or {}
        if name not in known:
            known[name] = secrets.token_urlsafe(24)
            self.write("secrets.json", known)
        return str(known[name])

    def record(self, children: list[int]) -> None:
        """Note who belongs to this run."""
        me, others = Mark.of(os.getpid()), [Mark.of(pid) for pid in children]
        rows = [{"pid": mark.pid, "created": mark.created} for mark in (me, *others)]
        self.write("record.json", {"supervisor": rows[0], "children": rows[1:]})

    def supervisor(self) -> psutil.Process | None:
        """Return the supervisor's process if it lives."""
        record = self.read("record.json")
        return Mark(**record["supervisor"]).find() if record else None

    def clean_stale(self) -> int:
        """Kill what a dead supervisor left running and return how many there were. Call it with the lock taken."""
        record = self.read("record.json") or {"children": []}
        left = [found for row in record["children"] if (found := Mark(**row).find())]
        for process in left:
            for one in (*process.children(recursive=True), process):
                _kill(one)
        psutil.wait_procs(left, timeout=10)
        for name in ("record.json", "status.json"):
            (self.where / name).unlink(missing_ok=True)
        return len(left)

    def await_release(self, patience_s: float) -> bool:
        """Wait until no supervisor lives."""
        deadline = time.monotonic() + patience_s
        while self.is_taken():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
