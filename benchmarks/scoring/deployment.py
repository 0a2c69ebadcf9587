"""Door. One scoring process on a database and topics of its own, what it has done, and traffic for it at a steady pace."""

import asyncio
import os
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

from churnsignal_devstack.postgres import psql
from churnsignal_devstack.services import ServiceProcess, command, free_port_base, run_once

from benchmarks.scoring.load import calls, put, sender

PARTITIONS = 8
PIECES = 50
"""Pieces a second in which traffic comes."""
FRESH = 10_000_000
READ = "SELECT coalesce(sum(next_offset - first_offset), 0) FROM scoring.v_positions"


class Deployment:
    """Scoring on a database and topics of its own, started when asked to."""

    def __init__(self, database_url: str, broker: str, folder: Path, told: dict[str, str] | None = None) -> None:
        name = f"bench_{uuid.uuid4().hex[:8]}"
        psql(database_url, f"CREATE DATABASE {name}")
        self.url = f"{database_url.rsplit('/', 1)[0]}/{name}"
        self.broker = broker
        self.prefix = f"{name}."
        self._told = {
            "DATABASE_URL": self.url,
            "KAFKA_BOOTSTRAP_SERVERS": broker,
            "CHURNSIGNAL_TOPIC_PREFIX": self.prefix,
            "CHURNSIGNAL_PARTITIONS": str(PARTITIONS),
            "CHURNSIGNAL_PORT_BASE": str(free_port_base()),
            "CHURNSIGNAL_HOST": "127.0.0.1",
            "CHURNSIGNAL_SIGNING_KEYS": "bench",
            **(told or {}),
        }
        run_once([*command("common.kafka.topics_cli"), "apply"], self._told)
        run_once(command("scoring", "migrate"), self._told)
        self.process = ServiceProcess("scoring", self._told, folder / f"{name}.log")

    def read(self) -> int:
        return int(psql(self.url, READ))

    def cpu_s(self) -> float:
        """Return the CPU seconds that the process has used."""
        assert self.process.child is not None
        fields = Path(f"/proc/{self.process.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def drain(self, count: int, patience_s: float = 600) -> tuple[float, float]:
        """Read on until `count` calls are read, started or not, and return events per CPU second and per second since the first transaction."""
        before = self.read()
        if not self.process.is_alive():
            self.process.launch()
        end, first = time.monotonic() + patience_s, None
        while (read := self.read()) < count:
            if first is None and read > before:
                first = read, self.cpu_s(), time.monotonic()
            if not self.process.is_alive() or time.monotonic() > end:
                raise RuntimeError(f"scoring read {read} of {count}: see {self.process.log}\n{self.process.log.read_text()[-2000:]}")
            time.sleep(0.05)
        assert first is not None, "more than one transaction"
        events = count - first[0]
        return events / (self.cpu_s() - first[1]), events / (time.monotonic() - first[2])

    def latency(self) -> dict[float, float]:
        """Return how many records were committed within each bound of the histogram of event to score."""
        with urllib.request.urlopen(f"{self.process.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        mark = "churnsignal_scoring_event_to_score_seconds_bucket"
        return {float(line.split('le="')[1].split('"')[0]): float(line.split()[-1]) for line in lines if line.startswith(mark)}


def p99_ms(before: dict[float, float], after: dict[float, float]) -> float:
    """Return the 99th percentile of what came between two looks at a histogram, linear within its bucket."""
    counts = {bound: after[bound] - before[bound] for bound in sorted(after)}
    rank, below, lower = 0.99 * max(counts.values()), 0.0, 0.0
    for bound, count in counts.items():
        if count >= rank:
            return 1000 * (lower + (bound - lower) * (rank - below) / max(1.0, count - below))
        below, lower = count, bound
    raise ValueError("nothing was measured")


class Traffic:
    """Calls of these accounts at a steady pace for some seconds, sent by a thread of their own; they are made beforehand."""

    def __init__(self, deployment: Deployment, per_s: int, pick: Callable[[], int], seconds: int) -> None:
        self._deployment = deployment
        size = max(1, per_s // PIECES)
        self._ready = [calls(size, pick, PARTITIONS, FRESH + number * size) for number in range(PIECES * seconds)]
        self._size = size
        self._sent_at: list[float] = []
        self._stopped = False
        self._before = deployment.read()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()), daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Wait until all is sent."""
        self._thread.join()

    def stop(self) -> None:
        """Send no more."""
        self._stopped = True
        self._thread.join()

    @property
    def begun(self) -> bool:
        return bool(self._sent_at)

    def lag_s(self) -> float:
        """Return how long the oldest call that is not committed has waited."""
        sent = list(self._sent_at)
        place = (self._deployment.read() - self._before) // self._size
        return time.monotonic() - sent[place] if place < len(sent) else 0.0

    async def _send(self) -> None:
        async with sender(self._deployment.broker) as producer:
            begun = time.monotonic()
            for number, lanes in enumerate(self._ready):
                if self._stopped:
                    return
                await put(producer, self._deployment.prefix, lanes)
                self._sent_at.append(time.monotonic())
                await asyncio.sleep(max(0.0, begun + (number + 1) / PIECES - time.monotonic()))
