"""Door. Files of history: CSV, JSON Lines and Parquet, row by row; how far an earlier run came, and the list of rows that do not count."""

import csv
import hashlib
import os
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from churnsignal_ingest.imports.calls import SAVE_AS_UTF_8, BadRow, Row, Unreadable

_PARQUET_ROWS = 50_000


class BadFile(Exception):
    """The file as a whole cannot be read as what its name says."""


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a .csv, .jsonl or .parquet file; a row that cannot be read is `Unreadable`, and the others go on."""
    match path.suffix.lower():
        case ".csv":
            yield from _csv(path)
        case ".jsonl" | ".ndjson":
            yield from _json_lines(path)
        case ".parquet":
            yield from _parquet(path)
        case other:
            raise BadFile(f"{path}: {other or 'no ending'}: give a .csv, .jsonl or .parquet file")


def _csv(path: Path) -> Iterator[Row]:
    # Bytes that are no UTF-8 come through as surrogates, which no JSON takes: only their own row is bad.
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        _check_header(path, reader)
        while True:
            try:
                row: dict[Any, Any] = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Unreadable(f"Line {reader.line_num}: {error}.")
                continue
            yield Unreadable(f"Line {reader.line_num} has more cells than the header.") if None in row else row


def _check_header(path: Path, reader: "csv.DictReader[str]") -> None:
    try:
        names = set(reader.fieldnames or ())
        "".join(names).encode()
    except csv.Error as error:
        raise BadFile(f"{path}: {error}") from error
    except UnicodeEncodeError as error:
        raise BadFile(f"{path}: its first line is no UTF-8. {SAVE_AS_UTF_8}") from error
    if not names & {"event", "type"}:
        raise BadFile(f"{path}: the first line must name the columns, `event` among them, such as account_id,user_id,event,occurred_at")


def _json_lines(path: Path) -> Iterator[Row]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            line = line.removeprefix(BOM_UTF8) if number == 1 else line  # noqa: PLW2901 the same line, as it is meant
            if not line.strip():
                continue
            try:
                row: Row = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                row = Unreadable(f"Line {number} is no JSON object: {error}.")
            yield row


def _parquet(path: Path) -> Iterator[Row]:
    import polars as pl  # noqa: PLC0415 heavy, and only this kind of file needs it

    try:
        lazy = pl.scan_parquet(path)
        total = lazy.select(pl.len()).collect().item()
        for begin in range(0, total, _PARQUET_ROWS):
            yield from lazy.slice(begin, _PARQUET_ROWS).collect().iter_rows(named=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadFile(f"{path}: {error}") from error


def count_rows(path: Path) -> int:
    """Return how many rows there are, for the progress bar."""
    return sum(1 for _ in rows_of(path))


def digest(path: Path) -> str:
    """Return a short digest of the contents: the same file has the same ids wherever it lies."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@dataclass(slots=True)
class Progress:
    """What became of the rows so far: rows = accepted + suppressed + the sum of rejected. `listed_bytes` of the list of bad rows hold."""

    rows: int = 0
    accepted: int = 0
    suppressed: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    listed_bytes: int = 0


class Bookmark:
    """How far the import of one file into one source came; replaced atomically after each acked batch."""

    def __init__(self, cache: Path, source: str, file_id: str) -> None:
        self._path = cache / f"{source}-{file_id}.json"

    def read(self) -> Progress:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Progress)
        except (OSError, msgspec.DecodeError):
            return Progress()

    def write(self, progress: Progress) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_bytes(msgspec.json.encode(progress))
        fresh.replace(self._path)

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)


class BadRows:
    """A file of JSON Lines: each row that does not count, with its number and reason. Holds no content of rows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, size: int) -> None:
        """Keep what the bookmark vouches for; what a killed run wrote behind it comes again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.truncate(size)

    def add(self, rows: list[BadRow]) -> int:
        """Append and return how long the file is now."""
        with self.path.open("ab") as file:
            file.writelines(msgspec.json.encode(row) + b"\n" for row in rows)
            return file.tell()

    def first(self, count: int) -> list[BadRow]:
        with self.path.open("rb") as file:
            return [msgspec.json.decode(line, type=BadRow) for _, line in zip(range(count), file, strict=False)]


def cache_dir() -> Path:
    """Return where bookmarks are kept."""
    own = os.environ.get("CHURNSIGNAL_CACHE_DIR")
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "churnsignal") / "imports"
