"""The documents that come from the code are what the code says now."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("docs_tool", ROOT / "tools" / "docs.py")
assert _SPEC is not None and _SPEC.loader is not None
docs = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(docs)


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    files: dict[str, str] = docs.files()
    return files


def test_the_committed_documents_are_what_the_code_generates(generated: dict[str, str]) -> None:
    stale = [name for name, text in generated.items() if (ROOT / "docs" / name).read_text() != text]

    assert stale == [], "run `make docs`; explain a changed schema in docs/contracts/CHANGES.md"


# For probes, for browsers' SDKs, and what a signature guards.
OPEN = {"/healthz", "/readyz", "/version", "/metrics", "/v1/projects/{key}/settings", "/sourceConfig", "/slack/interactions", "/a/{token}"}


def test_nothing_else_is_answered_without_a_key_or_a_token(generated: dict[str, str]) -> None:
    apis = [json.loads(text) for name, text in generated.items() if name.startswith("openapi/")]

    unguarded = {
        path for api in apis for path, operations in api["paths"].items() for one in operations.values() if not one.get("security")
    }
    assert unguarded == OPEN


def test_every_setting_is_explained(generated: dict[str, str]) -> None:
    empty = [line for line in generated["configuration.md"].splitlines() if line.startswith("| `") and line.endswith("|  |")]

    assert not empty


def _links(path: Path) -> set[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    return {link.partition("#")[0] for link in found if "://" not in link and not link.startswith("#")}


def test_every_link_of_a_document_leads_somewhere() -> None:
    documents = [path for folder in ("", "docs", "docs/adr", "deploy") for path in (ROOT / folder).glob("*.md")]

    assert len(documents) > 20
    assert [f"{path.relative_to(ROOT)}: {link}" for path in documents for link in _links(path) if not (path.parent / link).exists()] == []


def test_the_japanese_readme_leads_to_the_same_places_by_the_same_commands() -> None:
    english, japanese = ROOT / "README.md", ROOT / "README.ja.md"

    def commands(path: Path) -> list[str]:
        return [
            line.partition("#")[0].strip()
            for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL)
            for line in block.splitlines()
        ]

    def there(path: Path) -> set[str]:
        return {link.replace(".ja.", ".en.") for link in _links(path) if not link.startswith("README")}

    assert commands(japanese) == commands(english)
    assert there(japanese) == there(english)
