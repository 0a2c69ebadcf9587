"""Door. Programs under load: ingest with everything on, started on a Kafka and Postgres of its own, and how much they use."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from churnsignal_devstack.backing import passing
from churnsignal_devstack.postgres import Durability
from churnsignal_devstack.services import ServiceProcess, command, free_port_base, run_once

TICKS = os.sysconf("SC_CLK_TCK")


class Contender:
    """One running program."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid, self.port = pid, port

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mb(self) -> float:
        return int(Path(f"/proc/{self.pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024

    def measure(self, size: int, seconds: float, key: str) -> dict[str, float]:
        """Return what one stretch of load showed."""
        before = self.cpu_s()
        argv = [sys.executable, "-m", "benchmarks.ingest.load", str(self.port), str(size), str(seconds), key]
        seen = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout)
        used = self.cpu_s() - before
        if seen["bad"] or not seen["requests"]:
            raise RuntimeError(f"{seen['bad']} requests failed and {seen['requests']} succeeded on port {self.port}")
        events = seen["requests"] * size
        return {
            "events_per_cpu_s": events / used,
            "events_per_s": events / seen["seconds"],
            "p99_ms": seen["p99_ms"],
            "cpu_share": used / seen["seconds"],
            "rss_mb": self.rss_mb(),
        }


@contextlib.contextmanager
def ours(folder: Path, prefix: str) -> Iterator[tuple[Contender, str, dict[str, str]]]:
    """Yield ingest as in production but for its rate limits, which are on and out of reach; a write key; and its environment."""
    with passing(Durability(), os.environ) as backing:
        told = backing.env() | {
            "CHURNSIGNAL_TOPIC_PREFIX": prefix,
            "CHURNSIGNAL_PARTITIONS": "8",
            "CHURNSIGNAL_PORT_BASE": str(free_port_base()),
            "CHURNSIGNAL_HOST": "127.0.0.1",
            "CHURNSIGNAL_SIGNING_KEYS": "a-key-for-benchmarks",
            "CHURNSIGNAL_SOURCE_RATE": "1e9",
            "CHURNSIGNAL_SOURCE_BURST": "1e9",
        }
        run_once([*command("common.kafka.topics_cli"), "apply"], told)
        run_once(command("ingest", "migrate"), told)
        key = json.loads(run_once(command("ingest", "keys", "create", "--source", "bench", "--json"), told))["write_key"]
        process = ServiceProcess("ingest", told, folder / "ingest.log")
        process.start()
        assert process.child is not None
        yield Contender(process.child.pid, process.port), key, told
