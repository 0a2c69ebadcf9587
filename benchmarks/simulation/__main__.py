"""Root. A quarter of many accounts in simulated time: how long `churnsignal-backtest run` takes to replay and close it.

`ACCOUNTS` (10000), `DAYS` (92) and `ROUNDS` (1) may be set. That the closes are those of the real stack shows tests/integration/scoring/test_simulated_days.py.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import polars as pl

from benchmarks.results import write
from tests.support.simulated import FIRST, use

ACCOUNTS = int(os.environ.get("ACCOUNTS", "10000"))
DAYS = int(os.environ.get("DAYS", "92"))
ROUNDS = int(os.environ.get("ROUNDS", "1"))
LIMIT_S = 60


def main() -> None:
    """Write the events, replay them, and say how long that took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events = use(ACCOUNTS, DAYS)
        events.write_parquet(folder / "events.parquet")
        last = (FIRST + timedelta(days=DAYS - 1)).date()
        events.select(pl.col("account_id").unique()).with_columns(as_of=pl.lit(last)).write_parquet(folder / "asked.parquet")
        rows = [_round(folder, events.height) for _ in range(ROUNDS)]
    seconds = min(row["seconds"] for row in rows)
    write(
        "simulation",
        rounds=ROUNDS,
        ratios={},
        figures={"seconds": seconds, "closes_per_second": ACCOUNTS * DAYS / seconds, "limit_seconds": LIMIT_S},
        rows=rows,
    )
    sys.exit(f"took longer than {LIMIT_S} s" if seconds >= LIMIT_S else 0)


def _round(folder: Path, events: int) -> dict[str, float]:
    command = [sys.executable, "-m", "churnsignal_scoring.backtest", "run", "--events", str(folder / "events.parquet")]
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--as-of", str(folder / "asked.parquet"), "--out", str(folder / "scores.parquet")], check=True)
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"accounts": ACCOUNTS, "days": DAYS, "events": events, "seconds": took, "cpu_seconds": cpu}


if __name__ == "__main__":
    main()
