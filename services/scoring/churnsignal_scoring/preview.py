"""Flow. What a scorecard would do to the real accounts: who would change band, the most valuable first."""

import asyncio
from collections import Counter
from typing import Any

from churnsignal_common.contracts.days import DayRecord

from churnsignal_scoring.engine import AccountEngine, Preview
from churnsignal_scoring.health.days import to_date
from churnsignal_scoring.health.scorecard import Scorecard
from churnsignal_scoring.load import Load

CHUNK_ACCOUNTS = 100
SHOWN = 50
_WORST_FIRST = ("red", "yellow", "grey", "green")


async def preview(load: Load, engine: AccountEngine, card: Scorecard) -> dict[str, Any]:
    """Return who would change band once bands have settled, compared with the scorecard in force, as of each account's last close."""
    records: dict[int, DayRecord | None] = {}
    found: list[Preview] = []
    after, accounts = "", 0
    while residents := await load.residents_after(after, CHUNK_ACCOUNTS):
        for resident in residents:
            day = resident.closed_day
            if day not in records:
                records[day] = (await load.records(day, day)).get(day)
            seen = engine.preview(resident.state, records[day], day, card)
            if seen.before.band is not seen.after.band:
                found.append(seen)
        accounts, after = accounts + len(residents), residents[-1].state.account
        await asyncio.sleep(0)  # the consumer has its turn between chunks
    found.sort(key=lambda one: (_WORST_FIRST.index(one.after.band), -(one.profile.arr or 0.0), one.profile.account))
    to = Counter(one.after.band.value for one in found)
    return {
        "scorecard": card.version,
        "in_force": engine.scorecard.version,
        "as_of": next((to_date(day).isoformat() for day in sorted(records, reverse=True) if records[day] is not None), None),
        "accounts": accounts,
        "changes": len(found),
        "to": {band: to[band] for band in _WORST_FIRST if to[band]},
        "summary": _summary(len(found), accounts, to),
        "examples": [_told(one) for one in found[:SHOWN]],
    }


def _summary(changes: int, accounts: int, to: Counter[str]) -> str:
    if not changes:
        return f"none of {accounts} accounts changes band"
    parts = ", ".join(f"{to[band]} to {band}" for band in _WORST_FIRST if to[band])
    return f"{changes} of {accounts} accounts change{'s' if changes == 1 else ''} band: {parts}"


def _told(one: Preview) -> dict[str, Any]:
    return {
        "account": one.profile.account,
        "name": one.profile.name,
        "arr": one.profile.arr,
        "from": one.before.band.value,
        "to": one.after.band.value,
        "score_from": one.before.score,
        "score_to": one.after.score,
    }
