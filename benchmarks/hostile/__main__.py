"""Root. Good traffic beside idle connections, slow ones and gzip bombs: its p99 against its p99 alone, what it lost, and ingest's memory.

`IDLE` (10,000), `SLOW` (1,000) and `BOMBS` (100 of 100 MB each: 10 GB) size the attack, `SECONDS` (60) is how long it lasts.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.hostile.attackers import BOMB_MB
from benchmarks.ingest.load import requests
from benchmarks.ingest.steady import Told, steady
from benchmarks.ingest.target import Contender, ours
from benchmarks.results import write

IDLE, SLOW, BOMBS = (int(os.environ.get(name, size)) for name, size in (("IDLE", "10000"), ("SLOW", "1000"), ("BOMBS", "100")))
SECONDS = float(os.environ.get("SECONDS", "60"))
PER_S = 20.0


async def beside(target: Contender, good: list[bytes], attackers: list[str]) -> tuple[Told, float, dict[str, object]]:
    """Return what good traffic saw while `attackers` ran, the most memory that ingest took, and the attackers' own words."""
    argv = [sys.executable, "-m", "benchmarks.hostile.attackers", str(target.port), *attackers, str(SECONDS)]
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    peak = 0.0

    async def watch() -> None:
        nonlocal peak
        while process.returncode is None:
            peak = max(peak, target.rss_mb())
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    told = await steady(target.port, good, PER_S, SECONDS - 2)
    words, _ = await process.communicate()
    await watching
    return told, peak, json.loads(words)


async def run(target: Contender, key: str) -> dict[str, float]:
    good = requests(100, key)
    await steady(target.port, good, PER_S, 3)
    alone, rest_mb, _ = await beside(target, good, ["0", "0", "0"])
    amid, peak_mb, words = await beside(target, good, [str(IDLE), str(SLOW), str(BOMBS)])
    print(json.dumps(words))
    return {
        "p99_alone_ms": alone.p99_ms(),
        "p99_amid_ms": amid.p99_ms(),
        "sent": float(len(amid.took)),
        "refused_or_cut": float(amid.bad),
        "rss_alone_mb": rest_mb,
        "rss_peak_mb": peak_mb,
        "idle": float(IDLE),
        "slow": float(SLOW),
        "bombs_gb": BOMBS * BOMB_MB / 1000,
    }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ours(Path(folder), "bench-hostile.") as (target, key, _):
        figures = asyncio.run(run(target, key))
    ratios = {"p99_amid_vs_alone": figures["p99_amid_ms"] / figures["p99_alone_ms"]}
    write("hostile", rounds=1, ratios=ratios, figures=figures, rows=[])


if __name__ == "__main__":
    main()
