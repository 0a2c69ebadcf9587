"""Door. Event, outcome and question files of a backtest: parquet, csv or jsonl in, parquet out."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import polars as pl

from churnsignal_scoring.backtest.calls import Row
from churnsignal_scoring.health.days import DayZone

EVENT_COLUMNS = ("account_id", "event", "occurred_at")
KNOWN_AT = "known_at"
"""When a row's values were known, if they were computed or entered later than they are dated."""


class FileError(Exception):
    """A file cannot be used; the message says which, why, and what is expected."""


@dataclass(frozen=True, slots=True)
class Events:
    """All events, sorted by time. `names` are the columns of `Row.rest`."""

    frame: pl.DataFrame
    names: tuple[str, ...]

    def by_day(self) -> Iterator[tuple[int, list[Row]]]:
        """Yield each day that has events, in order, with its events in order."""
        days = self.frame["day"].to_numpy()
        start = 0
        while start < len(days):
            end = int(days.searchsorted(days[start], side="right"))
            part = self.frame.slice(start, end - start)
            yield (
                int(days[start]),
                [Row(account, user, event, at.replace(tzinfo=UTC), tuple(rest)) for account, user, event, at, _, *rest in part.iter_rows()],
            )
            start = end


def read_events(path: Path, zone: DayZone) -> Events:
    """Return the events of a file; rows without account, event or time are refused."""
    frame = _times(_read(path), path, ("occurred_at", KNOWN_AT))
    missing = [name for name in EVENT_COLUMNS if name not in frame.columns]
    if missing:
        raise FileError(f"{path}: no column {', '.join(missing)}; an events file has account_id, user_id, event and occurred_at")
    if frame.select(pl.any_horizontal(pl.col(EVENT_COLUMNS).is_null()).any()).item():
        raise FileError(f"{path}: some rows have no account_id, event or occurred_at; fill them or leave the rows out")
    frame = _refuse_foresight(frame, path, zone)
    if "user_id" not in frame.columns:
        frame = frame.with_columns(user_id=pl.lit(None, pl.String))
    names = tuple(name for name in frame.columns if name not in (*EVENT_COLUMNS, "user_id"))
    local = pl.col("occurred_at").dt.convert_time_zone(zone.name)
    return Events(
        frame.select(
            pl.col("account_id").cast(pl.String),
            pl.col("user_id").cast(pl.String),
            pl.col("event").cast(pl.String),
            pl.col("occurred_at").dt.cast_time_unit("us").dt.replace_time_zone(None),
            local.dt.date().to_physical().alias("day"),
            *names,
        ).sort("occurred_at", maintain_order=True),
        names,
    )


def _refuse_foresight(frame: pl.DataFrame, path: Path, zone: DayZone) -> pl.DataFrame:
    """Refuse rows that were known only after the day they are dated: a score of that day would see the future."""
    if KNOWN_AT not in frame.columns:
        return frame
    day, known = (pl.col(name).dt.convert_time_zone(zone.name).dt.date() for name in ("occurred_at", KNOWN_AT))
    late = frame.filter(known > day)
    if late.height:
        raise FileError(
            f"{path}: {late.height} rows say on a day what was known only later ({KNOWN_AT}), such as {late['event'][0]!r} of"
            f" {late['account_id'][0]}; date them when they were known, or leave them out"
        )
    return frame.drop(KNOWN_AT)


def read_ends(path: Path, zone: DayZone, seen: tuple[str, ...] = ()) -> dict[str, int]:
    """Return the day on which each account left or was last watched: from then on it is nobody's peer and is not scored.

    `seen` are the columns of the events beside the four: none of them may be one of the outcomes.
    """
    frame = _read(path)
    if told := sorted(set(seen) & set(frame.columns)):
        raise FileError(f"{path}: {', '.join(told)} is in the events too; how an account ends must not be seen before; leave it out there")
    wanted = [name for name in ("churned_at", "observed_until") if name in frame.columns]
    if "account_id" not in frame.columns or not wanted:
        raise FileError(f"{path}: an outcomes file has account_id and churned_at or observed_until")
    frame = _times(frame, path, tuple(wanted))
    days = [pl.col(name).dt.convert_time_zone(zone.name).dt.date().to_physical() for name in wanted]
    ends = frame.select(pl.col("account_id").cast(pl.String), end=pl.min_horizontal(days)).drop_nulls()
    return dict(ends.iter_rows())


def read_questions(path: Path) -> pl.DataFrame:
    """Return the rows to answer: account_id and as_of, and the day number of as_of."""
    frame = _read(path)
    if not {"account_id", "as_of"} <= set(frame.columns):
        raise FileError(f"{path}: a grid has account_id and as_of")
    if frame.schema["as_of"] == pl.String:
        frame = frame.with_columns(pl.col("as_of").str.to_date())
    as_of = pl.col("as_of").cast(pl.Date)
    return frame.select(pl.col("account_id").cast(pl.String), as_of, day=as_of.to_physical())


def write(path: Path, frame: pl.DataFrame) -> None:
    """Write a parquet file."""
    try:
        frame.write_parquet(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error}") from error


def _read(path: Path) -> pl.DataFrame:
    try:
        match path.suffix:
            case ".parquet":
                return pl.read_parquet(path)
            case ".csv":
                return pl.read_csv(path, infer_schema_length=None)
            case ".jsonl" | ".ndjson":
                return pl.read_ndjson(path, infer_schema_length=None)
            case _:
                raise FileError(f"{path}: unknown kind of file; use .parquet, .csv or .jsonl")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FileError(f"{path}: cannot be read: {error}") from error


def _times(frame: pl.DataFrame, path: Path, names: tuple[str, ...]) -> pl.DataFrame:
    """Make the columns aware times; texts without a zone, and plain dates, are UTC."""
    for name in names:
        if name not in frame.columns:
            continue
        made = frame.select(_aware(frame[name])).to_series()
        if made.null_count() > frame[name].null_count():
            raise FileError(f"{path}: some values of {name} are no times; write ISO 8601, such as 2026-01-31T09:00:00Z")
        frame = frame.with_columns(made.alias(name))
    return frame


def _aware(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        days = column.str.len_chars().max() == 10
        column = column.str.to_date(strict=False) if days else column.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
    if not isinstance(column.dtype, pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return column.dt.replace_time_zone("UTC") if column.dtype.time_zone is None else column.dt.convert_time_zone("UTC")
