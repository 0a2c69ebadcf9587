"""The same real events, shuffled within a day, repeated, batched, partitioned and interrupted otherwise, end on the same bits at every close."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def replayed(hash_seed: str, zone: str, **how: Any) -> dict[str, Any]:
    """Replay in a process of its own: the seed of hashes and the zone of the machine cannot be changed in this one."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone}
    command = [sys.executable, "-m", "tests.support.replays", json.dumps(how)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def straight() -> dict[str, Any]:
    """The replay that nothing disturbs."""
    return replayed("0", "UTC")


def test_the_undisturbed_replay_covers_what_it_is_meant_to(straight: dict[str, Any]) -> None:
    assert len(straight["closes"]) == 151
    assert len(set(straight["closes"])) == 151
    assert straight["fired"]["calls"] > 3_000
    assert straight["fired"]["duplicates"] == 0


@pytest.mark.parametrize(
    ("hash_seed", "zone", "how", "fault"),
    [
        pytest.param("1", "Asia/Tokyo", {"seed": 7}, "moved", id="shuffled within a day, another hash seed and zone"),
        pytest.param("2", "America/New_York", {"copies": 2, "seed": 8}, "duplicates", id="every call twice, apart"),
        pytest.param("3", "UTC", {"batch": 7}, "batches", id="small batches"),
        pytest.param("4", "Pacific/Kiritimati", {"partitions": 5, "seed": 9}, "partitions", id="five partitions"),
        pytest.param("random", "UTC", {"evict": True, "batch": 40, "seed": 10}, "evictions", id="written and read back after each batch"),
    ],
)
def test_a_disturbed_replay_ends_on_the_same_bits_at_every_close(
    straight: dict[str, Any], hash_seed: str, zone: str, how: dict[str, Any], fault: str
) -> None:
    found = replayed(hash_seed, zone, **how)

    assert found["fired"][fault] > straight["fired"][fault], "the fault did not fire"
    assert found["fired"]["calls"] == straight["fired"]["calls"]
    assert found["closes"] == straight["closes"]


def test_one_call_less_is_seen_in_the_digests(straight: dict[str, Any]) -> None:
    found = replayed("0", "UTC", lose=1)

    assert found["closes"] != straight["closes"]
