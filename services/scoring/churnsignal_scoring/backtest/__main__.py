"""Root. `churnsignal-backtest`: what would the scores have said? Replays event files and writes scores and changes of band."""

import argparse
import json
import sys
import time
from pathlib import Path

import polars as pl
from churnsignal_common.document import ConfigError

from churnsignal_scoring.backtest.files import FileError, read_ends, read_events, read_questions, write
from churnsignal_scoring.backtest.replay import Answer, Transition
from churnsignal_scoring.backtest.shares import Policies, replay
from churnsignal_scoring.health.days import open_zone, to_date

_EXAMPLE = """example:
  churnsignal-backtest run --events events.parquet --outcomes outcomes.csv --as-of grid.parquet \\
      --out scores.parquet --transitions transitions.parquet
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="churnsignal-backtest",
        description="Replay past events through the scoring engine.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "run", help="write scores at given days and all changes of band", epilog=_EXAMPLE, formatter_class=parser.formatter_class
    )
    command.add_argument(
        "--events",
        type=Path,
        required=True,
        help="parquet, csv or jsonl: account_id, user_id, event, occurred_at, columns of traits, and known_at where a row was known later",
    )
    command.add_argument(
        "--outcomes", type=Path, help="csv: account_id, churned_at, observed_until; accounts are not watched after they end"
    )
    command.add_argument("--as-of", type=Path, required=True, help="the questions: account_id, as_of; answered as of the end of that day")
    command.add_argument(
        "--out", type=Path, required=True, help="parquet to write: account_id, as_of, score (0..100, null: not enough evidence), band"
    )
    command.add_argument("--transitions", type=Path, help="parquet to write: account_id, at, to_band")
    command.add_argument("--scorecard", type=Path, help="scorecard.yaml; without it the default")
    command.add_argument("--mapping", type=Path, help="mapping.yaml; without it the default")
    command.add_argument("--day-zone", default="UTC", help="zone whose midnights part the days (default: UTC)")
    command.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def main() -> None:
    """Run the command; exits 1 with a sentence when a file cannot be used."""
    arguments = _parser().parse_args()
    try:
        summary = _run(arguments)
    except (FileError, ConfigError) as error:
        sys.exit(f"churnsignal-backtest: {error}")
    print(json.dumps(summary) if arguments.json else "\n".join(f"{name:<14}{value}" for name, value in summary.items()))


def _run(arguments: argparse.Namespace) -> dict[str, object]:
    started = time.monotonic()
    zone = open_zone(arguments.day_zone)
    policies = Policies(arguments.mapping, arguments.scorecard, arguments.day_zone)
    engine = policies.engine()
    events, questions = read_events(arguments.events, zone), read_questions(arguments.as_of)
    ends = {} if arguments.outcomes is None else read_ends(arguments.outcomes, zone, events.names)
    found = replay(policies, events, questions, ends, _progress)
    write(arguments.out, _scores(found.answers))
    if arguments.transitions is not None:
        write(arguments.transitions, _transitions(found.transitions))
    return {
        "scorecard": engine.scorecard.version,
        "mapping": engine.mapper.version,
        "accounts": found.accounts,
        "events": found.calls,
        "questions": len(found.answers),
        "scored": sum(answer.score is not None for answer in found.answers),
        "transitions": len(found.transitions),
        "seconds": round(time.monotonic() - started, 1),
    }


def _progress(day: int) -> None:
    if day % 28 == 0 and sys.stderr.isatty():
        print(f"\r{to_date(day)}", end="", file=sys.stderr, flush=True)


def _scores(answers: list[Answer]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "account_id": [answer.account for answer in answers],
            "as_of": pl.Series([answer.day for answer in answers], dtype=pl.Int32).cast(pl.Date),
            "score": pl.Series([None if answer.score is None else answer.score / 100 for answer in answers], dtype=pl.Float64),
            "band": [answer.band.value for answer in answers],
        }
    )


def _transitions(changes: list[Transition]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "account_id": [change.account for change in changes],
            "at": pl.Series([change.at for change in changes], dtype=pl.Datetime("us", "UTC")),
            "to_band": [change.band.value for change in changes],
        }
    )


if __name__ == "__main__":
    main()
