"""Door. Crash points: in development, `CHURNSIGNAL_CRASH_AT=name:n` kills the process at the n-th pass of the point `name`."""

import os

_TARGET = os.environ.get("CHURNSIGNAL_CRASH_AT", "") if os.environ.get("CHURNSIGNAL_ENV") == "dev" else ""
_NAME, _, _COUNT = _TARGET.partition(":")
_left = int(_COUNT or 1)

POINTS: set[str] = set()


def declare(*names: str) -> None:
    """Register the names of a loop's steps, so that a test can kill at each of them."""
    POINTS.update(names)


def point(name: str) -> None:
    """Die here, as by SIGKILL, when the environment asks for it; otherwise do nothing."""
    global _left  # noqa: PLW0603 one counter for the process, as there is one process to kill
    if name != _NAME:
        return
    _left -= 1
    if _left <= 0:
        os._exit(137)
