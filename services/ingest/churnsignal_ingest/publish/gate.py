"""Pure. Whether another request may come in: bytes in hand against a ceiling, and whether Kafka is known to be away."""

from churnsignal_common.runtime.health import Dependency

from churnsignal_ingest.validate.reasons import Problem, RequestProblem


class Gate:
    """The one count of bytes between a client's socket and Kafka's ack. Turning away costs milliseconds and no memory."""

    def __init__(self, ceiling_bytes: int, kafka: Dependency) -> None:
        self.ceiling_bytes = ceiling_bytes
        self.in_hand = 0
        self._kafka = kafka

    def check(self, size: int = 0) -> None:
        """Raise RequestProblem when `size` more bytes must not come in now."""
        if not self._kafka.ok:
            raise RequestProblem(Problem.KAFKA_AWAY)
        if self.in_hand + size > self.ceiling_bytes:
            raise RequestProblem(Problem.BUSY)

    def kafka_away(self, reason: str) -> None:
        self._kafka.down(reason)

    def kafka_back(self) -> None:
        self._kafka.up()
