"""A backtest: the same answers from any kind of file, nothing seen before its time, and mistakes told in a sentence."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from churnsignal_scoring.backtest import shares
from churnsignal_scoring.backtest.__main__ import main
from churnsignal_scoring.backtest.files import FileError, read_ends, read_events
from churnsignal_scoring.backtest.shares import Policies, replay
from polars.testing import assert_frame_equal

from tests.unit.scoring.accounts import UTC_DAYS

FIRST = datetime(2025, 3, 3, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Done:
    """What the command printed, and the sentence with which it refused."""

    stdout: str
    refusal: str


Run = Callable[..., Done]


def events(days: int = 60) -> pl.DataFrame:
    """Two accounts: one used on every weekday throughout, one that stops after four weeks."""
    rows = [
        (account, f"{account}-u{day % 2}", "Report Viewed", FIRST + timedelta(days=day, hours=hour))
        for day in range(days)
        for hour in (0, 3)
        for account, last in (("stays", days), ("leaves", 28))
        if day < last and day % 7 < 5
    ]
    return pl.DataFrame(rows, schema=["account_id", "user_id", "event", "occurred_at"], orient="row")


def grid(days: int = 60) -> pl.DataFrame:
    as_of = [(FIRST + timedelta(days=day)).date() for day in range(-1, days, 7)]
    return pl.DataFrame({"account_id": [*["stays"] * len(as_of), *["leaves"] * len(as_of)], "as_of": [*as_of, *as_of]})


@pytest.fixture
def backtest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on a frame of events; further options as they are."""

    def run(frame: pl.DataFrame, *options: str, kind: str = "parquet", questions: pl.DataFrame | None = None) -> Done:
        path = tmp_path / f"events.{kind}"
        match kind:
            case "csv":
                frame.write_csv(path)
            case "jsonl":
                frame.write_ndjson(path)
            case _:
                frame.write_parquet(path)
        (grid() if questions is None else questions).write_parquet(tmp_path / "grid.parquet")
        files = [
            "--events",
            path,
            "--as-of",
            tmp_path / "grid.parquet",
            "--out",
            tmp_path / "scores.parquet",
            "--transitions",
            tmp_path / "t.parquet",
        ]
        monkeypatch.setattr(sys, "argv", ["churnsignal-backtest", "run", *map(str, files), "--json", *options])
        try:
            main()
        except SystemExit as end:
            return Done(capsys.readouterr().out, str(end.code))
        return Done(capsys.readouterr().out, "")

    return run


def scores(tmp_path: Path) -> pl.DataFrame:
    return pl.read_parquet(tmp_path / "scores.parquet").sort("account_id", "as_of")


def best(tmp_path: Path) -> float:
    return float(max(scores(tmp_path).filter(account_id="stays")["score"].drop_nulls().to_list()))


def test_the_account_that_leaves_falls_and_turns_red_and_the_other_stays(backtest: Run, tmp_path: Path) -> None:
    done = backtest(events())

    assert not done.refusal
    summary = json.loads(done.stdout)
    last = {row["account_id"]: row for row in scores(tmp_path).filter(pl.col("as_of") == pl.col("as_of").max()).to_dicts()}
    changes = pl.read_parquet(tmp_path / "t.parquet")
    assert (summary["accounts"], summary["events"], summary["questions"]) == (2, events().height, grid().height)
    assert last["stays"]["band"] == "green"
    assert last["leaves"]["band"] == "red"
    assert last["leaves"]["score"] < last["stays"]["score"]
    assert changes.filter(account_id="leaves")["to_band"].to_list()[-1] == "red"
    assert changes.schema["at"] == pl.Datetime("us", "UTC")


def test_before_there_is_evidence_the_score_is_null_and_the_band_grey(backtest: Run, tmp_path: Path) -> None:
    backtest(events())

    first = scores(tmp_path).filter(pl.col("as_of") == pl.col("as_of").min()).to_dicts()
    assert [(row["score"], row["band"]) for row in first] == [(None, "grey")] * 2


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_every_kind_of_file_gives_the_same_answers(backtest: Run, tmp_path: Path, kind: str) -> None:
    backtest(events())
    expected = scores(tmp_path)

    done = backtest(events(), kind=kind)

    assert not done.refusal
    assert_frame_equal(scores(tmp_path), expected)


def test_what_comes_later_never_changes_an_answer(backtest: Run, tmp_path: Path) -> None:
    backtest(events())
    whole = scores(tmp_path)
    cut = date(2025, 4, 6)

    backtest(events().filter(pl.col("occurred_at").dt.date() <= cut))

    assert_frame_equal(scores(tmp_path).filter(pl.col("as_of") <= cut), whole.filter(pl.col("as_of") <= cut))
    assert whole.filter(pl.col("as_of") <= cut)["score"].drop_nulls().len() > 4


def planted(known_days_later: int) -> pl.DataFrame:
    """A feature that counts the next 30 days of use, dated as if it had been known already."""
    used = pl.col("account_id").is_in(["stays"]).cast(pl.Int64) * 30
    return events().with_columns(seats=used, known_at=pl.col("occurred_at") + timedelta(days=known_days_later))


def test_a_feature_that_was_known_only_later_is_refused(tmp_path: Path) -> None:
    planted(30).write_parquet(tmp_path / "events.parquet")

    with pytest.raises(FileError, match="128 rows say on a day what was known only later") as refused:
        read_events(tmp_path / "events.parquet", UTC_DAYS)

    assert "date them when they were known" in str(refused.value)


def test_what_was_known_on_its_day_is_read(tmp_path: Path) -> None:
    planted(0).write_csv(tmp_path / "events.csv")

    assert read_events(tmp_path / "events.csv", UTC_DAYS).names == ("seats",)


@pytest.mark.parametrize("column", ["churned_at", "status"])
def test_how_an_account_ends_must_not_be_among_its_events(tmp_path: Path, column: str) -> None:
    (tmp_path / "outcomes.csv").write_text("account_id,churned_at,observed_until,status\nleaves,2025-04-01,2025-04-01,gone\n")

    with pytest.raises(FileError, match=f"{column} is in the events too"):
        read_ends(tmp_path / "outcomes.csv", UTC_DAYS, ("seats", column))


def test_the_order_of_rows_does_not_matter(backtest: Run, tmp_path: Path) -> None:
    backtest(events())
    expected = scores(tmp_path)

    backtest(events().sample(fraction=1.0, shuffle=True, seed=3))

    assert_frame_equal(scores(tmp_path), expected)


def test_several_processes_say_what_one_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    events().write_parquet(tmp_path / "events.parquet")
    read = read_events(tmp_path / "events.parquet", UTC_DAYS)
    questions = grid().with_columns(day=pl.col("as_of").to_physical())
    one = replay(Policies(None, None, "UTC"), read, questions, {}, lambda _: None)
    monkeypatch.setattr(shares, "EVENTS_A_SHARE", 100)
    monkeypatch.setattr("os.cpu_count", lambda: 2)

    two = replay(Policies(None, None, "UTC"), read, questions, {}, lambda _: None)

    assert (sorted(two.answers), sorted(two.transitions)) == (sorted(one.answers), sorted(one.transitions))
    assert (two.accounts, two.calls, len(two.answers)) == (2, events().height, grid().height)


def test_an_account_is_not_watched_after_it_ended(backtest: Run, tmp_path: Path) -> None:
    (tmp_path / "outcomes.csv").write_text("account_id,churned_at,observed_until\nleaves,2025-04-01,2025-04-01\nstays,,2025-05-01\n")

    done = backtest(events(), "--outcomes", str(tmp_path / "outcomes.csv"))

    assert not done.refusal
    changes = pl.read_parquet(tmp_path / "t.parquet").filter(account_id="leaves")
    assert changes.height
    assert changes.filter(pl.col("at") > datetime(2025, 4, 2, tzinfo=UTC)).is_empty()


def test_columns_of_traits_are_facts_of_the_account(backtest: Run, tmp_path: Path) -> None:
    with_seats = events().with_columns(seats=pl.when(pl.col("account_id") == "stays").then(40).otherwise(2))

    backtest(with_seats)
    few = best(tmp_path)
    backtest(events())

    assert few < best(tmp_path)


def test_days_may_be_those_of_a_zone(backtest: Run, tmp_path: Path) -> None:
    assert not backtest(events(), "--day-zone", "Asia/Tokyo").refusal
    changes = pl.read_parquet(tmp_path / "t.parquet")

    assert changes["at"].dt.hour().unique().to_list() == [15]


@pytest.mark.parametrize(
    ("frame", "options", "told"),
    [
        (events().drop("event"), (), "no column event"),
        (events().with_columns(event=pl.lit(None, pl.String)), (), "some rows have no account_id, event or occurred_at"),
        (events().with_columns(occurred_at=pl.lit("yesterday")), (), "are no times; write ISO 8601"),
        (events(), ("--events", "nothing.parquet"), "cannot be read"),
        (events(), ("--events", "events.xls"), "unknown kind of file"),
        (events(), ("--scorecard", "nothing.yaml"), "cannot be read"),
        (events(), ("--outcomes", "nothing.csv"), "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(backtest: Run, frame: pl.DataFrame, options: tuple[str, ...], told: str) -> None:
    done = backtest(frame, *options)

    assert told in done.refusal


def test_wrong_use_ends_with_two() -> None:
    command = [sys.executable, "-m", "churnsignal_scoring.backtest", "guess"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert "usage" in done.stderr
