"""Door. TCP ports of this machine."""

import os
import socket
from itertools import count

LOOPBACK = "127.0.0.1"
# Below the kernel's own range: a port from there may be taken by an outgoing connection before its server starts.
_LOWEST, _ROOM = 15_000, 16_000
_tried = count()


def free_port(neighbours: int = 0) -> int:
    """Return a port that, with as many `neighbours` above it, nobody holds now. Processes start looking in places of their own."""
    for _ in range(_ROOM // 10):
        port = _LOWEST + (os.getpid() * 7919 + next(_tried) * 10) % _ROOM
        if not any(is_taken(port + offset) for offset in range(neighbours + 1)):
            return port
    raise OSError(f"no {neighbours + 1} neighbouring free ports between {_LOWEST} and {_LOWEST + _ROOM}: end what holds them")


def is_taken(port: int) -> bool:
    """Say whether something else holds `port`."""
    try:
        with socket.create_server((LOOPBACK, port)):
            return False
    except OSError:
        return True


def answers(port: int) -> bool:
    """Say whether something accepts connections on `port`."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
