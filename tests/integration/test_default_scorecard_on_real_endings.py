"""The default scorecard is advice: on real projects with real endings, unfitted, it ranks who will leave better than plain silence does."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

DATA = Path(__file__).parents[2] / "tools" / "devstack" / "churnsignal_devstack" / "demo" / "data" / "asf_podlings"
HORIZON_DAYS = 180
FROM, STEP_DAYS, LEAST_AGE_DAYS = date(2018, 1, 1), 30, 90
EPOCH = date(1970, 1, 1)

Days = NDArray[np.float64]


def day(column: pl.Series) -> Days:
    return np.asarray(column.to_physical().cast(pl.Float64).fill_null(float("nan")), dtype=np.float64)


@pytest.fixture(scope="module")
def accounts() -> pl.DataFrame:
    columns = [pl.col(name).str.to_date() for name in ("churned_at", "started_at", "observed_until")]
    return pl.read_csv(DATA / "outcomes.csv", infer_schema_length=None).with_columns(columns).sort("account_id")


@pytest.fixture(scope="module")
def asked(accounts: pl.DataFrame) -> pl.DataFrame:
    """Every 30 days each project that is old enough and not yet over: does it end within 180 days? Only where the answer is known."""
    start, churn, end = day(accounts["started_at"]), day(accounts["churned_at"]), day(accounts["observed_until"])
    final = (accounts["status"] == "graduated").to_numpy()
    rows = []
    for now in range((FROM - EPOCH).days, int(np.nanmax(end)), STEP_DAYS):
        alive = (now - start >= LEAST_AGE_DAYS) & ~(churn <= now) & (now < end)
        known = (now + HORIZON_DAYS <= end) | final | (churn <= now + HORIZON_DAYS)
        leaves = (churn > now) & (churn <= now + HORIZON_DAYS)
        rows += [(accounts["account_id"][int(place)], now, int(leaves[place])) for place in np.flatnonzero(alive & known)]
    return pl.DataFrame(rows, schema=["account_id", "day", "leaves"], orient="row").with_columns(
        as_of=pl.col("day").cast(pl.Int32).cast(pl.Date)
    )


@pytest.fixture(scope="module")
def answered(asked: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("backtest")
    asked.select("account_id", "as_of").write_parquet(folder / "grid.parquet")
    # Projects that were over before the first question are spared: they are a third of all events.
    events = pl.read_parquet(DATA / "events.parquet").join(asked, on="account_id", how="semi")
    events.write_parquet(folder / "events.parquet")
    files = [
        "--events",
        folder / "events.parquet",
        "--outcomes",
        DATA / "outcomes.csv",
        "--as-of",
        folder / "grid.parquet",
        "--out",
        folder / "out.parquet",
    ]
    subprocess.run(
        [sys.executable, "-m", "churnsignal_scoring.backtest", "run", *map(str, files)], check=True, timeout=280, capture_output=True
    )
    return asked.join(pl.read_parquet(folder / "out.parquet"), on=["account_id", "as_of"], how="left")


def skill(frame: pl.DataFrame, risk: pl.Expr, label: str = "leaves") -> float:
    """The mean, over the days asked about, of the chance that who leaves was ranked above who stays."""
    values = []
    for _, group in frame.with_columns(risk=risk).group_by("day"):
        ranks, leaves = group["risk"].rank("average").to_numpy(), group[label].to_numpy() == 1
        some, others = int(leaves.sum()), int((~leaves).sum())
        if some >= 2 and others:
            values.append((ranks[leaves].sum() - some * (some + 1) / 2) / (some * others))
    return float(np.mean(values))


def test_nearly_every_account_has_a_score(answered: pl.DataFrame) -> None:
    assert answered["score"].null_count() <= 0.05 * answered.height


def test_the_default_scorecard_beats_plain_silence(answered: pl.DataFrame) -> None:
    used = pl.read_parquet(DATA / "events.parquet").select("account_id", last=pl.col("occurred_at").dt.date()).unique().sort("last")
    silence = answered.sort("as_of").join_asof(used, left_on="as_of", right_on="last", by="account_id", check_sortedness=False)

    ours, plain = skill(answered, -pl.col("score")), skill(silence, (pl.col("as_of") - pl.col("last")).dt.total_days())

    assert ours >= 0.75
    assert ours > plain + 0.01


def test_with_the_endings_dealt_out_anew_all_skill_is_gone(answered: pl.DataFrame) -> None:
    dealt = [
        skill(answered.with_columns(dealt=pl.col("leaves").shuffle(seed=seed).over("day")), -pl.col("score"), "dealt") for seed in range(20)
    ]

    assert 0.4 < float(np.mean(dealt)) < 0.6
