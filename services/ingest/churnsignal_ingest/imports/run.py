"""Flow. Import one file: slice by slice, noting after each answer how far we are, so that a second run goes on from there."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from churnsignal_ingest.imports.calls import slices
from churnsignal_ingest.imports.files import Bookmark, Progress, digest, rows_of
from churnsignal_ingest.imports.upload import Uploader
from churnsignal_ingest.validate.batches import Sender, judge_all, open_batch
from churnsignal_ingest.validate.judge import Judge, Scope
from churnsignal_ingest.validate.suppressed import NOBODY

_SLICE_ROWS = 1000
_SLICE_BYTES = 400 * 1024


def import_file(path: Path, uploader: Uploader, bookmark: Bookmark, told: Callable[[Progress], None]) -> Progress:
    """Send every row that an earlier run did not; return what became of all rows, counting the earlier runs."""
    progress = bookmark.read()
    told(progress)
    for part in slices(rows_of(path), digest(path), progress.rows, _SLICE_ROWS, _SLICE_BYTES):
        _note(progress, part.after, part.rows, Counter(uploader.send(part.body)))
        bookmark.write(progress)
        told(progress)
    return progress


def try_file(path: Path, judge: Judge, now: datetime, told: Callable[[Progress], None]) -> Progress:
    """Judge every row as the service would, and send nothing."""
    progress = Progress()
    for part in slices(rows_of(path), digest(path), 0, _SLICE_ROWS, _SLICE_BYTES):
        judged = judge_all(open_batch(part.body), Sender("dry-run", Scope.IMPORT), now, judge, NOBODY, importing=True)
        _note(progress, part.after, part.rows, Counter(refused.reason.value for refused in judged.refused))
        told(progress)
    return progress


def _note(progress: Progress, after: int, rows: int, rejected: Counter[str]) -> None:
    progress.rows = after
    progress.accepted += rows - rejected.total()
    progress.rejected = dict(Counter(progress.rejected) + rejected)
