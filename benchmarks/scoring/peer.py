"""Door. The peer's own environment, from hash-pinned requirements, kept in the cache; and one run of it."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from churnsignal_devstack.places import cache_dir

HERE = Path(__file__).parent
PINS = HERE / "quix-requirements.txt"


def interpreter() -> Path:
    """Return the peer's Python; the first call on a machine installs it."""
    digest = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_dir() / f"quix-{digest}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), "--require-hashes", "-r", str(PINS)], check=True)
        (folder / "complete").touch()
    return python


def cpu_seconds(broker: str, topic: str, group: str, count: int) -> float:
    """Return the CPU time of a process of the peer that handles `count` records and ends."""
    with tempfile.TemporaryDirectory(prefix="quix-") as state:
        child = subprocess.Popen(
            [str(interpreter()), str(HERE / "quix_app.py"), broker, topic, group, state],
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert child.stdout is not None
        with child.stdout:
            handled = child.stdout.read().split()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode or handled[-1:] != [str(count)]:
        raise RuntimeError(f"the peer ended with {child.returncode} after {handled[-1:]} of {count} records")
    return used.ru_utime + used.ru_stime
