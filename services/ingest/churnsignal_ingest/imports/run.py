"""Flow. Import one file: slice by slice, noting after each answer how far we are, so that a second run goes on from there."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from churnsignal_ingest.imports.calls import BadRow, Sizes, Slice, slices
from churnsignal_ingest.imports.files import BadRows, Bookmark, Progress, digest, rows_of
from churnsignal_ingest.imports.upload import Answered
from churnsignal_ingest.validate.batches import Sender, judge_all, open_batch
from churnsignal_ingest.validate.judge import Judge, Scope
from churnsignal_ingest.validate.limits import Limits
from churnsignal_ingest.validate.reasons import REASONS
from churnsignal_ingest.validate.suppressed import NOBODY

_SIZES = Sizes(rows=1000, body_bytes=400 * 1024, call_bytes=Limits().event_bytes)


class Service(Protocol):
    """What takes the calls."""

    def send(self, body: bytes) -> Answered: ...


def import_file(path: Path, service: Service, bookmark: Bookmark, bad_rows: BadRows, told: Callable[[Progress], None]) -> Progress:
    """Send every row that an earlier run did not; return what became of all rows, counting the earlier runs."""
    progress = bookmark.read()
    bad_rows.begin(progress.listed_bytes)
    told(progress)
    for part in slices(rows_of(path), digest(path), progress.rows, _SIZES):
        answered = service.send(part.body) if part.numbers else Answered()
        _note(progress, part, answered, bad_rows)
        bookmark.write(progress)
        told(progress)
    return progress


def try_file(path: Path, judge: Judge, now: datetime, bad_rows: BadRows, told: Callable[[Progress], None]) -> Progress:
    """Judge every row as the service would, and send nothing."""
    progress = Progress()
    bad_rows.begin(0)
    for part in slices(rows_of(path), digest(path), 0, _SIZES):
        judged = judge_all(open_batch(part.body), Sender("dry-run", Scope.IMPORT), now, judge, NOBODY, importing=True)
        refused = [
            (each.index, each.reason.value, f"{REASONS[each.reason].cause} {REASONS[each.reason].remedy}") for each in judged.refused
        ]
        _note(progress, part, Answered(refused), bad_rows)
        told(progress)
    return progress


def _note(progress: Progress, part: Slice, answered: Answered, bad_rows: BadRows) -> None:
    refused: Iterable[BadRow] = (BadRow(part.numbers[index], code, message) for index, code, message in answered.refused)
    bad = sorted([*part.bad, *refused], key=lambda each: each.row)
    progress.rows = part.after
    progress.accepted += len(part.numbers) - len(answered.refused) - answered.suppressed
    progress.suppressed += answered.suppressed
    progress.rejected = dict(Counter(progress.rejected) + Counter(each.reason for each in bad))
    progress.listed_bytes = bad_rows.add(bad)
