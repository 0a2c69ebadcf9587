"""Root. `python -m churnsignal_devstack.sweeper DIR`: waits for its parent to die, however it dies, and removes the parent's temporary directory."""

import subprocess
import sys
import time
from pathlib import Path

from churnsignal_devstack import places

ATTEMPTS = 40


def post(directory: Path) -> subprocess.Popen[bytes]:
    """Start a sweeper for `directory`. It ends when our side of its pipe closes, which the kernel does for the dead."""
    argv = [sys.executable, "-m", "churnsignal_devstack.sweeper", str(directory)]
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/"
    )


def sweep(directory: Path) -> None:
    """Remove `directory`, again until its dying users have stopped writing into it."""
    for _ in range(ATTEMPTS):
        for room in directory.glob("*"):
            if room.is_symlink():
                places.clear(room)
        places.clear(directory)
        if not directory.exists():
            return
        time.sleep(0.25)


def main() -> None:
    sys.stdin.buffer.read()
    sweep(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
