"""Door. Files of history: CSV, JSON Lines and Parquet, row by row; and how far an earlier run came."""

import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec


class BadFile(Exception):
    """The file cannot be read as what its name says; the message names the place."""


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a .csv, .jsonl or .parquet file."""
    match path.suffix.lower():
        case ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                yield from csv.DictReader(file)
        case ".jsonl" | ".ndjson":
            yield from _json_lines(path)
        case ".parquet":
            yield from _parquet(path)
        case other:
            raise BadFile(f"{path}: {other or 'no ending'}: give a .csv, .jsonl or .parquet file")


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BadFile(f"{path}:{number}: {error}: each line must be a JSON object") from error


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import polars as pl  # noqa: PLC0415 heavy, and only this kind of file needs it

    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadFile(f"{path}: {error}") from error
    yield from frame.iter_rows(named=True)


def count_rows(path: Path) -> int:
    """Return how many rows there are, for the progress bar."""
    return sum(1 for _ in rows_of(path))


def digest(path: Path) -> str:
    """Return a short digest of the contents: the same file has the same ids wherever it lies."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@dataclass(slots=True)
class Progress:
    """What became of the rows so far: rows = accepted + the sum of rejected."""

    rows: int = 0
    accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)


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


def cache_dir() -> Path:
    """Return where bookmarks are kept."""
    own = os.environ.get("CHURNSIGNAL_CACHE_DIR")
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "churnsignal") / "imports"
