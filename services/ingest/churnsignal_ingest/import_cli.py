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
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from churnsignal_ingest.app import read_account_paths
from churnsignal_ingest.imports.files import BadFile, Bookmark, Progress, cache_dir, count_rows, digest
from churnsignal_ingest.imports.run import import_file, try_file
from churnsignal_ingest.imports.upload import Uploader, UploadFailed
from churnsignal_ingest.settings import IngestSettings
from churnsignal_ingest.validate.judge import Judge
from churnsignal_ingest.validate.limits import Limits


def dry_run(file: Path, settings: IngestSettings, *, as_json: bool) -> int:
    """Say what an import would do, and send nothing."""
    judge = Judge(Limits(), read_account_paths(settings.config_dir), settings.partitions, partial(secrets.token_hex, 16))
    clock = open_clock(settings.clock, dev=settings.dev)

    def work(told: Callable[[Progress], None]) -> Progress:
        return try_file(file, judge, clock.now(), told)

    return _run(file, work, as_json=as_json)


def send(file: Path, source: str, url: str, write_key: str, *, restart: bool, as_json: bool) -> int:
    """Import the file; return the exit code: 0 done, 1 failed, 130 interrupted."""

    def work(told: Callable[[Progress], None]) -> Progress:
        bookmark = Bookmark(cache_dir(), source, digest(file))
        if restart:
            bookmark.forget()
        uploader = Uploader(url, write_key)
        try:
            return import_file(file, uploader, bookmark, told)
        finally:
            uploader.close()

    return _run(file, work, as_json=as_json)


def _run(file: Path, work: Callable[[Callable[[Progress], None]], Progress], *, as_json: bool) -> int:
    try:
        with _bar(count_rows(file)) as told:
            done = work(told)
    except (BadFile, UploadFailed, OSError, UnicodeDecodeError) as error:
        print(f"{error}\nNothing acknowledged is lost: the same command goes on where it stopped.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where it stopped.", file=sys.stderr)
        return 130
    if as_json:
        print(json_module.dumps(msgspec.to_builtins(done)))
    else:
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(done.rejected.items())) or "none"
        print(f"{done.rows} rows: {done.accepted} accepted, {sum(done.rejected.values())} rejected ({refused})")
    return 0


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
