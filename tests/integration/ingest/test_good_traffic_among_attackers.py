"""A small attack of each kind: good traffic is answered, bombs are refused, and memory stays under what the settings promise.

`python -m benchmarks.hostile` is the same at full size, with times.
"""

import asyncio
from pathlib import Path

import pytest

from benchmarks.hostile.attackers import attack
from benchmarks.ingest.load import requests
from benchmarks.ingest.steady import steady
from tests.support.load import create_key
from tests.support.stack import service

SECONDS = 5.0
INFLIGHT = 16 * 2**20
# Per connection, beside what it has sent: parser, protocol, timers.
IDLE_BYTES = 16 * 2**10


def rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024


@pytest.mark.asyncio
async def test_nothing_good_is_lost_and_memory_keeps_its_promise(told: dict[str, str], tmp_path: Path) -> None:
    key = create_key(told)
    with service("ingest", told | {"CHURNSIGNAL_INGEST_INFLIGHT_BYTES": str(INFLIGHT)}, tmp_path) as ingest:
        assert ingest.child is not None
        good = requests(100, key)
        await steady(ingest.port, good, 10, 1)
        before = rss(ingest.child.pid)

        attackers = asyncio.create_task(attack(ingest.port, 400, 100, 20, SECONDS))
        told_good = await steady(ingest.port, good, 10, SECONDS - 1)
        grown = rss(ingest.child.pid) - before
        seen = await attackers

        assert told_good.bad == 0
        assert seen.answers["bomb 413"] == 20
        assert seen.opened >= 500
        assert grown < 4 * INFLIGHT + 500 * IDLE_BYTES
