"""Root. CPU per event of scoring (with Postgres, exactly once) and of Quix Streams with state, in turn on the same topics.

Each side handles a small and a large topic in processes of its own; the difference leaves out what starting costs.
`ROUNDS` (3), `EVENTS` (300000) and `ACCOUNTS` (1000) may be set.
"""

import asyncio
import os
import signal
import statistics
import tempfile
import time
import uuid
from pathlib import Path

from churnsignal_devstack.backing import passing
from churnsignal_devstack.postgres import Durability, psql
from churnsignal_devstack.services import ServiceProcess, command, free_port_base, run_once

from benchmarks.results import write
from benchmarks.scoring import peer
from benchmarks.scoring.load import fill

ROUNDS = int(os.environ.get("ROUNDS", "3"))
EVENTS = int(os.environ.get("EVENTS", "300000"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "1000"))
SMALL = 20_000
PARTITIONS = 8
READ = "SELECT coalesce(sum(next_offset - first_offset), 0) FROM scoring.v_positions"
KEPT = "SELECT sum(count) FROM scoring.v_outcomes WHERE outcome = 'applied'"


class Bench:
    """One Postgres, one Kafka, two prefilled topics."""

    def __init__(self, database_url: str, broker: str, folder: Path) -> None:
        self._database_url = database_url
        self.broker = broker
        self._folder = folder

    def told(self, url: str, prefix: str) -> dict[str, str]:
        return {
            "DATABASE_URL": url,
            "KAFKA_BOOTSTRAP_SERVERS": self.broker,
            "CHURNSIGNAL_TOPIC_PREFIX": prefix,
            "CHURNSIGNAL_PARTITIONS": str(PARTITIONS),
            "CHURNSIGNAL_PORT_BASE": str(free_port_base()),
            "CHURNSIGNAL_HOST": "127.0.0.1",
            "CHURNSIGNAL_SIGNING_KEYS": "bench",
        }

    def ours(self, prefix: str, count: int) -> tuple[float, float]:
        """Return CPU seconds of a scoring process that handles `count` calls, and how many a second it committed."""
        name = f"bench_{uuid.uuid4().hex[:8]}"
        psql(self._database_url, f"CREATE DATABASE {name}")
        url = f"{self._database_url.rsplit('/', 1)[0]}/{name}"
        told = self.told(url, prefix)
        run_once(command("scoring", "migrate"), told)
        process = ServiceProcess("scoring", told, self._folder / f"{name}.log")
        process.launch()
        assert process.child is not None
        begun, first = time.monotonic(), 0.0
        while (read := int(psql(url, READ))) < count:
            first = first or (time.monotonic() if read else 0.0)
            if process.child.poll() is not None or time.monotonic() - begun > 300:
                raise RuntimeError(f"scoring did not finish: see {process.log}\n{process.log.read_text()[-2000:]}")
            time.sleep(0.05)
        took = time.monotonic() - (first or begun)
        process.child.send_signal(signal.SIGTERM)
        _, status, used = os.wait4(process.child.pid, 0)
        process.child.returncode = os.waitstatus_to_exitcode(status)
        applied = int(psql(url, KEPT))
        if applied != count:
            raise RuntimeError(f"applied {applied} of {count}")
        psql(self._database_url, f"DROP DATABASE {name} WITH (FORCE)")
        return used.ru_utime + used.ru_stime, count / max(took, 1e-9)

    def quix(self, prefix: str, count: int) -> float:
        return peer.cpu_seconds(self.broker, f"{prefix}usage.events.v1", f"quix-{uuid.uuid4().hex[:8]}", count)


def main() -> None:
    """Fill, warm up, measure in turn, write the result."""
    peer.interpreter()
    large = SMALL + EVENTS
    with passing(Durability(fsync=True), os.environ) as backing, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(backing.database_url, backing.bootstrap, Path(folder))
        prefixes = {SMALL: f"s{uuid.uuid4().hex[:6]}.", large: f"l{uuid.uuid4().hex[:6]}."}
        for count, prefix in prefixes.items():
            run_once([*command("common.kafka.topics_cli"), "apply"], bench.told(backing.database_url, prefix))
            asyncio.run(fill(bench.broker, prefix, count, ACCOUNTS, PARTITIONS))
        rows = [_round(bench, prefixes, large) for _ in range(ROUNDS)]
    ours, theirs = ([row[side] for row in rows] for side in ("ours_events_per_cpu_s", "quix_events_per_cpu_s"))
    write(
        "scoring",
        rounds=ROUNDS,
        ratios={"vs_quix_state": statistics.median(a / b for a, b in zip(ours, theirs, strict=True))},
        figures={
            "ours_events_per_cpu_s": statistics.median(ours),
            "quix_state_events_per_cpu_s": statistics.median(theirs),
            "ours_committed_per_s": statistics.median(row["ours_committed_per_s"] for row in rows),
            "accounts": float(ACCOUNTS),
            "events": float(EVENTS),
        },
        rows=[dict(row) for row in rows],
    )


def _round(bench: Bench, prefixes: dict[int, str], large: int) -> dict[str, float]:
    few, _ = bench.ours(prefixes[SMALL], SMALL)
    their_few = bench.quix(prefixes[SMALL], SMALL)
    many, rate = bench.ours(prefixes[large], large)
    their_many = bench.quix(prefixes[large], large)
    return {
        "ours_events_per_cpu_s": EVENTS / (many - few),
        "quix_events_per_cpu_s": EVENTS / (their_many - their_few),
        "ours_committed_per_s": rate,
    }


if __name__ == "__main__":
    main()
