"""Root. Every module says its kind, and the import contracts agree with it and are seen tripping."""

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).parents[2]
PACKAGES = {
    "churnsignal_common": "libs/common",
    "churnsignal_ingest": "services/ingest",
    "churnsignal_scoring": "services/scoring",
    "churnsignal_alerts": "services/alerts",
    "churnsignal_devstack": "tools/devstack",
}
KINDS = ("Root", "Flow", "Door", "Pure")
CLIENTS = {"AIOKafkaProducer", "AIOKafkaConsumer", "AIOKafkaAdminClient"}
# alembic finds these by their file names, and they are never imported.
REVISIONS = re.compile(r"/migrations/versions/")


def modules() -> Iterator[tuple[str, Path]]:
    """Yield each module of the product by its dotted name."""
    for package, folder in PACKAGES.items():
        for path in sorted((HOME / folder / package).rglob("*.py")):
            yield ".".join(path.relative_to(HOME / folder).with_suffix("").parts), path


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def kind_of(path: Path) -> str | None:
    """Return the first word of the module's docstring; None for an empty package file."""
    docstring = ast.get_docstring(parsed(path))
    return docstring.split(".", 1)[0] if docstring else None


def contracts() -> list[dict[str, Any]]:
    """Return the import contracts."""
    found: list[dict[str, Any]] = tomllib.loads((HOME / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return found


def rooms() -> dict[str, str]:
    """Return the kind of each module or package that an exhaustive contract lists; its name tells what its layers stand for."""
    found: dict[str, str] = {}
    for contract in contracts():
        if contract.get("exhaustive"):
            kinds = contract["name"].rsplit("(", 1)[1].rstrip(")").split(" > ")
            for kind, layer in zip(kinds, contract["layers"], strict=True):
                found |= {f"{contract['containers'][0]}.{name}": kind for name in re.findall(r"\w+", layer)}
    return found


def test_every_module_says_its_kind_first() -> None:
    said = {module: kind_of(path) for module, path in modules() if parsed(path).body and not REVISIONS.search(str(path))}

    assert len(said) > 250
    assert {module: kind for module, kind in said.items() if kind not in KINDS} == {}


def test_what_a_module_says_of_itself_is_what_its_contract_says() -> None:
    expected = rooms()
    said = {module: kind_of(path) for module, path in modules() if module in expected}

    assert len(said) > 50
    assert {module: (kind, expected[module]) for module, kind in said.items() if kind != expected[module]} == {}


def builds_clients(module: ast.Module) -> bool:
    """Say whether a module constructs a Kafka client by itself."""
    calls = (node.func for node in ast.walk(module) if isinstance(node, ast.Call))
    return any(getattr(called, "id", getattr(called, "attr", None)) in CLIENTS for called in calls)


def test_only_the_kafka_room_builds_kafka_clients() -> None:
    assert {module for module, path in modules() if builds_clients(parsed(path))} == {"churnsignal_common.kafka.client"}


@pytest.mark.parametrize(
    "line",
    ["AIOKafkaProducer(acks=1)", "producer = aiokafka.AIOKafkaProducer()", "async def f():\n    await AIOKafkaConsumer('t').start()"],
)
def test_a_kafka_client_built_elsewhere_is_seen(line: str) -> None:
    assert builds_clients(ast.parse(line))


def test_a_module_without_its_kind_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('"""Useful functions."""\n')

    assert kind_of(tmp_path / "a.py") not in KINDS


def copied(where: Path) -> Path:
    """Return a copy of the packages and the contracts, to be spoiled."""
    shutil.copy(HOME / "pyproject.toml", where)
    for package, folder in PACKAGES.items():
        ignore = shutil.ignore_patterns("__pycache__", "data", "templates", "static")
        shutil.copytree(HOME / folder / package, where / folder / package, ignore=ignore)
    return where


def spoil(copy: Path, module: str, line: str) -> None:
    """Append `line` to a module, which may be new."""
    path = copy / PACKAGES[module.split(".", maxsplit=1)[0]] / Path(*module.split("."))
    with (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).open("a") as file:
        file.write(f"\n{line}\n")


def broken(copy: Path) -> dict[str, str]:
    """Return what import-linter says about each broken contract."""
    path = os.pathsep.join(str(copy / folder) for folder in PACKAGES.values())
    argv = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    env = os.environ | {"PYTHONPATH": path, "COLUMNS": "300"}
    done = subprocess.run(argv, cwd=copy, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    _, _, details = done.stdout.partition("Broken contracts")
    parts = re.split(r"^(.+)\n-{3,}$", details, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def planted(contract: dict[str, Any]) -> tuple[str, str]:
    """Return a module of the contract's lowest room, and what it must never import."""
    if contract["type"] == "forbidden":
        return contract["source_modules"][-1], contract["forbidden_modules"][0]
    top, bottom = (re.findall(r"\w+", layer)[0] for layer in (contract["layers"][0], contract["layers"][-1]))
    inside = f"{contract['containers'][0]}." if "containers" in contract else ""
    return inside + bottom, inside + top


@pytest.fixture(scope="module")
def wrong_imports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One wrong import for each contract, and one service that imports another."""
    copy = copied(tmp_path_factory.mktemp("wrong_imports"))
    for contract in contracts():
        module, forbidden = planted(contract)
        spoil(copy, module, f"import {forbidden}")
    spoil(copy, "churnsignal_ingest.settings", "import churnsignal_scoring.settings")
    return broken(copy)


@pytest.fixture(scope="module")
def newcomers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One file without a room in each package."""
    copy = copied(tmp_path_factory.mktemp("newcomers"))
    for contract in exhaustive():
        spoil(copy, f"{contract['containers'][0]}.newcomer", '"""Pure. Nobody gave it a room."""')
    return broken(copy)


def exhaustive() -> list[dict[str, Any]]:
    return [contract for contract in contracts() if contract.get("exhaustive")]


def test_the_code_keeps_every_contract(tmp_path: Path) -> None:
    assert broken(copied(tmp_path)) == {}


@pytest.mark.parametrize("contract", contracts(), ids=lambda contract: contract["name"])
def test_a_contract_catches_the_import_that_breaks_it(wrong_imports: dict[str, str], contract: dict[str, Any]) -> None:
    module, forbidden = planted(contract)

    assert f"{module} is not allowed to import {forbidden}:" in wrong_imports[contract["name"]]


def test_one_service_that_imports_another_is_caught(wrong_imports: dict[str, str]) -> None:
    said = wrong_imports["Services meet on topics and views, never in code"]

    assert "churnsignal_ingest is not allowed to import churnsignal_scoring:" in said


@pytest.mark.parametrize("contract", exhaustive(), ids=lambda contract: contract["name"])
def test_a_new_file_must_be_given_a_room(newcomers: dict[str, str], contract: dict[str, Any]) -> None:
    assert f"- {contract['containers'][0]}.newcomer\n" in newcomers[contract["name"]]


def test_every_package_with_rooms_of_different_kinds_has_a_contract() -> None:
    containers = {container for contract in contracts() if contract.get("exhaustive") for container in contract["containers"]}
    kinds: dict[str, set[str]] = {}
    for module, path in modules():
        if "migrations" not in module and path.name != "__init__.py":
            kinds.setdefault(module.rsplit(".", 1)[0], set()).add(kind_of(path) or "")

    assert {package for package, found in kinds.items() if len(found) > 1} - containers == set()
