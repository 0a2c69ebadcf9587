"""Files of history: rows become calls, slices keep limits, ids stay the same in every run."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from churnsignal_ingest.imports.calls import BadRow, Row, Sizes, Unreadable, call_of, slices
from churnsignal_ingest.imports.files import BadFile, BadRows, Bookmark, count_rows, digest, rows_of
from churnsignal_ingest.imports.run import import_file, try_file
from churnsignal_ingest.imports.upload import Answered, UploadFailed

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


SIZES = Sizes(rows=100, body_bytes=2000, call_bytes=500)


def timed(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": number, "occurred_at": "2020-01-02T03:04:05Z"} | fields


def test_slices_keep_both_limits_and_together_hold_every_row_once() -> None:
    rows: list[Row] = [timed(i, pad="x" * (i % 50)) for i in range(1000)]

    made = list(slices(rows, "f", 0, SIZES))

    bodies = [json.loads(part.body) for part in made]
    assert [call["messageId"] for body in bodies for call in body["batch"]] == [str(i) for i in range(1000)]
    assert all(body["historical"] for body in bodies)
    assert all(len(part.numbers) <= 100 and len(part.body) <= 2000 + 40 for part in made)
    assert [number for part in made for number in part.numbers] == list(range(1, 1001))
    assert [part.after for part in made] == [part.numbers[-1] for part in made]


@pytest.mark.parametrize("skip", [0, 1, 99, 100, 1000])
def test_a_second_run_goes_on_behind_the_rows_that_were_sent(skip: int) -> None:
    rows: list[Row] = [timed(i) for i in range(1000)]

    made = list(slices(rows, "f", skip, SIZES))

    assert [number for part in made for number in part.numbers] == list(range(skip + 1, 1001))


def test_rows_that_cannot_be_sent_are_named_and_the_others_go_on() -> None:
    rows: list[Row] = [timed(0), Unreadable("no"), {"id": 2}, timed(3, pad="x" * 500), timed(4, pad="\udcff"), {"type": "page"}, timed(6)]

    (part,) = slices(rows, "f", 0, SIZES)

    assert (part.numbers, part.after) == ([1, 7], 7)
    assert [(bad.row, bad.reason) for bad in part.bad] == [
        (2, "unreadable_row"),
        (3, "no_time"),
        (4, "event_too_large"),
        (5, "not_utf_8"),
        (6, "no_time"),
    ]
    assert all(bad.message for bad in part.bad)


def test_a_file_of_bad_rows_only_is_walked_to_its_end() -> None:
    (part,) = slices([Unreadable("no")] * 250, "f", 0, SIZES)

    assert (part.numbers, len(part.bad), part.after) == ([], 250, 250)


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    lines = ["account_id,user_id,event,occurred_at,quantity", *(f"a{i % 3},u{i},commit,2020-01-02T03:04:05Z,{i}" for i in range(2500))]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_three_kinds_of_files_say_the_same(csv_file: Path) -> None:
    rows = [row for row in rows_of(csv_file) if isinstance(row, dict)]
    lines, parquet = csv_file.with_suffix(".jsonl"), csv_file.with_suffix(".parquet")
    lines.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    moments = [row | {"occurred_at": datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)} for row in rows]
    pl.DataFrame(moments).write_parquet(parquet)

    assert list(rows_of(lines)) == rows
    assert [call_of(row, 0, "f")["timestamp"] for row in rows_of(parquet) if isinstance(row, dict)] == ["2020-01-02T03:04:05+00:00"] * 2500
    assert {count_rows(path) for path in (csv_file, lines, parquet)} == {2500}


@pytest.mark.parametrize(("name", "content"), [("a.xls", ""), ("a.csv", ""), ("a.csv", "x,y\n1,2\n"), ("a.parquet", "no")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)

    with pytest.raises(BadFile, match=name):
        list(rows_of(path))


def test_a_row_that_cannot_be_read_is_unreadable_alone(tmp_path: Path) -> None:
    lines, table = tmp_path / "a.jsonl", tmp_path / "a.csv"
    lines.write_bytes(b'{"n":1}\n[2]\n{oops\n{"n":"\xff"}\n{"n":5}\n')
    table.write_bytes(b"event,n\na,1\nb,2,3\nc,\xff\nd," + b"x" * 200_000 + b"\ne,5\n")

    assert [isinstance(row, Unreadable) for row in rows_of(lines)] == [False, True, True, True, False]
    assert [isinstance(row, Unreadable) for row in rows_of(table)] == [False, True, False, True, False]
    assert next(row for row in rows_of(lines) if isinstance(row, Unreadable)).startswith("Line 2 is no JSON object")


def test_a_file_in_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    japanese, mixed = tmp_path / "a.csv", tmp_path / "b.csv"
    japanese.write_bytes("event,occurred_at,顧客名\na,2020-01-02,東京\n".encode("cp932"))
    mixed.write_bytes(b"event,occurred_at,name\na,2020-01-02,plain\n" + "b,2020-01-02,東京\n".encode("cp932"))

    with pytest.raises(BadFile, match=r"no UTF-8\. Save the file as UTF-8"):
        list(rows_of(japanese))
    assert [(bad.row, bad.reason) for part in slices(rows_of(mixed), "f", 0, SIZES) for bad in part.bad] == [(2, "not_utf_8")]


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    for path, text in ((tmp_path / "a.csv", "event\na\n"), (tmp_path / "a.jsonl", '{"event":"a"}\n')):
        path.write_text(text, encoding="utf-8-sig")

        assert list(rows_of(path)) == [{"event": "a"}]


def test_a_decimal_of_a_warehouse_stays_a_number(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"event": ["a"], "occurred_at": ["2020-01-02"], "seats": [Decimal(12)], "user_id": [Decimal(7)]}).write_parquet(path)

    (part,) = slices(rows_of(path), "f", 0, SIZES)

    (call,) = json.loads(part.body)["batch"]
    assert (call["properties"], call["userId"]) == ({"seats": 12}, 7)


class FlakyService:
    """Takes batches until it is told to fail; refuses the tenth event of each ten, and drops the first of a batch as suppressed."""

    def __init__(self, batches: int) -> None:
        self.left = batches
        self.ids: list[str] = []

    def send(self, body: bytes) -> Answered:
        if not self.left:
            raise UploadFailed("gone")
        self.left -= 1
        calls = json.loads(body)["batch"]
        self.ids += [call["messageId"] for call in calls]
        return Answered([(index, "bad_timestamp", "why") for index in range(9, len(calls), 10)], 1)


def test_an_interrupted_import_goes_on_and_counts_and_lists_every_row_once(csv_file: Path, tmp_path: Path) -> None:
    csv_file.write_text(csv_file.read_text() + "too,many,cells,in,this,row\n")
    bookmark, bad_rows = Bookmark(tmp_path / "cache", "web", digest(csv_file)), BadRows(tmp_path / "cache" / "bad.jsonl")
    service = FlakyService(1)
    with pytest.raises(UploadFailed):
        import_file(csv_file, service, bookmark, bad_rows, lambda _progress: None)
    # A run that was killed between the list and the bookmark leaves lines that come again.
    bad_rows.add([BadRow(1010, "bad_timestamp", "why")])
    service.left = 100

    done = import_file(csv_file, service, bookmark, bad_rows, lambda _progress: None)
    again = import_file(csv_file, service, bookmark, bad_rows, lambda _progress: None)

    listed = bad_rows.first(1000)
    assert done == again
    assert (done.rows, done.accepted, done.suppressed, done.rejected) == (2501, 2247, 3, {"bad_timestamp": 250, "unreadable_row": 1})
    assert service.ids == [f"{digest(csv_file)}-{i}" for i in range(2500)]
    assert [bad.row for bad in listed] == [*range(10, 2501, 10), 2501]
    assert listed[-1] == BadRow(2501, "unreadable_row", "Line 2502 has more cells than the header.")


def test_a_dry_run_judges_and_sends_nothing(csv_file: Path, tmp_path: Path) -> None:
    csv_file.write_text(csv_file.read_text() + "a,u,,2020-01-01,1\na,,commit,2020-01-01,1\na,u,commit,never,1\na,u,commit,,1\n")
    bad_rows = BadRows(tmp_path / "bad.jsonl")

    done = try_file(csv_file, new_judge(), NOW, bad_rows, lambda _progress: None)

    assert (done.rows, done.accepted) == (2504, 2500)
    assert [(bad.row, bad.reason) for bad in bad_rows.first(9)] == [
        (2501, "no_event_name"),
        (2502, "no_user_anon_id"),
        (2503, "bad_timestamp"),
        (2504, "no_time"),
    ]
