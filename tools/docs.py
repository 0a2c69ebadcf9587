"""Root. Write the documents that come from the code: contracts, OpenAPI, settings, reasons. Run it after a change of any of them."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from churnsignal_alerts.api import service as alerts_api
from churnsignal_alerts.settings import AlertsSettings
from churnsignal_common.contracts.generate import files as contract_files
from churnsignal_common.runtime.health import Readiness
from churnsignal_common.runtime.http import build_app
from churnsignal_common.runtime.settings import ServiceSettings
from churnsignal_ingest.api.admin import Behind, add_admin
from churnsignal_ingest.app import ABOUT as INGEST
from churnsignal_ingest.settings import IngestSettings
from churnsignal_ingest.validate.reasons import PROBLEMS, REASONS
from churnsignal_scoring.api import add_api
from churnsignal_scoring.app import ABOUT as SCORING
from churnsignal_scoring.settings import ScoringSettings
from churnsignal_scoring.sources_api import add_sources
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from pydantic_core import PydanticUndefined

DOCS = Path(__file__).resolve().parent.parent / "docs"
_HEAD = "Generated from the code by `make docs`; do not edit.\n\n"
_SERVICES: tuple[tuple[str, type[ServiceSettings]], ...] = (
    ("every service", ServiceSettings),
    ("ingest", IngestSettings),
    ("scoring", ScoringSettings),
    ("alerts", AlertsSettings),
)


def _configuration() -> str:
    parts = ["# Settings\n\n", _HEAD, "All come from the environment. Each may instead be read from a file named by `<NAME>_FILE`.\n"]
    shared = set(ServiceSettings.model_fields)
    for title, kind in _SERVICES:
        parts.append(f"\n## {title[0].upper()}{title[1:]}\n\n| name | default | secret | what |\n|---|---|---|---|\n")
        for name, field in kind.model_fields.items():
            if kind is ServiceSettings or name not in shared:
                default = "required" if field.default is PydanticUndefined else "" if field.default is None else f"`{field.default}`"
                secret = "yes" if "Secret" in str(field.annotation) else ""
                parts.append(f"| `{field.alias}` | {default} | {secret} | {_cell(field.description or '')} |\n")
    return "".join(parts)


def _reasons() -> str:
    head = "# Why ingest refuses\n\n" + _HEAD + "Codes are stable. An event that is refused never takes its batch along.\n"
    events = ((reason.value, "", row.cause, row.remedy) for reason, row in REASONS.items())
    requests = ((problem.value, str(row.status), row.cause, row.remedy) for problem, row in PROBLEMS.items())
    return head + _rows("Of an event", events) + _rows("Of a whole request", requests)


def _rows(title: str, rows: Iterable[tuple[str, str, str, str]]) -> str:
    lines = "".join(f"| `{code}` | {status} | {_cell(cause)} | {_cell(remedy)} |\n" for code, status, cause, remedy in rows)
    return f"\n## {title}\n\n| code | status | cause | remedy |\n|---|---|---|---|\n{lines}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


class _Nothing:
    """Stands for every door behind an application of which only the schema is asked."""

    def __getattr__(self, name: str) -> "_Nothing":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object) -> str:
        return "none"


def _apps() -> dict[str, FastAPI]:
    """Return the services' applications with nothing behind them: good for their schema only."""
    nothing: Any = _Nothing()
    ingest = build_app("ingest", INGEST, Readiness(()), CollectorRegistry())
    add_admin(ingest, Behind(nothing, nothing, nothing, nothing, nothing, nothing))
    scoring = build_app("scoring", SCORING, Readiness(()), CollectorRegistry())
    add_api(scoring, nothing)
    add_sources(scoring, nothing, nothing, nothing, nothing)
    return {"ingest": ingest, "scoring": scoring, "alerts": alerts_api.build(nothing, {})}


def files() -> dict[str, str]:
    """Return every generated document by its path below docs."""
    found = {f"contracts/{name}": content for name, content in contract_files().items()}
    found |= {f"openapi/{name}.json": json.dumps(app.openapi(), indent=1) + "\n" for name, app in _apps().items()}
    return found | {"configuration.md": _configuration(), "reasons.md": _reasons()}


def main() -> None:
    """Write all of them."""
    for name, content in files().items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    print(f"wrote {len(files())} files below {DOCS}", file=sys.stderr)


if __name__ == "__main__":
    main()
