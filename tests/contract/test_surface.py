"""The names that users, operators and outside checks call are all there: add to them, never rename or drop one."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import cyclopts
import pytest
from churnsignal_alerts import __main__ as alerts
from churnsignal_alerts.metrics import registry as alerts_registry
from churnsignal_common.kafka.topics_cli import app as topics_cli
from churnsignal_devstack.__main__ import app as devstack_cli
from churnsignal_ingest import __main__ as ingest
from churnsignal_ingest.metrics import Metrics as IngestMetrics
from churnsignal_scoring import __main__ as scoring
from churnsignal_scoring.metrics import Metrics as ScoringMetrics
from churnsignal_scoring.rebuild.command_cli import verify_app
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

ROOT = Path(__file__).parents[2]
PATHS = {
    "ingest": """
        POST /v1/batch /v1/track /v1/identify /v1/group /v1/page /v1/screen /v1/alias /v1/import /v1/cloudevents
        GET /v1/projects/{}/settings /sourceConfig
        GET /admin/v1/sources /admin/v1/sources/{}/keys /admin/v1/rejected /admin/v1/suppressions
        POST /admin/v1/sources /admin/v1/sources/{}/keys /admin/v1/rejected/replay
        PATCH /admin/v1/sources/{} /admin/v1/sources/{}/keys
        PUT /admin/v1/suppressions""",
    "scoring": """
        GET /v1/accounts /v1/accounts/{} /v1/accounts/{}/history /v1/accounts/{}/explain /v1/scorecards /v1/unresolved
        PUT /v1/accounts/{}/override
        DELETE /v1/accounts/{}/override
        POST /v1/accounts/{}/outcome /v1/scorecards /v1/scorecards/preview /v1/scorecards/{}/activate""",
    "alerts": """
        GET /v1/episodes /v1/episodes/{} /v1/csms/{} /v1/deliveries /v1/silences /v1/accounts/{}/contacts /v1/routing /a/{}
        POST /v1/episodes/{}/acknowledge /v1/episodes/{}/snooze /v1/episodes/{}/reassign /v1/episodes/{}/close /v1/episodes/{}/reopen
        POST /v1/silences /v1/accounts/{}/contacts /v1/routing/explain /slack/interactions /a/{}
        PUT /v1/csms/{} /v1/routing
        DELETE /v1/csms/{} /v1/silences/{}""",
}
# Whoever reaches these has shown who they are in another way (a write key, Slack's signature, a signed link), or learns nothing.
OPEN = {"/healthz", "/readyz", "/version", "/metrics", "/slack/interactions", "/a/{}", "/sourceConfig"}
METRICS = {
    "ingest": "events{source,outcome,reason} request_seconds{route,status} produce_seconds retry_count inflight_bytes",
    "scoring": """events{outcome} event_to_score_seconds lag_events{partition} accounts{band} risk_changes{to,cause} source_silent{source}
        batch_seconds{step}""",
    "alerts": "change_to_notice_seconds deliveries{channel,outcome} episodes{state} queue_age_seconds feedback{verdict}",
}
COMMANDS = """
churnsignal-ingest serve|migrate|check-config|import|keys create|keys list|keys revoke|keys rotate
churnsignal-scoring serve|migrate|check-config|accounts import|scorecard validate|scorecard preview|scorecard publish|checkpoint|rebuild|explain
churnsignal-alerts serve|migrate|check-config|csms import|routes explain|watchdog
churnsignal-topics apply|check|table
churnsignal-devstack up|down|status|demo
"""


def served(service: str) -> dict[tuple[str, str], Any]:
    paths = json.loads((ROOT / f"docs/openapi/{service}.json").read_text())["paths"]
    return {(method.upper(), re.sub(r"\{\w+\}", "{}", path)): asked for path, methods in paths.items() for method, asked in methods.items()}


@pytest.mark.parametrize("service", PATHS)
def test_every_path_that_callers_know_is_served(service: str) -> None:
    promised = {(line.split()[0], path) for line in PATHS[service].splitlines() if line.strip() for path in line.split()[1:]}

    assert promised - served(service).keys() == set()


@pytest.mark.parametrize("service", PATHS)
def test_nobody_reads_or_changes_anything_without_a_token(service: str) -> None:
    paths = {
        at: asked for at, asked in served(service).items() if at[1] not in OPEN and (service != "ingest" or at[1].startswith("/admin/"))
    }

    assert paths
    assert [at for at, asked in paths.items() if asked.get("security") != [{"HTTPBearer": []}]] == []


def test_every_metric_that_dashboards_know_is_exported_under_its_labels() -> None:
    registries = {"ingest": IngestMetrics(CollectorRegistry()).registry, "scoring": ScoringMetrics().registry, "alerts": alerts_registry}
    exported = {
        collector._name.removeprefix("churnsignal_"): ",".join(collector._labelnames)
        for registry in registries.values()
        for collector in registry._collector_to_names
        if isinstance(collector, MetricWrapperBase)
    }
    promised = {
        f"{service}_{name}": labels for service, names in METRICS.items() for name, labels in re.findall(r"(\w+)(?:{([\w,]+)})?", names)
    }

    assert {name: exported.get(name) for name in promised} == promised
    assert exported["pipeline_unaccounted_events"] == ""


def _walk(app: cyclopts.App, name: str) -> Iterator[tuple[str, str]]:
    yield name, app.help
    for sub in app:
        if not sub.startswith("-"):
            yield from _walk(app[sub], f"{name} {sub}")


@pytest.fixture(scope="module")
def commands() -> dict[str, str]:
    for module in (ingest, scoring, alerts):
        for name, place in module.OTHERS.items():
            module.app.command(resolve_name(place), name=name)
    apps = (ingest.app, scoring.app, alerts.app, topics_cli, devstack_cli, verify_app)
    return {name: told for app in apps for name, told in _walk(app, app.name[0])}


def test_every_command_that_operators_know_is_there(commands: dict[str, str]) -> None:
    promised = {
        f"{name} {sub}" for name, _, subs in (line.partition(" ") for line in COMMANDS.split("\n") if line) for sub in subs.split("|")
    }

    assert promised - commands.keys() == set()


def test_every_command_shows_an_example(commands: dict[str, str]) -> None:
    assert [name for name, told in commands.items() if "Example" not in told] == []


def test_every_make_target_that_the_documents_name_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()

    assert [
        t
        for t in ("run", "test", "check", "bench", "bench-%", "up", "down", "help")
        if not re.search(rf"^{t}:.*## ", makefile, re.MULTILINE)
    ] == []
