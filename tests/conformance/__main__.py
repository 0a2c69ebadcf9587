"""Root. Run the conformance suite and write its table to docs/conformance.md: python -m tests.conformance."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from tests.conformance.suite import CLIENTS, Cell, Matrix, measure
from tests.support.fault_proxy import MEANINGS, Fault
from tests.support.stack import open_stack

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
HEADING = "client"
INTRODUCTION = """# SDKs that were tried

Written by a run of `make conformance`; do not edit. Each SDK is the released one, with nothing changed but the host. Each cell is a run of its own, with
ingest, Kafka and scoring as they are in production: how many of the client's calls scoring applied, each once, and how many calls reached Kafka
more than once because the client sent them again. A call counts when it is on its account, the ones that named only a user or a device included.

"""
NOTES = """
The browser SDKs run in jsdom, which enforces CORS, preflights included; they fetch their settings from the same host first. CloudEvents has no
client that sends: `requests` does, with urllib3's retries.

"""


def document(matrix: Matrix) -> str:
    """Return the committed document."""
    head = [[HEADING, *Fault], ["---"] * (1 + len(Fault))]
    body = [[f"{client.title} {client.version}", *(_told(cell) for cell in matrix.cells if cell.client is client)] for client in CLIENTS]
    table = "".join(f"| {' | '.join(row)} |\n" for row in head + body)
    legend = "".join(f"- **{fault}**: {meaning}.\n" for fault, meaning in MEANINGS.items())
    return INTRODUCTION + table + NOTES + legend


def _told(cell: Cell) -> str:
    again = f", {cell.again} sent again" if cell.again else ""
    return f"{cell.applied} of {cell.calls}{again}"


def main() -> int:
    """Return 1 when a cell is not whole; the table is printed then, and not written."""
    with tempfile.TemporaryDirectory() as directory, open_stack(os.environ) as stack:
        matrix = asyncio.run(measure(stack, Path(directory)))
    text = document(matrix)
    torn = [cell for cell in matrix.cells if cell.applied != cell.calls or cell.failed or cell.errors]
    if torn:
        print(text)
        for cell in torn:
            print(f"{cell.client.title}, {cell.fault}: gave up on {len(cell.failed)}; {cell.errors[:3]}", file=sys.stderr)
        return 1
    DOCUMENT.write_text(text)
    print(f"wrote {DOCUMENT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
