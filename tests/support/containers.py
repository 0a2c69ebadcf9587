"""Door. The same stack from official container images, where a container engine has them (`STACK=containers`)."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

# testcontainers reads it at import. Ryuk is one more image to pull, and our own `with` cleans up.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from churnsignal_devstack import ports
from churnsignal_devstack.kafka import answers_clients
from churnsignal_devstack.postgres import psql
from churnsignal_devstack.problems import StackProblem
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from tests.support.stack import Stack

POSTGRES_IMAGE = "postgres:18"
KAFKA_IMAGE = "apache/kafka:4.3.1"
PATIENCE_S = 60


class Container:
    """A server in a container, with the same handles as our own."""

    def __init__(self, container: DockerContainer, ready: Callable[[], bool]) -> None:
        self._inner = container.get_wrapped_container()
        self._ready = ready

    def launch(self) -> None:
        self._inner.start()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self._ready():
            if time.monotonic() > deadline:
                raise StackProblem(f"{self._inner.name} was not ready after {PATIENCE_S} s.")
            time.sleep(0.1)

    def stop(self) -> None:
        self._inner.stop()

    def kill(self) -> None:
        self._inner.kill()

    def freeze(self) -> None:
        self._inner.pause()

    def thaw(self) -> None:
        self._inner.unpause()

    def restart_immediately(self) -> None:
        self._inner.kill(signal="SIGQUIT")
        self._inner.wait()
        self.launch()
        self.wait_ready()


def _takes_queries(url: str) -> bool:
    try:
        return psql(url, "SELECT 1") == "1"
    except StackProblem:
        return False


def _postgres(port: int) -> DockerContainer:
    container = DockerContainer(POSTGRES_IMAGE).with_bind_ports(5432, port)
    container.with_env("POSTGRES_PASSWORD", "test").with_env("POSTGRES_DB", "churnsignal").with_command(
        "-c fsync=off -c max_connections=200"
    )
    return container


def _kafka(port: int) -> DockerContainer:
    settings = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        # A broker tells clients where to connect, so the host's port must be known before it starts.
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{ports.LOOPBACK}:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "KAFKA_BROKER_SESSION_TIMEOUT_MS": "3000",
        "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "500",
    }
    container = DockerContainer(KAFKA_IMAGE).with_bind_ports(9092, port)
    for name, value in settings.items():
        container.with_env(name, value)
    return container.waiting_for(LogMessageWaitStrategy("Kafka Server started"))


@contextlib.contextmanager
def open_containers() -> Iterator[Stack]:
    """Yield a stack of two containers, removed afterwards."""
    postgres_port, kafka_port = ports.free_port(), ports.free_port()
    url = f"postgresql://postgres:test@{ports.LOOPBACK}:{postgres_port}/churnsignal"
    with _postgres(postgres_port) as postgres, _kafka(kafka_port) as kafka:
        database = Container(postgres, lambda: _takes_queries(url))
        broker = Container(kafka, lambda: answers_clients(kafka_port))
        database.wait_ready()
        broker.wait_ready()
        yield Stack(url, f"{ports.LOOPBACK}:{kafka_port}", (database, broker))
