"""Root. What may not stand in a committed file."""

import json
import re
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
# Written in pieces, so that this file does not contain them. Where packages come from is the machine's business.
HOSTS = ["pypi" + ".org", "python" + "hosted.org", "registry." + "npmjs", "repo1." + "maven", "repo." + "maven", "proxy." + "golang"]
PATHS = ["/work" + "/main", "/work" + "/shared", "/work" + "/notes"]
FORBIDDEN = re.compile("|".join(map(re.escape, HOSTS + PATHS)))


def committed() -> list[Path]:
    """Return the files git knows, or would know."""
    argv = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(argv, cwd=HOME, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is no git checkout")
    return [HOME / name for name in done.stdout.split("\0") if name]


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    found = []
    for path in committed():
        if path.is_symlink() or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{path.relative_to(HOME)}: {hit}" for hit in set(FORBIDDEN.findall(text))]

    assert found == []


def test_a_registry_in_a_lock_would_be_seen() -> None:
    assert FORBIDDEN.search(f'"resolved": "https://{HOSTS[2]}.org/htmx.org"')


def test_every_package_of_the_lock_is_pinned_with_a_hash() -> None:
    entries = re.split(r"\n(?=\S)", (HOME / "requirements.lock").read_text().strip())
    pins = [entry for entry in entries if not entry.startswith("#")]

    assert len(pins) > 50
    assert [
        entry.split()[0] for entry in pins if not re.match(r"[\w.\-]+(\[[\w,\-]+\])?==\S+", entry) or "--hash=sha256:" not in entry
    ] == []


def test_the_lock_of_the_resolver_is_not_committed() -> None:
    assert not [path for path in committed() if path.name == "uv.lock"]


def test_a_lock_of_npm_pins_each_package_by_its_hash_and_names_no_place() -> None:
    locks = [path for path in committed() if path.name == "package-lock.json"]

    assert locks
    for lock in locks:
        packages = {name: entry for name, entry in json.loads(lock.read_text())["packages"].items() if name}
        assert [name for name, entry in packages.items() if "integrity" not in entry or "resolved" in entry] == []
