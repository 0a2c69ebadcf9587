"""Crash points fire only where a development environment asks for it."""

import os
import subprocess
import sys

import pytest

PROGRAM = "from churnsignal_common.runtime import crash\nfor _ in range(3): crash.point('a'); print('passed', flush=True)"


def _run(**env: str) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, **env}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.count("passed")


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"CHURNSIGNAL_ENV": "dev", "CHURNSIGNAL_CRASH_AT": "a:2"}, (137, 1)),
        ({"CHURNSIGNAL_ENV": "dev", "CHURNSIGNAL_CRASH_AT": "a"}, (137, 0)),
        ({"CHURNSIGNAL_ENV": "dev", "CHURNSIGNAL_CRASH_AT": "b"}, (0, 3)),
        ({"CHURNSIGNAL_ENV": "production", "CHURNSIGNAL_CRASH_AT": "a"}, (0, 3)),
        ({"CHURNSIGNAL_ENV": "dev"}, (0, 3)),
    ],
)
def test_a_point_kills_at_the_pass_asked_for(env: dict[str, str], expected: tuple[int, int]) -> None:
    assert _run(**env) == expected
