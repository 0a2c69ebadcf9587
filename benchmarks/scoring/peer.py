"""Door. The peers' own environments, from hash-pinned requirements, kept in the cache; and one run of one of them."""

import hashlib
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from churnsignal_devstack.places import cache_dir

HERE = Path(__file__).parent
PATIENCE_S = "300"


def interpreter(name: str) -> Path:
    """Return the Python of peer `name`; the first call on a machine installs it."""
    pins = HERE / f"{name}-requirements.txt"
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_dir() / f"{name}-{digest}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), "--require-hashes", "-r", str(pins)], check=True)
        (folder / "complete").touch()
    return python


def cpu_seconds(name: str, broker: str, topic: str, group: str, count: int) -> float:
    """Return the CPU time of a process of the peer that handles `count` records and ends."""
    _, used = run(name, [str(interpreter(name)), str(HERE / f"{name}_app.py")], broker, topic, group, count)
    return used.ru_utime + used.ru_stime


def run(
    name: str, program: list[str], broker: str, topic: str, group: str, count: int, *more: int
) -> tuple[list[str], resource.struct_rusage]:
    """Return what the peer's program printed, whose last word is how many records it handled, and what its process used."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as state:
        child = subprocess.Popen(
            ["timeout", "-k", "5", PATIENCE_S, *program, broker, topic, group, state, str(count), *map(str, more)],
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(HERE.parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert child.stdout is not None
        with child.stdout:
            printed = child.stdout.read().split()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode or printed[-1:] != [str(count)]:
        raise RuntimeError(f"{name} ended with {child.returncode} after {printed[-1:]} of {count} records")
    return printed, used
