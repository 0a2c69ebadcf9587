"""Root. `churnsignal-ingest import FILE --source NAME`: history from a file, with a progress bar, resumable, exactly counted."""

import json as json_module
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
from churnsignal_common.clock import open_clock
from churnsignal_common.runtime.start import judged
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from churnsignal_ingest.check import read_account_paths
from churnsignal_ingest.imports.files import BadFile, BadRows, Bookmark, Progress, cache_dir, count_rows, digest
from churnsignal_ingest.imports.run import import_file, try_file
from churnsignal_ingest.imports.upload import Uploader, UploadFailed
from churnsignal_ingest.keys_cli import create_key, with_store
from churnsignal_ingest.settings import IngestSettings
from churnsignal_ingest.validate.judge import Judge, Scope
from churnsignal_ingest.validate.limits import Limits

_SHOWN = 20


def import_(
    file: Path,
    *,
    source: str,
    url: str | None = None,
    write_key: str | None = None,
    dry_run: bool = False,
    restart: bool = False,
    json: bool = False,
) -> None:
    """Import history from a .csv, .jsonl or .parquet file; it never alerts anyone. The same command again goes on where it stopped.

    Columns: account_id, user_id, event, occurred_at, and any others as properties; or whole calls with a `type`.
    Without --write-key a key is made for the run and revoked after it. A file that was changed since is another file: all of its rows are sent.

    Example: churnsignal-ingest import events.parquet --source warehouse

    Parameters
    ----------
    file
        What to import.
    source
        Under which name it counts; an event's id counts once within it.
    url
        Where ingest listens; this machine without it.
    write_key
        A key of scope import.
    dry_run
        Send nothing, and say which rows would be refused.
    restart
        Begin at the first row again; what was taken before is found as duplicates.
    json
        Print what came of it as JSON.
    """
    settings, _ = judged("ingest", IngestSettings)
    if dry_run:
        raise SystemExit(_dry_run(file, settings, as_json=json))
    where = url or f"http://localhost:{settings.port('ingest')}"
    if write_key is not None:
        raise SystemExit(_send(file, source, where, write_key, restart=restart, as_json=json))
    made, key = with_store(lambda store, now: create_key(store, now, source, None, Scope.IMPORT))
    try:
        code = _send(file, source, where, key, restart=restart, as_json=json)
    finally:
        with_store(lambda store, now: store.revoke_key(made.id, now))
    raise SystemExit(code)


def _dry_run(file: Path, settings: IngestSettings, *, as_json: bool) -> int:
    """Say what an import would do, and send nothing."""
    judge = Judge(Limits(), read_account_paths(settings.config_dir).at, settings.partitions, partial(secrets.token_hex, 16))
    clock = open_clock(settings.clock, dev=settings.dev)

    def work(bad_rows: BadRows, told: Callable[[Progress], None]) -> Progress:
        return try_file(file, judge, clock.now(), bad_rows, told)

    return _run(file, "dry-run", work, as_json=as_json)


def _send(file: Path, source: str, url: str, write_key: str, *, restart: bool, as_json: bool) -> int:
    """Import the file; return the exit code: 0 done, 1 failed, 130 interrupted."""

    def work(bad_rows: BadRows, told: Callable[[Progress], None]) -> Progress:
        bookmark = Bookmark(cache_dir(), source, digest(file))
        if restart:
            bookmark.forget()
        uploader = Uploader(url, write_key)
        try:
            return import_file(file, uploader, bookmark, bad_rows, told)
        finally:
            uploader.close()

    return _run(file, source, work, as_json=as_json)


def _run(file: Path, name: str, work: Callable[[BadRows, Callable[[Progress], None]], Progress], *, as_json: bool) -> int:
    try:
        bad_rows = BadRows(cache_dir() / f"{name}-{digest(file)}.bad-rows.jsonl")
        with _bar(count_rows(file)) as told:
            done = work(bad_rows, told)
    except (BadFile, UploadFailed, OSError) as error:
        said = f"{error.filename or file}: {error.strerror}" if isinstance(error, OSError) else error
        print(f"{said}\nNothing acknowledged is lost: the same command goes on where it stopped.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where it stopped.", file=sys.stderr)
        return 130
    _tell(done, bad_rows, as_json=as_json)
    return 0 if done.accepted + done.suppressed or not done.rows else 1


def _tell(done: Progress, bad_rows: BadRows, *, as_json: bool) -> None:
    count = sum(done.rejected.values())
    if as_json:
        counts = {"rows": done.rows, "accepted": done.accepted, "suppressed": done.suppressed, "rejected": done.rejected}
        print(json_module.dumps(counts | {"bad_rows": str(bad_rows.path), "first_bad_rows": msgspec.to_builtins(bad_rows.first(_SHOWN))}))
        return
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(done.rejected.items())) or "none"
    print(f"{done.rows} rows: {done.accepted} accepted, {done.suppressed} suppressed, {count} rejected ({reasons})")
    for bad in bad_rows.first(_SHOWN):
        print(f"row {bad.row}: {bad.reason}: {bad.message}", file=sys.stderr)
    if count:
        print(f"All {count} bad rows are listed in {bad_rows.path}. Mend them in a file of their own and import that.", file=sys.stderr)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Progress], None]]:
    columns = (
        TextColumn("importing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows, {task.fields[refused]} rejected"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total, refused=0)
        yield lambda progress: bar.update(task, completed=progress.rows, refused=sum(progress.rejected.values()))
