"""Pure. What the peers work out, the same in each: an account's counts per day and signal, and the band of its score.

It scores by recency and active days alone. Unlike ours they drop no duplicates, write to no database, and may apply a call twice after a crash.
"""

from datetime import datetime
from typing import Any

EPOCH_ORDINAL = 719163
KEPT_DAYS = 119


def count(value: dict[str, Any], days: dict[str, dict[str, int]]) -> int:
    """Add one call to the counts of its account, forget what is too old, and return the call's day."""
    day = datetime.fromisoformat(value["occurred_at"]).toordinal() - EPOCH_ORDINAL
    counts = days.setdefault(str(day), {})
    for signal in ("use", f"feature_used:{value['call']['event']}", "@" + value["source"]):
        counts[signal] = counts.get(signal, 0) + 1
    for old in [old for old in days if int(old) <= day - KEPT_DAYS]:
        del days[old]
    return day


def band(days: dict[str, dict[str, int]], today: int) -> str:
    """Return the band of a score in hundredths: half for the silence since the last active day, half for the active days of four weeks."""
    active = [int(day) for day, counts in days.items() if counts.get("use")]
    silence = today - max(active, default=today - 91)
    score = max(0, 5000 - 55 * silence) + 5000 * sum(1 for day in active if today - day < 28) // 28
    return "green" if score >= 6000 else "yellow" if score >= 3000 else "red"
