"""Root. A peer: the job in Faust, as its documentation would have it written, with tables in memory and without their changelogs.

Run by its own interpreter (faust-requirements.txt), never by ours: `python faust_app.py BROKER TOPIC GROUP STATE_DIR COUNT`. It ends
after COUNT records. Its state is lost with it, which favours it: a changelog would cost a record for each call.
"""

import os
import sys
from typing import Any

import faust

from benchmarks.scoring import job

BROKER, TOPIC, GROUP, STATE_DIR, COUNT = sys.argv[1:]
app = faust.App(
    GROUP,
    broker=f"kafka://{BROKER}",
    datadir=STATE_DIR,
    topic_partitions=8,
    consumer_auto_offset_reset="earliest",
)
calls = app.topic(TOPIC, key_type=bytes, value_serializer="json")
changes = app.topic(f"{GROUP}-changes", value_serializer="json", internal=True, partitions=8, replicas=1)
days: dict[str, dict[str, dict[str, int]]] = {}
users: dict[str, int] = {}
bands: dict[str, str] = {}


@app.agent(calls)  # type: ignore[untyped-decorator] # faust is not installed beside us
async def score(stream: Any) -> None:
    """Add each call to its account's state, and send on a change of band."""
    handled = 0
    await changes.declare()
    async for value in stream:
        account = value["account"]
        kept = days.setdefault(account, {})
        day = job.count(value, kept)
        user = f"{account}:{value['user']}:{day // 28}"
        users[user] = users.get(user, 0) | 1 << day % 28
        band, before = job.band(kept, day), bands.get(account)
        if band != before:
            bands[account] = band
            await changes.send(key=account, value={"account": account, "from": before, "to": band})
        handled += 1
        if handled == int(COUNT):
            # Its worker takes print for a log line.
            os.write(1, f"\n{handled}\n".encode())
            os._exit(0)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "--loop", "uvloop", "worker", "--without-web", "-l", "error"]
    app.main()
