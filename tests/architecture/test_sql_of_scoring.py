"""Scoring's statements name no schema: a rebuild runs the same statements on a copy of the tables beside the live ones."""

import re
from pathlib import Path

SCORING = Path(__file__).parents[2] / "services" / "scoring" / "churnsignal_scoring"
QUALIFIED = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN|TABLE|OF)\s+scoring\.", re.IGNORECASE)


def named(text: str) -> list[str]:
    return QUALIFIED.findall(text)


def test_no_statement_names_the_schema() -> None:
    # The migrations make the live tables, and a rebuild must tell them from its own.
    files = [path for path in SCORING.rglob("*.py") if not {"migrations", "rebuild"} & set(path.parts)]

    assert len(files) > 50
    assert [path.name for path in files if named(path.read_text())] == []


def test_a_statement_that_does_would_be_found() -> None:
    assert named("SELECT 1 FROM scoring.accounts")
