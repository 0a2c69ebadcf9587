"""Door. Where a benchmark puts its result: JSON for machines, a table for people."""

import json
import os
import platform
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def write(name: str, *, rounds: int, ratios: dict[str, float], figures: dict[str, float], rows: list[dict[str, Any]]) -> None:
    """Write `results/<name>.json` and print the same as a table."""
    FOLDER.mkdir(exist_ok=True)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    result = {"name": name, "machine": machine, "rounds": rounds, "ratios": ratios, "figures": figures, "rows": rows}
    (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n{name}: {machine}, {rounds} rounds")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = [columns, *([_text(row.get(c)) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    for line in table:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    for key, value in {**ratios, **figures}.items():
        print(f"  {key} = {_text(value)}")


def _text(value: Any) -> str:
    return (
        f"{value:,.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}" if isinstance(value, float) else str(value)
    )
