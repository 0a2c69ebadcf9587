"""Root. A peer: the job in Quix Streams with state, as its documentation would have it written.

Run by its own interpreter (quix-requirements.txt), never by ours: `python quix_app.py BROKER TOPIC GROUP STATE_DIR COUNT`. It ends
when nothing has come for a while.
"""

import sys
from typing import Any

from quixstreams import Application, State

from benchmarks.scoring import job

IDLE_S = 5.0


def apply(value: dict[str, Any], state: State) -> dict[str, Any] | None:
    """Add one call to its account's state; return a change of band, if there is one."""
    days = state.get("days", default={})
    day = job.count(value, days)
    state.set("days", days)
    user = f"user:{value['user']}:{day // 28}"
    mask, bit = state.get(user, default=0), 1 << day % 28
    if not mask & bit:
        state.set(user, mask | bit)
    band, before = job.band(days, day), state.get("band", default=None)
    if band == before:
        return None
    state.set("band", band)
    return {"account": value["account"], "from": before, "to": band}


def main() -> None:
    broker, topic, group, state_dir, _ = sys.argv[1:]
    app = Application(broker_address=broker, consumer_group=group, auto_offset_reset="earliest", state_dir=state_dir, loglevel="ERROR")
    changes = app.topic(f"{group}-changes")
    handled = 0

    def count(_value: object) -> None:
        nonlocal handled
        handled += 1

    frame = app.dataframe(app.topic(topic, value_deserializer="json")).update(count)
    frame.apply(apply, stateful=True).filter(lambda change: change is not None).to_topic(changes)
    app.run(timeout=IDLE_S)
    print(handled)


if __name__ == "__main__":
    main()
