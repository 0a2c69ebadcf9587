"""Unmodified SDKs, only the host changed, on good days and bad ones: what each client believes is what was applied, once."""

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest
from churnsignal_common.contracts.topics import USAGE_EVENTS

from tests.conformance.__main__ import DOCUMENT, HEADING
from tests.conformance.suite import CLIENTS, Cell, Matrix, cells, measure
from tests.support.fault_proxy import Fault
from tests.support.stack import Stack

PLACES = [(client.title, fault) for client in CLIENTS for fault in Fault]


@pytest.fixture(scope="module")
def matrix(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """The whole run, shared by the tests that read it."""
    return asyncio.run(measure(stack, tmp_path_factory.mktemp("conformance")))


@pytest.fixture
def cell(matrix: Matrix, request: pytest.FixtureRequest) -> Cell:
    return next(cell for cell in matrix.cells if (cell.client.title, cell.fault) == request.param)


@pytest.mark.parametrize("cell", PLACES, indirect=True, ids=lambda place: f"{place[0]}, {place[1]}")
def test_what_the_client_believes_is_what_was_applied_once(cell: Cell) -> None:
    assert (cell.version, cell.errors, cell.failed) == (cell.client.version, [], [])
    assert len(set(cell.ids)) == len(cell.ids) == cell.calls
    assert [identity for identity in cell.ids if not cell.copies[identity]] == []
    assert cell.applied == cell.calls
    assert cell.fired == (0 if cell.fault is Fault.NONE else 2)


def test_calls_whose_answer_was_lost_came_again(matrix: Matrix) -> None:
    assert [cell.client.title for cell in matrix.cells if cell.fault is Fault.REPLY_LOST and not cell.again] == []


def test_scorings_books_close_over_all_clients(matrix: Matrix) -> None:
    calls = sum(cell.calls for cell in matrix.cells)
    again = sum(cell.again for cell in matrix.cells)
    by_topic, by_word = Counter[str](), Counter[tuple[str, str]]()
    for (topic, outcome, reason), count in matrix.outcomes.items():
        by_topic[topic] += count
        by_word[outcome, reason] += count

    assert by_topic == matrix.read
    assert matrix.outcomes[USAGE_EVENTS, "applied", ""] == calls + sum(cell.links for cell in matrix.cells)
    assert by_word["duplicate", ""] == again
    # A link that a later one has overtaken is the one thing that may be passed over; nothing is left parked, dead, or taken for another call.
    assert {word for word, count in by_word.items() if count} <= {
        ("applied", ""),
        ("duplicate", ""),
        ("moved", ""),
        ("ignored", "stale_link"),
    }


def test_nothing_was_refused_and_no_record_holds_a_key(matrix: Matrix) -> None:
    assert (matrix.refused, matrix.leaked) == (0, 0)


def test_the_committed_table_has_these_clients_and_scenarios_and_every_cell_is_whole() -> None:
    rows = [line.strip("| ").split(" | ") for line in Path(DOCUMENT).read_text().splitlines() if line.startswith("| ")]
    head, body = rows[0], rows[2:]

    assert head == [HEADING, *Fault]
    assert [row[0] for row in body] == [f"{client.title} {client.version}" for client in CLIENTS]
    for row, client in zip(body, CLIENTS, strict=True):
        assert [int(re.match(r"(\d+) of \1(?:, \d+ sent again)?$", text)[1]) for text in row[1:]] == [  # type: ignore[index] # no match fails too
            cell.calls for cell in cells() if cell.client is client
        ]


def test_the_sdks_of_backends_make_a_thousand_calls_each() -> None:
    assert [client.title for client in CLIENTS if client.driver in ("python_sdks.py", "node_sdks.cjs") and client.calls < 1000] == []
