"""Door. The sources: what the newest day record says of them, whom they freeze, and which an operator has called gone."""

from datetime import datetime
from typing import Any

from churnsignal_common.contracts.days import DayRecord, SourceVerdict, day_record_decoder
from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_scoring.tables import retired_sources

NEWEST = "SELECT record::text FROM day_records ORDER BY day DESC LIMIT 1"
FROZEN = """-- how many accounts each silent source freezes
SELECT s ->> 'source' AS source, count(*) AS accounts
FROM accounts, jsonb_array_elements(profile -> 'silent_sources') s WHERE profile ? 'silent_sources' GROUP BY 1"""


class Sources:
    """Reads for people; what is retired here counts from the next day record on."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def standing(self) -> tuple[str | None, list[dict[str, Any]]]:
        """Return the newest closed day and the sources that it knows, with their hours and whom they freeze."""
        async with self._engine.connect() as connection:
            found = (await connection.execute(text(NEWEST))).scalar()
            record: DayRecord | None = None if found is None else day_record_decoder.decode(found)
            if record is None:
                return None, []
            silent = any(verdict.silent for verdict in record.sources.values())
            frozen = {row.source: row.accounts for row in await connection.execute(text(FROZEN))} if silent else {}
            retired = {row.source: row.author for row in await connection.execute(select(retired_sources))}
        return record.day.isoformat(), [
            _shown(source, verdict, frozen.get(source, 0), retired.get(source)) for source, verdict in record.sources.items()
        ]

    async def retire(self, source: str, day: int, author: str, now: datetime) -> None:
        """Note that a source is gone for good: unless it is heard after `day`, it freezes nothing any more."""
        row = {"day": day, "author": author, "retired_at": now}
        async with self._engine.begin() as connection:
            await connection.execute(
                insert(retired_sources).values(source=source, **row).on_conflict_do_update(index_elements=["source"], set_=row)
            )

    async def unretire(self, source: str) -> bool:
        """Take it back; return whether there was anything to take back."""
        async with self._engine.begin() as connection:
            return (await connection.execute(delete(retired_sources).where(retired_sources.c.source == source))).rowcount > 0


def _shown(source: str, verdict: SourceVerdict, frozen: int, retired_by: str | None) -> dict[str, Any]:
    since = verdict.silent_since
    return {
        "source": source,
        "state": "retired" if verdict.retired else "silent" if verdict.silent else "heard",
        "silent_since": None if since is None else since.isoformat(),
        "heard_on": None if verdict.heard_on is None else verdict.heard_on.isoformat(),
        "events": verdict.events,
        "usual": verdict.usual,
        "hours": list(verdict.hours),
        "frozen_accounts": frozen,
        "retired_by": retired_by,
    }
