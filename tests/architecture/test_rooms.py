"""Root. Every module says its kind, and the import contracts agree with it and are seen tripping."""

import ast
import contextlib
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


def kind_of(path: Path) -> str | None:
    """Return the first word of the module's docstring; None for an empty package file."""
    docstring = ast.get_docstring(ast.parse(path.read_text()))
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


@pytest.mark.parametrize(("module", "path"), [pytest.param(*one, id=one[0]) for one in modules() if not REVISIONS.search(str(one[1]))])
def test_every_module_says_its_kind_first(module: str, path: Path) -> None:
    if path.name == "__init__.py" and not path.read_text().strip():
        return

    assert kind_of(path) in KINDS


def test_what_a_module_says_of_itself_is_what_its_contract_says() -> None:
    expected = rooms()
    said = {module: kind_of(path) for module, path in modules() if module in expected}

    assert len(said) > 50
    assert {module: (kind, expected[module]) for module, kind in said.items() if kind != expected[module]} == {}


def test_only_the_kafka_room_builds_kafka_clients() -> None:
    builders = {
        module
        for module, path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", None)) in CLIENTS
    }

    assert builders == {"churnsignal_common.kafka.client"}


class Copy:
    """A copy of the packages and the contracts, spoiled by one test and mended for the next."""

    def __init__(self, where: Path) -> None:
        self.where = where
        shutil.copy(HOME / "pyproject.toml", where)
        for package, folder in PACKAGES.items():
            ignore = shutil.ignore_patterns("__pycache__", "data", "templates", "static")
            shutil.copytree(HOME / folder / package, where / folder / package, ignore=ignore)

    def file_of(self, module: str) -> Path:
        path = self.where / PACKAGES[module.split(".", maxsplit=1)[0]] / Path(*module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    @contextlib.contextmanager
    def with_line(self, module: str, line: str) -> Iterator[None]:
        path = self.file_of(module)
        before = path.read_text() if path.exists() else None
        path.write_text(f"{before or ''}\n{line}\n")
        yield
        if before is None:
            path.unlink()
        else:
            path.write_text(before)

    def broken(self) -> set[str]:
        path = os.pathsep.join(str(self.where / folder) for folder in PACKAGES.values())
        argv = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
        env = os.environ | {"PYTHONPATH": path, "COLUMNS": "300"}
        done = subprocess.run(argv, cwd=self.where, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert "Contracts:" in done.stdout, done.stdout + done.stderr
        return set(re.findall(r"^(.*) BROKEN", done.stdout, re.MULTILINE))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("spoiled"))


def planted(contract: dict[str, Any]) -> tuple[str, str]:
    """Return a module of the contract's lowest room, and what it must never import."""
    if contract["type"] == "forbidden":
        return contract["source_modules"][-1], contract["forbidden_modules"][0]
    top, bottom = (re.findall(r"\w+", layer)[0] for layer in (contract["layers"][0], contract["layers"][-1]))
    inside = f"{contract['containers'][0]}." if "containers" in contract else ""
    return inside + bottom, inside + top


def test_the_code_keeps_every_contract(copy: Copy) -> None:
    assert copy.broken() == set()


@pytest.mark.parametrize("contract", contracts(), ids=lambda contract: contract["name"])
def test_a_contract_catches_the_import_that_breaks_it(copy: Copy, contract: dict[str, Any]) -> None:
    module, forbidden = planted(contract)

    with copy.with_line(module, f"import {forbidden}"):
        assert contract["name"] in copy.broken()


def test_one_service_that_imports_another_is_caught(copy: Copy) -> None:
    with copy.with_line("churnsignal_ingest.settings", "import churnsignal_scoring.settings"):
        assert "Services meet on topics and views, never in code" in copy.broken()


@pytest.mark.parametrize("contract", [one for one in contracts() if one.get("exhaustive")], ids=lambda contract: contract["name"])
def test_a_new_file_must_be_given_a_room(copy: Copy, contract: dict[str, Any]) -> None:
    with copy.with_line(f"{contract['containers'][0]}.newcomer", '"""Pure. Nobody gave it a room."""'):
        assert contract["name"] in copy.broken()


def test_every_package_with_rooms_of_different_kinds_has_a_contract() -> None:
    containers = {container for contract in contracts() if contract.get("exhaustive") for container in contract["containers"]}
    kinds: dict[str, set[str]] = {}
    for module, path in modules():
        if "migrations" not in module and path.name != "__init__.py":
            kinds.setdefault(module.rsplit(".", 1)[0], set()).add(kind_of(path) or "")

    assert {package for package, found in kinds.items() if len(found) > 1} - containers == set()
