"""Door. Inputs of strangers, kept as files: what each must come to is the name of its folder."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "corpus" / "ingest"


@dataclass(frozen=True, slots=True)
class Sample:
    """One input. `verdict` is `accepted` or a code of refusal."""

    verdict: str
    name: str
    raw: bytes

    def __str__(self) -> str:
        return f"{self.verdict}-{self.name}"


def samples(kind: str) -> list[Sample]:
    """Return those of a kind: `calls` stand in a batch with others, `bodies` are whole requests."""
    return [Sample(path.parent.name, path.stem, path.read_bytes()) for path in sorted((FOLDER / kind).glob("*/*.json"))]
