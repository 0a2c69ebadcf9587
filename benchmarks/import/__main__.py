"""Root. Live traffic beside `churnsignal-ingest import`: the p99 of its answers against its p99 alone, `ROUNDS` (5) times, `SECONDS` (10) each."""

import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.ingest.load import requests
from benchmarks.ingest.steady import Told, steady
from benchmarks.ingest.target import ours
from benchmarks.results import write

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("SECONDS", "10"))
PER_S = 20.0
# More than any import can send in the time.
ROWS_PER_S = 50_000


def history(path: Path, rows: int) -> Path:
    lines = (f"acct-{n % 1000},user-{n % 5000},Feature Used,2026-01-{n % 28 + 1:02}T03:04:05Z\n" for n in range(rows))
    with path.open("w") as file:
        file.write("account_id,user_id,event,occurred_at\n")
        file.writelines(lines)
    return path


@contextlib.contextmanager
def importing(file: Path, told: dict[str, str], cache: Path) -> Iterator[None]:
    """Import `file` inside; begins when the first rows are acknowledged, and ends by Ctrl-C."""
    argv = [sys.executable, "-m", "churnsignal_ingest", "import", str(file), "--source", "warehouse"]
    process = subprocess.Popen(argv, env=os.environ | told | {"CHURNSIGNAL_CACHE_DIR": str(cache)}, stderr=subprocess.DEVNULL)
    try:
        while not imported(cache) and process.poll() is None:
            time.sleep(0.05)
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the import ended with {process.returncode} before the measurement did")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def imported(cache: Path) -> int:
    return sum(json.loads(path.read_text())["rows"] for path in cache.glob("imports/*.json"))


def main() -> None:
    alone, beside, rates = [], [], []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ours(Path(folder), "bench-import.") as (target, key, told):
        file = history(Path(folder) / "history.csv", int(SECONDS * ROWS_PER_S))
        good = requests(100, key)

        def live() -> Told:
            return asyncio.run(steady(target.port, good, PER_S, SECONDS))

        live()
        for number in range(ROUNDS):
            alone.append(live())
            cache = Path(folder) / str(number)
            with importing(file, told, cache):
                before, began = imported(cache), time.monotonic()
                beside.append(live())
                rates.append((imported(cache) - before) / (time.monotonic() - began))
    rows = [{"round": number, "p99_alone_ms": a.p99_ms(), "p99_beside_ms": b.p99_ms(), "rows_per_s": rate} for number, (a, b, rate) in enumerate(zip(alone, beside, rates, strict=True))]  # fmt: skip
    ratios = {"p99_beside_vs_alone": statistics.median(row["p99_beside_ms"] / row["p99_alone_ms"] for row in rows)}
    figures = {name: statistics.median(row[name] for row in rows) for name in ("p99_alone_ms", "p99_beside_ms", "rows_per_s")}
    figures |= {"sent": float(sum(len(told.took) for told in beside)), "refused_or_cut": float(sum(told.bad for told in beside))}
    write("import", rounds=ROUNDS, ratios=ratios, figures=figures, rows=[dict(row) for row in rows])


if __name__ == "__main__":
    main()
