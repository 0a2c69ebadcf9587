"""The documents that come from the code are what the code says now."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("docs_tool", ROOT / "tools" / "docs.py")
assert _SPEC is not None and _SPEC.loader is not None
docs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(docs)
GENERATED: dict[str, str] = docs.files()


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_a_committed_document_is_what_the_code_generates(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == GENERATED[name], "run `make docs`; explain a changed schema in docs/contracts/CHANGES.md"


def test_every_setting_is_explained() -> None:
    empty = [line for line in GENERATED["configuration.md"].splitlines() if line.startswith("| `") and line.endswith("|  |")]

    assert not empty
