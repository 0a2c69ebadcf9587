"""Root. A year of real transitions through the decisions of alerts, with 20 CSMs in six zones, holidays and two vacations.

`churnsignal-backtest run` makes the transitions from the demo's events, or from those of `ALERTS_EVENTS` (a folder with events.parquet and
outcomes.csv). Every account's every year is laid over 2026 as an account of its own. Four CSMs in five act on what they hear.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from churnsignal_alerts.directory import Channel
from churnsignal_common.contracts.risk import Band
from churnsignal_devstack.demo.story import DATA

from benchmarks.results import write
from tests.support.alerts_life import Fault, Life
from tests.support.alerts_year import Year, live, people

DOWN_DAYS = 40


def transitions(folder: Path) -> list[tuple[str, Any, Band]]:
    """Return (account, moment, band) of every change in the folder's events."""
    with tempfile.TemporaryDirectory() as home:
        grid, out, moves = (Path(home) / name for name in ("grid.csv", "scores.parquet", "transitions.parquet"))
        accounts = sorted(set(pl.read_parquet(folder / "events.parquet", columns=["account_id"])["account_id"].to_list()))
        grid.write_text("account_id,as_of\n" + "".join(f"{account},2026-01-01\n" for account in accounts))
        command: list[str | Path] = [
            Path(sys.executable).parent / "churnsignal-backtest",
            "run",
            "--events",
            folder / "events.parquet",
            "--outcomes",
            folder / "outcomes.csv",
        ]
        command += ["--as-of", grid, "--out", out, "--transitions", moves]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows = pl.read_parquet(moves).rows()
    return [(account, at, Band(band)) for account, at, band in rows]


def slack_down(days: int) -> Fault:
    """Return a Slack that takes nothing on so many random days of the year; mail is well."""
    down = {date(2026, 1, 1) + timedelta(days=n) for n in random.Random(7).sample(range(365), days)}
    return lambda channel, now: "busy" if channel is Channel.SLACK and now.date() in down else "ok"


def main() -> None:
    """Live the year twice and write what was seen."""
    folder = Path(os.environ.get("ALERTS_EVENTS", str(DATA)))
    moves = transitions(folder)
    rows: list[dict[str, Any]] = []
    figures: dict[str, float] = {}
    for name, bad in (("healthy", 0), ("slack_down", DOWN_DAYS)):
        began = time.monotonic()
        counted = live(Life(people(), Year.first(), slack_down(bad)), moves).figures() | {"seconds": time.monotonic() - began}
        rows.append({"year": name, **counted})
        figures |= {f"{name}_{key}": float(value) for key, value in counted.items()}
    bands = Counter(band for _, _, band in moves)
    figures |= {"transitions": float(len(moves)), "to_red": float(bands[Band.RED])}
    write("alerts", rounds=1, ratios={}, figures=figures, rows=rows)
    if any(row["lost"] or row["told_twice"] for row in rows) or rows[0]["outside_hours"]:
        sys.exit("a promise did not hold")


if __name__ == "__main__":
    main()
