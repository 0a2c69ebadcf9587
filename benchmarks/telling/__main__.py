"""Root. Risk changes at 20 a second for 200 people: from Kafka to what Slack has accepted; then the same beside 100,000 open episodes.

Kafka, Postgres, one alerts service and the inbox, which plays Slack, share this machine's cores. What the timers, the sender and a silence ask
Postgres for is timed at each size by itself, and so is the setting of a silence over every ninth of the open episodes.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from churnsignal_alerts.mute import Matcher
from churnsignal_alerts.policy_file import default_text
from churnsignal_alerts.queue import WORK
from churnsignal_alerts.read import COUNTS
from churnsignal_alerts.store import COVERED
from churnsignal_alerts.store import DUE as EPISODES_DUE
from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from benchmarks.results import write
from tests.support.alerts_world import World, open_world
from tests.support.stack import open_stack

PEOPLE, RATE = 200, 20
SECONDS = float(os.environ.get("TELLING_SECONDS", "60"))
SIZES = tuple(int(size) for size in os.environ.get("TELLING_OPEN", "0,10000,100000").split(","))
LIMIT_S = 0.5
_COLUMNS = (
    "state, opened_at, since, flips, csm, pinned, note, change, fall, priority, rung, worse_only, muted, tasks, segment_key, owner_key"
)
# Copies of one open episode and of its notice, due some time after this run.
GROW = f"""
WITH made AS (
  INSERT INTO alerts.episodes (id, account, account_key, kind, next_at, {_COLUMNS})
  SELECT 'copy' || i, 'copy' || i, 'copy' || i, kind, timestamptz '2040-01-01' + i * interval '1 s', {_COLUMNS}
  FROM alerts.episodes, generate_series($1::int, $2::int) i WHERE account = 'original' RETURNING id)
INSERT INTO alerts.notices (episode, kind, round, verdict, recipient, name, channel, address, locale, zone, route, created_at, due_at, priority, state)
SELECT made.id, kind, round, verdict, recipient, name, channel, address, locale, zone, route, created_at, timestamptz '2040-01-01', priority, 'queued'
FROM made, alerts.notices WHERE episode = (SELECT id FROM alerts.episodes WHERE account = 'original') AND kind <> 'state'
"""


async def _tell(world: World, size: int) -> list[float]:
    """Publish at the rate; return how long each took until the inbox had it."""
    chance, loop = random.Random(size), asyncio.get_running_loop()
    sent: dict[str, float] = {}
    tasks = []
    began = loop.time()
    for number in range(int(RATE * SECONDS)):
        await asyncio.sleep(max(0.0, began + number / RATE - loop.time()))
        account = f"t{size}-{number}"
        change = world.change(account, f"p{chance.randrange(PEOPLE)}")
        sent[account] = time.time()
        tasks.append(asyncio.create_task(world.publish(change)))
    await asyncio.gather(*tasks)
    for account in sent:
        await world.applied(account, 1)
    await world.quiet(60)
    heard = {message.text.split(" is at risk")[0].casefold(): message.received_at.timestamp() for message in reversed(world.inbox.kept)}
    return sorted(heard[name] - at for name, at in sent.items() if name in heard)


async def _costs(connection: AsyncConnection, world: World) -> dict[str, float]:
    """Return milliseconds of what is asked again and again, the best of five."""
    asked: dict[str, tuple[TextClause, dict[str, Any]]] = {
        "timers_ms": (EPISODES_DUE, {"now": world.now, "most": 200}),
        "sender_ms": (WORK, {"now": world.now, "channels": ["slack", "email"], "rooms": [8, 8], "waits": [0, 0]}),
        "silence_ms": (COVERED, Matcher(account="t0-7").likes()),
        "gauges_ms": (COUNTS, {}),
    }
    return {name: await _best(connection, statement, values) for name, (statement, values) in asked.items()}


async def _silenced(world: World) -> float:
    """Return the seconds in which a silence over the copies whose number begins with a one is in force."""
    body = {"account": "copy1*", "reason": "measured", "ends_at": (world.now + timedelta(days=1)).isoformat()}
    began = time.perf_counter()
    answer = await world.http.post("/v1/silences", json=body)
    assert answer.status_code == 201, answer.text
    return time.perf_counter() - began


async def _best(connection: AsyncConnection, statement: TextClause, values: dict[str, Any]) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        (await connection.execute(statement, values)).all()
        times.append((time.perf_counter() - began) * 1000)
    return min(times)


async def _measure() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home, open_stack(os.environ) as stack:
        async with open_world(stack, f"t{uuid.uuid4().hex[:8]}.", Path(home)) as world:
            for n in range(PEOPLE):
                await world.csm(f"p{n}", channels=["slack"])
            await world.http.put("/v1/routing", json={"document": default_text().replace("budget: 10", "budget: null")})
            await world.publish(world.change("original", "p0"))
            await world.applied("original", 1)
            await world.quiet()
            engine = create_async_engine(world.told["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"))
            have = 0
            for size in SIZES:
                if size > have:
                    await world.database.execute(GROW, have + 1, size)
                    await world.database.execute("ANALYZE")
                    have = size
                waits = await _tell(world, size)
                async with engine.connect() as connection:
                    costs = await _costs(connection, world)
                spread = {f"{name}_s": waits[int(len(waits) * share)] for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
                rows.append(
                    {"open": size, "told_alone": len(waits), **spread, "most_s": waits[-1], **costs, "silencing_s": await _silenced(world)}
                )
            await engine.dispose()
    return rows


def main() -> None:
    """Measure and write; exits with an error when the promise of half a second does not hold."""
    rows = asyncio.run(_measure())
    figures = {f"{name}_at_{row['open']}": float(value) for row in rows for name, value in row.items() if name != "open"}
    write("telling", rounds=1, ratios={}, figures=figures, rows=rows)
    if any(row["p99_s"] > LIMIT_S for row in rows):
        sys.exit(f"p99 is above {LIMIT_S} s")


if __name__ == "__main__":
    main()
