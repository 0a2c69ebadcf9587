"""Root. What a million remembered ids cost scoring: memory of the process, bytes in Postgres, CPU to look each up and note it."""

import asyncio
import os
import tempfile
import time
from pathlib import Path

import asyncpg
import numpy as np
from churnsignal_devstack.backing import passing
from churnsignal_devstack.postgres import Durability
from churnsignal_devstack.services import command, free_port_base, run_once
from churnsignal_scoring.dedup import Bucket, Group, Seenlog
from churnsignal_scoring.effects import DedupRow

from benchmarks.results import write

MILLIONS = int(os.environ.get("MILLIONS", "3"))
BATCH, PARTITIONS, DAY = 5_000, 8, 20_000


def rss_mb() -> float:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def remember(log: Seenlog, chance: np.random.Generator) -> list[DedupRow]:
    """Judge a micro-batch of new ids spread over the partitions, and return what goes to disk."""
    rows = np.array_split(np.arange(BATCH), PARTITIONS)
    groups = [Group(Bucket(partition, 0, DAY), loose=False, rows=places) for partition, places in enumerate(rows)]
    ids = chance.integers(0, 2**64, BATCH, np.uint64)
    _, fresh = log.judge(groups, ids, chance.integers(0, 2**32, BATCH, np.uint32))
    stored = [run.packed(bucket) for bucket, runs in fresh.items() for run in runs]
    log.remember(fresh, DAY)
    return stored


async def store(url: str, rows: list[DedupRow]) -> None:
    database = await asyncpg.connect(url)
    await database.executemany(
        "INSERT INTO scoring.dedup (partition, lane, bucket, written, ids, bodies) VALUES ($1, $2, $3, $3, $4, $5)", rows
    )
    await database.close()


async def size(url: str) -> int:
    database = await asyncpg.connect(url)
    found: int = await database.fetchval("SELECT pg_total_relation_size('scoring.dedup')")
    await database.close()
    return found


def main() -> None:
    chance = np.random.default_rng(1)
    with passing(Durability(), os.environ) as backing, tempfile.TemporaryDirectory(prefix="bench-"):
        told = backing.env() | {"CHURNSIGNAL_PORT_BASE": str(free_port_base()), "CHURNSIGNAL_SIGNING_KEYS": "a-key-for-benchmarks"}
        run_once(command("scoring", "migrate"), told)
        log = Seenlog(100 * 10**6)
        remember(log, chance)
        memory, disk, cpu_s = rss_mb(), asyncio.run(size(backing.database_url)), 0.0
        for _ in range(MILLIONS * 10**6 // BATCH):
            began = time.process_time()
            rows = remember(log, chance)
            cpu_s += time.process_time() - began
            asyncio.run(store(backing.database_url, rows))
        figures = {
            "memory_mb_per_million": (rss_mb() - memory) / MILLIONS,
            "disk_mb_per_million": (asyncio.run(size(backing.database_url)) - disk) / MILLIONS / 2**20,
            "cpu_us_per_id": cpu_s / MILLIONS,
        }
    write("dedup", rounds=1, ratios={}, figures=figures, rows=[])


if __name__ == "__main__":
    main()
