"""Pure. Whether another request may come in: bytes in hand against a ceiling, and whether Kafka is known to be away."""

from collections.abc import Callable
from typing import Protocol

from churnsignal_common.runtime.health import Dependency

from churnsignal_ingest.validate.reasons import Problem, RequestProblem

# Who takes longer over a body has a slow line, which is welcome while there is room, or means to fill the room.
PATIENCE_S = 2.0


class Reader(Protocol):
    """A body that is coming in in pieces."""

    def give_up(self) -> None:
        """Let go of the bytes at once."""


class Gate:
    """The one count of bytes between a client's socket and Kafka's ack. Turning away costs milliseconds and no memory.

    `readers` are the bodies that come in in pieces, and since when, the longest first: they go when others need the room.
    """

    def __init__(self, ceiling_bytes: int, kafka: Dependency, monotonic: Callable[[], float]) -> None:
        self.ceiling_bytes = ceiling_bytes
        self.in_hand = 0
        self.readers: dict[Reader, float] = {}
        self.kafka = kafka
        self._monotonic = monotonic

    def check(self, size: int = 0) -> None:
        """Raise RequestProblem when `size` more bytes must not come in now."""
        if not self.kafka.ok:
            raise RequestProblem(Problem.KAFKA_AWAY)
        if self.in_hand + size > self.ceiling_bytes and not self._makes_room(size):
            raise RequestProblem(Problem.BUSY)

    def enter(self, reader: Reader) -> None:
        self.readers[reader] = self._monotonic()

    def leave(self, reader: Reader) -> None:
        self.readers.pop(reader, None)

    def _makes_room(self, size: int) -> bool:
        too_long = self._monotonic() - PATIENCE_S
        while self.in_hand + size > self.ceiling_bytes:
            longest, since = next(iter(self.readers.items()), (None, 0.0))
            if longest is None or since > too_long:
                return False
            self.leave(longest)
            longest.give_up()
        return True
