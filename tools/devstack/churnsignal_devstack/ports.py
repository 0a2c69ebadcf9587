"""Door. TCP ports of this machine."""

import socket

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


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
