"""Keyset pages."""

import pytest
from churnsignal_common.runtime.paging import BadCursor, decode_cursor, encode_cursor, page


def test_a_cursor_gives_back_the_key_it_was_made_of() -> None:
    assert decode_cursor(encode_cursor("acme", 12), 2) == ["acme", 12]


@pytest.mark.parametrize("cursor", ["", "x", "!!!", encode_cursor("acme"), encode_cursor("acme", 1, 2), "e30", "ーー"])
def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor, match="first page"):
        decode_cursor(cursor, 2)


def test_the_row_beyond_the_limit_only_tells_that_there_is_more() -> None:
    rows = [{"id": n} for n in range(3)]

    first = page(rows, 2, "id")

    assert first["items"] == rows[:2]
    assert decode_cursor(first["next_cursor"], 1) == [1]


def test_the_last_page_has_no_cursor() -> None:
    assert page([{"id": 1}], 2, "id") == {"items": [{"id": 1}], "next_cursor": None}
