"""Door. What the HTTP API reads: keyset pages of accounts, closed scores and parked calls."""

from typing import Any, NamedTuple

from sqlalchemy import ARRAY, ColumnElement, Float, Text, cast, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_scoring.health.days import to_date
from churnsignal_scoring.tables import accounts, parked, risk_changes, score_history

# Grey accounts have no score and come last when the worst come first.
_UNSCORED = 10_001
_OWNER = accounts.c.profile["owner"].as_string()
_ARR = func.coalesce(cast(accounts.c.profile["arr"].as_string(), Float), 0.0)
ORDERS: dict[str, ColumnElement[Any]] = {
    "account": accounts.c.account,
    "score": func.coalesce(accounts.c.score, _UNSCORED),
    "arr": -_ARR,
}


FEATURES = """-- what is counted by the call's own name, unless a rule gives that name
SELECT substr(c.key, 14) AS name, sum(c.value::bigint)::bigint AS calls, count(DISTINCT d.account)::bigint AS accounts
FROM day_counts d, jsonb_each_text(d.counts) c WHERE d.day >= :first AND c.key LIKE 'feature_used:%'
GROUP BY c.key ORDER BY calls DESC, name LIMIT :limit"""


class Filters(NamedTuple):
    """Which accounts; None means any."""

    band: str | None
    owner: str | None
    segment: str | None


class Queries:
    """Reads for people: ordinary SQL, bounded pages."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def accounts(self, filters: Filters, order: str, after: list[Any] | None, limit: int) -> list[dict[str, Any]]:
        """Return up to limit + 1 accounts after the key."""
        key = ORDERS[order]
        query = select(accounts, key.label("key")).order_by(key, accounts.c.account).limit(limit + 1)
        if after is not None:
            query = query.where(tuple_(key, accounts.c.account) > tuple_(*after))
        if filters.band is not None:
            query = query.where(accounts.c.band == filters.band)
        if filters.owner is not None:
            query = query.where(filters.owner == _OWNER)
        if filters.segment is not None:
            query = query.where(accounts.c.segment == filters.segment)
        async with self._engine.connect() as connection:
            return [_account(row) for row in (await connection.execute(query)).mappings()]

    async def account(self, account: str) -> dict[str, Any] | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(accounts).where(accounts.c.account == account))).mappings().first()
        return _account(row) if row is not None else None

    async def count_known(self, names: list[str]) -> int:
        """Return how many of these accounts were ever heard of."""
        query = select(func.count()).where(accounts.c.account == func.any(cast(names, ARRAY(Text))))
        async with self._engine.connect() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def history(self, account: str, before: int | None, limit: int) -> list[dict[str, Any]]:
        """Return up to limit + 1 closed days, newest first."""
        query = select(score_history).where(score_history.c.account == account).order_by(score_history.c.day.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(score_history.c.day < before)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings()
            return [{**row, "on": to_date(row["day"]).isoformat()} for row in rows]

    async def changes(self, account: str, limit: int) -> list[dict[str, Any]]:
        """Return the newest changes of band with their reasons."""
        query = select(risk_changes.c.body).where(risk_changes.c.account == account).order_by(risk_changes.c.sequence.desc()).limit(limit)
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).scalars())

    async def features(self, first: int, limit: int) -> list[tuple[str, int, int]]:
        """Return the features used most since the day `first`: name, calls, accounts."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(text(FEATURES), {"first": first, "limit": limit})
            return [(row.name, row.calls, row.accounts) for row in rows]

    async def unresolved(self, after: list[Any] | None, limit: int) -> list[dict[str, Any]]:
        """Return up to limit + 1 users without an account, with how many calls wait for a link."""
        query = (
            select(parked.c.source, parked.c.subject, func.count().label("calls"), func.min(parked.c.received_day).label("day"))
            .group_by(parked.c.source, parked.c.subject)
            .order_by(parked.c.source, parked.c.subject)
            .limit(limit + 1)
        )
        if after is not None:
            query = query.where(tuple_(parked.c.source, parked.c.subject) > tuple_(*(cast(part, Text) for part in after)))
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings()
            return [
                {"source": r["source"], "subject": r["subject"], "calls": r["calls"], "since": to_date(r["day"]).isoformat()} for r in rows
            ]


def _account(row: Any) -> dict[str, Any]:
    active = row["last_active"]
    return {
        "account": row["account"],
        "band": row["band"],
        "score": row["score"],
        "coverage": row["coverage"],
        "segment": row["segment"],
        "last_active_on": to_date(active).isoformat() if active is not None else None,
        "events": row["events_total"],
        "closed_on": to_date(row["closed_day"]).isoformat(),
        "profile": row["profile"] or {},
        "key": row.get("key"),
    }
