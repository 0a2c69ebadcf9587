"""Root. Three brokers that replicate to each other, of which a test may kill and restart any."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from churnsignal_devstack import ports, sweeper
from churnsignal_devstack.kafka import Kafka, Sizing

NODES = 3
# Every record on all three; a broker may be away, and two must have a record before it is acknowledged.
REPLICATION = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
}


def brokers_under(where: Path) -> list[Kafka]:
    """Return the brokers, not started."""
    clients = [ports.free_port() for _ in range(NODES)]
    controllers = [ports.free_port() for _ in range(NODES)]
    voters = ",".join(f"{node + 1}@{ports.LOOPBACK}:{port}" for node, port in enumerate(controllers))
    made = []
    for node, (client, controller) in enumerate(zip(clients, controllers, strict=True)):
        own = {
            "node.id": str(node + 1),
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{ports.LOOPBACK}:{client},CONTROLLER://{ports.LOOPBACK}:{controller}",
        }
        made.append(Kafka(where / f"kafka-{node + 1}", client, Sizing(extra=REPLICATION | own)))
    return made


@contextlib.contextmanager
def three_brokers() -> Iterator[list[Kafka]]:
    """Yield three brokers that serve clients, in a temporary directory of which nothing stays behind."""
    where = Path(tempfile.mkdtemp(prefix="churnsignal-brokers-"))
    with sweeper.post(where):
        brokers = brokers_under(where)
        try:
            for broker in brokers:
                broker.begin()
            for broker in brokers:
                broker.wait_ready()
            yield brokers
        finally:
            # All at once: alone, the last would wait for a quorum that does not come back.
            for broker in brokers:
                if broker.child is not None and broker.child.poll() is None:
                    broker.child.terminate()
            for broker in brokers:
                broker.stop()
            sweeper.sweep(where)
