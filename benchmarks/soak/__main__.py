"""Root. Ingest at half of what it can take, for `MINUTES` (20): the p99 of its answers and how fast its memory grows."""

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.ingest.load import requests
from benchmarks.ingest.steady import steady
from benchmarks.ingest.target import Contender, ours
from benchmarks.results import write

MINUTES = float(os.environ.get("MINUTES", "20"))
SIZE = 100
# Caches fill and pools open at first; growth is judged after that.
WARM = 0.25


async def run(target: Contender, key: str, per_s: float) -> tuple[dict[str, float], list[dict[str, float]]]:
    rows: list[dict[str, float]] = []
    began = time.monotonic()

    async def watch() -> None:
        while True:
            rows.append({"s": time.monotonic() - began, "rss_mb": target.rss_mb()})
            await asyncio.sleep(1)

    watching = asyncio.create_task(watch())
    told = await steady(target.port, requests(SIZE, key), per_s, MINUTES * 60)
    watching.cancel()
    judged = rows[int(len(rows) * WARM) :]
    slope = statistics.linear_regression([row["s"] for row in judged], [row["rss_mb"] for row in judged]).slope
    figures = {
        "minutes": MINUTES,
        "requests_per_s": per_s,
        "answered": float(len(told.took)),
        "refused_or_cut": float(told.bad),
        "p50_ms": statistics.median(told.took) * 1000,
        "p99_ms": told.p99_ms(),
        "rss_mb": judged[-1]["rss_mb"],
        "rss_slope_percent_an_hour": slope * 3600 / judged[0]["rss_mb"] * 100,
    }
    return figures, rows[:: max(1, len(rows) // 20)]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ours(Path(folder), "bench-soak.") as (target, key, _):
        target.measure(SIZE, 2.0, key)
        saturated = target.measure(SIZE, 8.0, key)["events_per_s"]
        figures, rows = asyncio.run(run(target, key, saturated / SIZE / 2))
    write("soak", rounds=1, ratios={}, figures=figures | {"saturation_events_per_s": saturated}, rows=[dict(row) for row in rows])


if __name__ == "__main__":
    main()
