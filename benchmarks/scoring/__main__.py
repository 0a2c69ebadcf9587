"""Root. What scoring costs: CPU per event beside Quix Streams and Faust, and with very many accounts; its latency, its bytes on disk and in memory.

Each round handles the same prefilled topics by each side in turn. CPU counts from the first transaction on (ours) or as the difference
of a small and a large topic (peers), so that what starting costs is left out. Ours includes Postgres and exactly-once effects; the peers have neither.
`ROUNDS` (3), `EVENTS` (300000), `ACCOUNTS` (1000), `MANY` (1000000 accounts; 0 leaves that part out) and `RESIDENTS` (100000) may be set.
"""

import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from churnsignal_common.mapping.mapper import Mapper
from churnsignal_devstack.backing import passing
from churnsignal_devstack.postgres import Durability, psql
from churnsignal_devstack.services import ServiceProcess, command, free_port_base, run_once
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.days import open_zone
from churnsignal_scoring.policy import load_mapping, load_scorecard

from benchmarks.results import write
from benchmarks.scoring import peer
from benchmarks.scoring.load import calls, fill, put, sender, skewed, uniform
from benchmarks.scoring.world import lived, populate

ROUNDS = int(os.environ.get("ROUNDS", "3"))
EVENTS = int(os.environ.get("EVENTS", "300000"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "1000"))
MANY = int(os.environ.get("MANY", "1000000"))
RESIDENTS = int(os.environ.get("RESIDENTS", "100000"))
SMALL = 20_000
PARTITIONS = 8
STEADY_S = 10
FRESH = 10_000_000
PEERS = {"quix": 1.0, "faust": 0.2}
"""The peers, and which share of the events each gets: what takes very long says the same with fewer."""
READ = "SELECT coalesce(sum(next_offset - first_offset), 0) FROM scoring.v_positions"
KEPT = "SELECT sum(count) FROM scoring.v_outcomes WHERE outcome = 'applied'"
SIZE = """SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'scoring' AND c.relkind = 'r'"""
ACCOUNT_DAY = "SELECT pg_total_relation_size('scoring.day_counts') / greatest(1, count(*)) FROM scoring.day_counts"


class Deployment:
    """Scoring on a database and topics of its own, started when asked to."""

    def __init__(self, database_url: str, broker: str, folder: Path) -> None:
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
        """Start, read `count` calls, and return events per CPU second and per second since the first transaction."""
        self.process.launch()
        end, first = time.monotonic() + patience_s, None
        while (read := self.read()) < count:
            if first is None and read:
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


class Bench:
    """One Postgres, one Kafka, and what was measured so far."""

    def __init__(self, database_url: str, broker: str, folder: Path) -> None:
        self._where = (database_url, broker, folder)
        self.figures: dict[str, float] = {}

    def few_accounts(self, *, last: bool) -> dict[str, float]:
        """Let each side handle the same calls of few accounts, ours first; the last time look closer at ours."""
        large, small = Deployment(*self._where), Deployment(*self._where)
        for deployment, count in ((large, SMALL + EVENTS), (small, SMALL)):
            asyncio.run(fill(deployment.broker, deployment.prefix, count, uniform(ACCOUNTS, count), PARTITIONS))
        ours, rate = large.drain(SMALL + EVENTS)
        if int(psql(large.url, KEPT)) != SMALL + EVENTS:
            raise RuntimeError("not every call was applied")
        large.process.stop()
        row = {"ours_events_per_cpu_s": ours, "ours_committed_per_s": rate}
        for name, share in PEERS.items():
            row[f"{name}_events_per_cpu_s"] = self._peer(name, int(EVENTS * share), small, large)
        if last:
            self._look_closer(large, rate)
        return row

    def _peer(self, name: str, events: int, small: Deployment, large: Deployment) -> float:
        def cpu(deployment: Deployment, count: int) -> float:
            topic, group = f"{deployment.prefix}usage.events.v1", f"{name}-{uuid.uuid4().hex[:8]}"
            return peer.cpu_seconds(name, deployment.broker, topic, group, count)

        return events / (cpu(large, SMALL + events) - cpu(small, SMALL))

    def _look_closer(self, deployment: Deployment, rate: float) -> None:
        self.figures["state_bytes_per_account_day"] = float(psql(deployment.url, ACCOUNT_DAY))
        self.figures["all_bytes_per_million_events"] = float(psql(deployment.url, SIZE)) * 1e6 / (SMALL + EVENTS)
        load = int(rate / 5)
        self.figures["steady_events_per_s"] = float(load)
        deployment.process.start()
        before, pieces = deployment.latency(), 50
        ready = [calls(load // pieces, uniform(ACCOUNTS, piece), PARTITIONS, FRESH * (piece + 1)) for piece in range(pieces * STEADY_S)]
        begun = time.monotonic()

        async def steady() -> None:
            async with sender(deployment.broker) as producer:
                for number, lanes in enumerate(ready):
                    await put(producer, deployment.prefix, lanes)
                    await asyncio.sleep(max(0.0, begun + (number + 1) / pieces - time.monotonic()))

        asyncio.run(steady())
        self.figures["event_to_score_p99_ms"] = p99_ms(before, deployment.latency())

    def many_accounts(self) -> float:
        """Return the events per CPU second when the calls are of very many accounts, a few of them far busier than the rest."""
        deployment = Deployment(*self._where)
        engine, now = AccountEngine(Mapper(load_mapping(None)), load_scorecard(None), open_zone("UTC")), datetime.now(UTC)
        template = lived(engine, "account-0", now - timedelta(days=6), days=5, users=2, chance=random.Random(1))
        names = [f"account-{number}" for number in range(MANY)]
        populate(deployment.url, template, names, PARTITIONS, engine.zone.day_of(now) - 1)
        asyncio.run(fill(deployment.broker, deployment.prefix, SMALL + EVENTS, skewed(MANY, 1), PARTITIONS))
        rate, _ = deployment.drain(SMALL + EVENTS)
        deployment.process.stop()
        return rate


def main() -> None:
    """Measure in turn, write the result."""
    for name in PEERS:
        peer.interpreter(name)
    with passing(Durability(fsync=True), os.environ) as backing, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(backing.database_url, backing.bootstrap, Path(folder))
        rows = [bench.few_accounts(last=number == ROUNDS - 1) for number in range(ROUNDS)]
        ours = statistics.median(row["ours_events_per_cpu_s"] for row in rows)
        ratios = {
            f"vs_{name}": statistics.median(row["ours_events_per_cpu_s"] / row[f"{name}_events_per_cpu_s"] for row in rows)
            for name in PEERS
        }
        if MANY:
            bench.figures["many_accounts_events_per_cpu_s"] = bench.many_accounts()
            ratios["cpu_per_event_of_many_accounts"] = ours / bench.figures["many_accounts_events_per_cpu_s"]
        memory = subprocess.run(
            [sys.executable, "-m", "benchmarks.scoring.memory", str(RESIDENTS)], capture_output=True, text=True, check=True
        )
        bench.figures |= {"bytes_per_resident": float(memory.stdout), "accounts": float(ACCOUNTS), "events": float(EVENTS)}
    write("scoring", rounds=ROUNDS, ratios=ratios, figures=bench.figures, rows=[dict(row) for row in rows])


if __name__ == "__main__":
    main()
