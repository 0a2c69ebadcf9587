"""Root. A pytest plugin: a skipped test fails the run, unless tests/allowed_skips.toml says why it may be skipped."""

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

ALLOWED = Path(__file__).parents[1] / "allowed_skips.toml"


@dataclass(frozen=True, slots=True)
class Allowed:
    """Tests whose id matches `test` may be skipped for a reason that matches `reason`; `why` is for the reader."""

    test: str
    reason: str
    why: str

    def covers(self, skip: tuple[str, str]) -> bool:
        return fnmatchcase(skip[0], self.test) and re.search(self.reason, skip[1]) is not None


def allowed(path: Path) -> list[Allowed]:
    """Read the list."""
    return [Allowed(**row) for row in tomllib.loads(path.read_text()).get("skip", [])]


class Guard:
    """Collects the skips of one run."""

    def __init__(self, config: pytest.Config) -> None:
        self._list = allowed(Path(str(config.getoption("allowed_skips"))))
        self.strangers: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.strangers and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.strangers:
            terminalreporter.section("skips that nobody allowed (tests/allowed_skips.toml)", red=True)
            for test, reason in self.strangers:
                terminalreporter.line(f"{test}: {reason}")

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skip = (report.nodeid, reason)
        if not any(one.covers(skip) for one in self._list):
            self.strangers.append(skip)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--allowed-skips", default=str(ALLOWED), help="the list of skips that do not fail the run")


def pytest_configure(config: pytest.Config) -> None:
    # Workers of pytest-xdist report to the controller, which sees everything once.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Guard(config))
