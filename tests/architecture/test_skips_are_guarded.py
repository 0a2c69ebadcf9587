"""Root. The guard against silent skips is itself seen tripping."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.skips import ALLOWED, allowed

HOME = Path(__file__).parents[2]
SKIPS = "import pytest\n\ndef test_nothing():\n    pytest.skip('no engine here')\n\ndef test_something():\n    pass\n"


def _run(where: Path, test: str, listed: str) -> subprocess.CompletedProcess[str]:
    (where / "test_it.py").write_text(test)
    (where / "allowed.toml").write_text(listed)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.support.skips",
        "--rootdir",
        str(where),
        "--allowed-skips",
        str(where / "allowed.toml"),
    ]
    argv += ["-p", "no:cacheprovider", str(where / "test_it.py")]
    # Without the plugins that are installed: the guard needs none, and loading them takes seconds.
    env = os.environ | {"PYTHONPATH": str(HOME), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    return subprocess.run(argv, cwd=where, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_skip_that_nobody_allowed_fails_the_run(tmp_path: Path) -> None:
    done = _run(tmp_path, SKIPS, "")

    assert done.returncode == 1
    assert "skips that nobody allowed" in done.stdout


def test_an_allowed_skip_passes(tmp_path: Path) -> None:
    done = _run(tmp_path, SKIPS, '[[skip]]\ntest = "*test_nothing"\nreason = "no engine"\nwhy = "because"\n')

    assert done.returncode == 0, done.stdout


def test_a_whole_module_that_skips_itself_fails_the_run_too(tmp_path: Path) -> None:
    done = _run(tmp_path, "import pytest\npytest.importorskip('no_such_module')\n\ndef test_it():\n    pass\n", "")

    assert done.returncode != 0


@pytest.mark.parametrize("one", allowed(ALLOWED), ids=lambda one: one.reason)
def test_every_allowed_skip_says_why(one: object) -> None:
    assert len(getattr(one, "why", "")) > 20
