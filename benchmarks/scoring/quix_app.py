"""Root. The peer: the same account counters and a score in Quix Streams with state, as its documentation would have it written.

Run by its own interpreter (quix-requirements.txt), never by ours: `python quix_app.py BROKER TOPIC GROUP STATE_DIR`. It ends when
nothing has come for a while.
It keeps counts per day and signal and each user's active days, scores by recency and active days, and emits a change of band.
Unlike ours it drops no duplicates, writes to no database, and may apply a call twice after a crash.
"""

import sys
from datetime import datetime
from typing import Any

from quixstreams import Application, State

EPOCH_ORDINAL = 719163
KEPT_DAYS = 119
IDLE_S = 5.0


def band_of(score: int) -> str:
    return "green" if score >= 6000 else "yellow" if score >= 3000 else "red"


def score_of(days: dict[str, dict[str, int]], today: int) -> int:
    """Return hundredths: half for the silence since the last active day, half for the active days of four weeks."""
    active = [int(day) for day, counts in days.items() if counts.get("use")]
    silence = today - max(active, default=today - 91)
    recent = sum(1 for day in active if today - day < 28)
    return max(0, 5000 - 55 * silence) + 5000 * recent // 28


def apply(value: dict[str, Any], state: State) -> dict[str, Any] | None:
    """Add one call to its account's state; return a change of band, if there is one."""
    call = value["call"]
    day = datetime.fromisoformat(value["occurred_at"]).toordinal() - EPOCH_ORDINAL
    days = state.get("days", default={})
    counts = days.setdefault(str(day), {})
    for signal in ("use", f"feature_used:{call['event']}", "@" + value["source"]):
        counts[signal] = counts.get(signal, 0) + 1
    for old in [old for old in days if int(old) <= day - KEPT_DAYS]:
        del days[old]
    state.set("days", days)
    user = f"user:{value['user']}:{day // 28}"
    mask, bit = state.get(user, default=0), 1 << day % 28
    if not mask & bit:
        state.set(user, mask | bit)
    band, before = band_of(score_of(days, day)), state.get("band", default=None)
    if band == before:
        return None
    state.set("band", band)
    return {"account": value["account"], "from": before, "to": band}


def main() -> None:
    broker, topic, group, state_dir = sys.argv[1:]
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
