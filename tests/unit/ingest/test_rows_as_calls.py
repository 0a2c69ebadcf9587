"""Files of history: rows become calls, slices keep limits, ids stay the same in every run."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from churnsignal_ingest.imports.calls import call_of, slices
from churnsignal_ingest.imports.files import BadFile, Bookmark, Progress, count_rows, digest, rows_of
from churnsignal_ingest.imports.run import import_file, try_file
from churnsignal_ingest.imports.upload import UploadFailed

from tests.unit.ingest.cases import NOW, new_judge

ROW = {"account_id": "acme", "user_id": "u1", "event": "commit", "occurred_at": "2020-01-02T03:04:05Z", "quantity": "3", "note": ""}


def test_a_row_becomes_a_call_with_its_other_columns_as_properties() -> None:
    assert call_of(ROW, 7, "f") == {
        "type": "track",
        "messageId": "f-7",
        "event": "commit",
        "userId": "u1",
        "anonymousId": None,
        "timestamp": "2020-01-02T03:04:05Z",
        "context": {"groupId": "acme"},
        "properties": {"quantity": "3"},
    }


def test_a_row_may_bring_its_own_id_or_be_a_whole_call() -> None:
    assert call_of(ROW | {"id": 5}, 7, "f")["messageId"] == "5"
    assert call_of({"type": "identify", "userId": "u"}, 7, "f") == {"type": "identify", "userId": "u", "messageId": "f-7"}
    assert call_of({"type": "page", "messageId": "own"}, 7, "f")["messageId"] == "own"


def test_slices_keep_both_limits_and_together_hold_every_row_once() -> None:
    rows = [{"id": i, "pad": "x" * (i % 50)} for i in range(1000)]

    made = list(slices(rows, "f", 0, 100, 2000))

    ids = [call["messageId"] for part in made for call in json.loads(part.body)["batch"]]
    assert ids == [str(i) for i in range(1000)]
    assert all(part.rows <= 100 and len(part.body) <= 2000 + 20 for part in made)
    assert [part.after for part in made] == [sum(p.rows for p in made[: i + 1]) for i in range(len(made))]


@pytest.mark.parametrize("skip", [0, 1, 99, 100, 1000])
def test_a_second_run_goes_on_behind_the_rows_that_were_sent(skip: int) -> None:
    rows = [{"id": i} for i in range(1000)]

    assert sum(part.rows for part in slices(rows, "f", skip, 100, 10_000)) == 1000 - skip


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    lines = ["account_id,user_id,event,occurred_at,quantity", *(f"a{i % 3},u{i},commit,2020-01-02T03:04:05Z,{i}" for i in range(2500))]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_three_kinds_of_files_say_the_same(csv_file: Path) -> None:
    rows = list(rows_of(csv_file))
    lines, parquet = csv_file.with_suffix(".jsonl"), csv_file.with_suffix(".parquet")
    lines.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    moments = [row | {"occurred_at": datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)} for row in rows]
    pl.DataFrame(moments).write_parquet(parquet)

    assert list(rows_of(lines)) == rows
    assert [call_of(row, 0, "f")["timestamp"] for row in rows_of(parquet)] == ["2020-01-02T03:04:05+00:00"] * 2500
    assert {count_rows(path) for path in (csv_file, lines, parquet)} == {2500}


@pytest.mark.parametrize(("name", "content"), [("a.xls", ""), ("a.jsonl", "{}\n[1]\n"), ("a.jsonl", "{oops"), ("a.parquet", "no")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)

    with pytest.raises(BadFile, match=name):
        list(rows_of(path))


class FlakyUploader:
    """Takes batches until it is told to fail; names every tenth event as refused."""

    def __init__(self, batches: int) -> None:
        self.left = batches
        self.ids: list[str] = []

    def send(self, body: bytes) -> list[str]:
        if not self.left:
            raise UploadFailed("gone")
        self.left -= 1
        calls = json.loads(body)["batch"]
        self.ids += [call["messageId"] for call in calls]
        return ["bad_timestamp"] * (len(calls) // 10)


def test_an_interrupted_import_goes_on_and_counts_every_row_once(csv_file: Path, tmp_path: Path) -> None:
    bookmark = Bookmark(tmp_path / "cache", "web", digest(csv_file))
    uploader: Any = FlakyUploader(1)
    with pytest.raises(UploadFailed):
        import_file(csv_file, uploader, bookmark, lambda _progress: None)
    uploader.left = 100

    done = import_file(csv_file, uploader, bookmark, lambda _progress: None)
    again = import_file(csv_file, uploader, bookmark, lambda _progress: None)

    assert done == again == Progress(2500, 2250, {"bad_timestamp": 250})
    assert uploader.ids == [f"{digest(csv_file)}-{i}" for i in range(2500)]


def test_a_dry_run_judges_and_sends_nothing(csv_file: Path) -> None:
    csv_file.write_text(csv_file.read_text() + "a,u,,2020-01-01,1\na,,commit,2020-01-01,1\na,u,commit,never,1\n")

    assert try_file(csv_file, new_judge(), NOW, lambda _progress: None) == Progress(
        2503, 2500, {"no_event_name": 1, "no_user_anon_id": 1, "bad_timestamp": 1}
    )
