"""Root. What scoring costs: CPU per event beside Quix Streams, Faust and Kafka Streams, and with very many accounts; its latency and bytes.

Each round handles the same prefilled topics by each side in turn. CPU counts from the first transaction on (ours), as the difference of
a small and a large topic (Quix, Faust), or in a warm JVM (Kafka Streams, where there is a `javac`), so that what starting costs is left out.
Ours includes Postgres and exactly-once effects; of the peers only Kafka Streams has the latter, within Kafka.
`ROUNDS` (3), `EVENTS` (300000), `ACCOUNTS` (1000), `MANY` (1000000 accounts; their CPU, and a start with nothing in memory), `CLOSING` (100000; a
day's close beside live calls) and `RESIDENTS` (100000) may be set; 0 leaves `MANY` or `CLOSING` out.
"""

import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from churnsignal_common.clock import ClockFile
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_devstack.backing import passing
from churnsignal_devstack.postgres import Durability, psql
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.days import open_zone
from churnsignal_scoring.policy import load_mapping, load_scorecard

from benchmarks.results import write
from benchmarks.scoring import peer, streams
from benchmarks.scoring.deployment import PARTITIONS, Deployment, Traffic, p99_ms
from benchmarks.scoring.load import fill, share_of_new, skewed, uniform
from benchmarks.scoring.world import lived, populate

ROUNDS = int(os.environ.get("ROUNDS", "3"))
EVENTS = int(os.environ.get("EVENTS", "300000"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "1000"))
MANY = int(os.environ.get("MANY", "1000000"))
RESIDENTS = int(os.environ.get("RESIDENTS", "100000"))
SMALL = 20_000
CLOSING = int(os.environ.get("CLOSING", "100000"))
DEFAULT_RATE = 20_000.0
WARM_S, STEADY_S, RESTART_S, CLOSE_S = 3, 10, 120, 180
PEERS = {"quix": ("vs_quix_state", 1.0), "faust": ("vs_faust", 0.2)}
"""The peers, what the ratio to each is called, and which share of the events each gets: what takes very long says the same with fewer."""
CLOSED = "SELECT count(*) FROM scoring.closes WHERE stage = 'done'"
KEPT = "SELECT sum(count) FROM scoring.v_outcomes WHERE outcome = 'applied'"
SIZE = """SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'scoring' AND c.relkind = 'r'"""
ACCOUNT_DAY = "SELECT pg_total_relation_size('scoring.day_counts') / greatest(1, count(*)) FROM scoring.day_counts"


class Bench:
    """One Postgres, one Kafka, and what was measured so far."""

    def __init__(self, database_url: str, broker: str, folder: Path) -> None:
        self._where = (database_url, broker, folder)
        self.figures: dict[str, float] = {}

    def few_accounts(self, *, last: bool) -> dict[str, Any]:
        """Let each side handle the same calls of few accounts, ours first; the last time look closer at ours."""
        large, small = Deployment(*self._where), Deployment(*self._where)
        for deployment, count in ((large, SMALL + EVENTS), (small, SMALL)):
            asyncio.run(fill(deployment.broker, deployment.prefix, count, uniform(ACCOUNTS, count), PARTITIONS))
        ours, rate = large.drain(SMALL + EVENTS)
        if int(psql(large.url, KEPT)) != SMALL + EVENTS:
            raise RuntimeError("not every call was applied")
        large.process.stop()
        row: dict[str, Any] = {"ours_events_per_cpu_s": ours, "ours_committed_per_s": rate}
        for name, (_, share) in PEERS.items():
            row[f"{name}_events_per_cpu_s"] = self._peer(name, int(EVENTS * share), small, large)
        row["streams_events_per_cpu_s"] = streams.missing() or self._streams(large)
        if last:
            self._look_closer(large, rate)
        return row

    def _peer(self, name: str, events: int, small: Deployment, large: Deployment) -> float:
        def cpu(deployment: Deployment, count: int) -> float:
            topic, group = f"{deployment.prefix}usage.events.v1", f"{name}-{uuid.uuid4().hex[:8]}"
            return peer.cpu_seconds(name, deployment.broker, topic, group, count)

        return events / (cpu(large, SMALL + events) - cpu(small, SMALL))

    def _streams(self, large: Deployment) -> float:
        topic, group = f"{large.prefix}usage.events.v1", f"streams-{uuid.uuid4().hex[:8]}"
        return EVENTS / streams.cpu_seconds(large.broker, topic, group, SMALL + EVENTS, SMALL)

    def _look_closer(self, deployment: Deployment, rate: float) -> None:
        self.figures["state_bytes_per_account_day"] = float(psql(deployment.url, ACCOUNT_DAY))
        self.figures["all_bytes_per_million_events"] = float(psql(deployment.url, SIZE)) * 1e6 / (SMALL + EVENTS)
        load = int(rate / 5)
        self.figures["steady_events_per_s"] = float(load)
        traffic = Traffic(deployment, load, uniform(ACCOUNTS, 1), WARM_S + STEADY_S)
        deployment.process.start()
        traffic.begin()
        time.sleep(WARM_S)
        before = deployment.latency()
        traffic.end()
        self.figures["event_to_score_p99_ms"] = p99_ms(before, deployment.latency())
        deployment.process.stop()

    def many_accounts(self) -> None:
        """Let it handle calls of very many accounts, a few of them far busier than the rest; then start it again with nothing in memory.

        Few accounts are all known after the first transaction. Of these many calls are the day's first of an account that must be loaded first
        of all, so as many are handled again: then fewer are. `*_new` says which share.
        """
        deployment = Deployment(*self._where)
        self._populate(deployment, MANY)
        asyncio.run(fill(deployment.broker, deployment.prefix, SMALL + 2 * EVENTS, skewed(MANY, 1), PARTITIONS))
        cpu_rate, rate = deployment.drain(SMALL + EVENTS)
        again, _ = deployment.drain(SMALL + 2 * EVENTS)
        deployment.process.stop()
        traffic = Traffic(deployment, int(rate / 5), skewed(MANY, 2), RESTART_S)
        begun = time.monotonic()
        traffic.begin()
        deployment.process.launch()
        while not traffic.begun or not deployment.process.is_ready() or traffic.lag_s() >= 1:
            if time.monotonic() > begun + RESTART_S:
                raise RuntimeError(f"still {traffic.lag_s():.1f} s behind: see {deployment.process.log}")
            time.sleep(0.1)
        self.figures |= {
            "many_accounts_events_per_cpu_s": cpu_rate,
            "many_accounts_new": share_of_new(skewed(MANY, 1), SMALL, EVENTS),
            "many_accounts_again_events_per_cpu_s": again,
            "many_accounts_again_new": share_of_new(skewed(MANY, 1), SMALL + EVENTS, EVENTS),
            "many_accounts_committed_per_s": rate,
            "cold_restart_to_lag_under_1_s": time.monotonic() - begun,
        }
        traffic.stop()
        deployment.process.stop()

    def day_close(self) -> None:
        """Close a day of many accounts while calls come in."""
        file, now = self._where[2] / "clock.json", datetime.now(UTC)
        ClockFile(now.timestamp(), now.timestamp(), 1.0).write(file)
        deployment = Deployment(*self._where, {"CHURNSIGNAL_ENV": "dev", "CHURNSIGNAL_CLOCK": f"file:{file}"})
        self._populate(deployment, CLOSING)
        load = int(self.figures.get("many_accounts_committed_per_s", DEFAULT_RATE) / 5)
        traffic = Traffic(deployment, load, skewed(CLOSING, 3), CLOSE_S)
        deployment.process.start()
        traffic.begin()
        time.sleep(WARM_S)
        before, begun = deployment.latency(), time.monotonic()
        due = (now + timedelta(days=1)).replace(hour=2, minute=1, second=0)
        ClockFile(time.time(), due.timestamp(), 1.0).write(file)
        while int(psql(deployment.url, CLOSED)) < PARTITIONS:
            if time.monotonic() > begun + CLOSE_S:
                raise RuntimeError(f"the day is not closed: see {deployment.process.log}")
            time.sleep(0.2)
        self.figures |= {
            "close_accounts": float(CLOSING),
            "close_s": time.monotonic() - begun,
            "close_live_events_per_s": float(load),
            "close_live_p99_ms": p99_ms(before, deployment.latency()),
        }
        traffic.stop()
        deployment.process.stop()

    def _populate(self, deployment: Deployment, count: int) -> None:
        engine, now = AccountEngine(Mapper(load_mapping(None)), load_scorecard(None), open_zone("UTC")), datetime.now(UTC)
        template = lived(engine, "account-0", now - timedelta(days=6), days=5, users=2, chance=random.Random(1))
        names = [f"account-{number}" for number in range(count)]
        populate(deployment.url, template, names, PARTITIONS, engine.zone.day_of(now) - 1)


def main() -> None:
    """Measure in turn, write the result."""
    for name in PEERS:
        peer.interpreter(name)
    with passing(Durability(fsync=True), os.environ) as backing, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(backing.database_url, backing.bootstrap, Path(folder))
        rows = [bench.few_accounts(last=number == ROUNDS - 1) for number in range(ROUNDS)]
        ours = statistics.median(row["ours_events_per_cpu_s"] for row in rows)
        ratios = {
            ratio: statistics.median(row["ours_events_per_cpu_s"] / row[f"{name}_events_per_cpu_s"] for row in rows)
            for name, (ratio, _) in PEERS.items()
        }
        if not streams.missing():
            ratios["vs_kafka_streams"] = statistics.median(row["ours_events_per_cpu_s"] / row["streams_events_per_cpu_s"] for row in rows)
        if MANY:
            bench.many_accounts()
            ratios["growth_1k_to_1m"] = ours / bench.figures["many_accounts_events_per_cpu_s"]
            ratios["growth_1k_to_1m_again"] = ours / bench.figures["many_accounts_again_events_per_cpu_s"]
        if CLOSING:
            bench.day_close()
        memory = subprocess.run(
            [sys.executable, "-m", "benchmarks.scoring.memory", str(RESIDENTS)], capture_output=True, text=True, check=True
        )
        bench.figures |= {"bytes_per_resident": float(memory.stdout), "accounts": float(ACCOUNTS), "events": float(EVENTS)}
    write("scoring", rounds=ROUNDS, ratios=ratios, figures=bench.figures, rows=[dict(row) for row in rows])


if __name__ == "__main__":
    main()
