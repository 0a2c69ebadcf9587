"""Door. What the HTTP API reads: keyset pages of accounts, closed scores and parked calls."""

from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Float,
    Integer,
    Select,
    Text,
    cast,
    func,
    literal_column,
    select,
    text,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_scoring.health.days import from_us, to_date
from churnsignal_scoring.tables import accounts, owner_history, parked, risk_changes
from churnsignal_scoring.tree import Node

# Spelled as the indexes are: with parameters in place of the constants Postgres would not recognise them, and sort the table.
_OWNER: ColumnElement[Any] = literal_column("profile ->> 'owner'", Text)
_TIER: ColumnElement[Any] = literal_column("profile ->> 'tier'", Text)
_RENEWAL: ColumnElement[Any] = literal_column("profile ->> 'renewal_on'", Text)
# `?` and not `->>`: of this Postgres guesses rightly that it holds for hardly any account.
_SHOWN: ColumnElement[Any] = literal_column("(profile ? 'merged_into') IS NOT TRUE", Boolean)
ORDERS: dict[str, ColumnElement[Any]] = {
    "account": accounts.c.account,
    "at_risk": literal_column("-coalesce(at_risk, 0)", BigInteger),
    "score": literal_column("coalesce(standing, 10001)", Integer),
    "arr": literal_column("-coalesce((profile ->> 'arr')::float8, 0)", Float),
}
CLOSED = """-- an account's closed days with their reasons and scorecards, the newest first
SELECT h.day, h.band, h.score, h.coverage, h.reasons, r.record ->> 'scorecard' AS scorecard
FROM score_history h JOIN day_records r USING (day) WHERE h.account = :account AND h.day <= :until AND h.reasons IS NOT NULL
ORDER BY h.day DESC LIMIT :days"""
CHANGE_BY = """-- the last change of band by a moment
SELECT body FROM risk_changes WHERE account = :account AND (body ->> 'as_of')::timestamptz <= :at ORDER BY sequence DESC LIMIT 1"""
OUTCOMES = """-- what people recorded of an account, the newest first
SELECT event_id AS id, occurred_us, outcome, author, note FROM account_outcomes WHERE account = :account
ORDER BY occurred_us DESC, event_id LIMIT :branches"""
UNOWNED = "none"
NEVER = 1 << 30
DEPTH, BRANCHES = 8, 1_000

TREE = """-- an account and those below it, with their scores on the last day that all of them have closed
WITH RECURSIVE below AS (
    SELECT account, profile, closed_day, 0 AS depth, ARRAY[account] AS path FROM accounts WHERE account = :account
    UNION ALL
    SELECT a.account, a.profile, a.closed_day, b.depth + 1, b.path || a.account FROM below b JOIN accounts a ON (a.profile ->> 'parent') = b.account
    WHERE b.depth < :depth AND a.account <> ALL(b.path) AND a.profile ->> 'merged_into' IS NULL),
day AS (SELECT min(closed_day) AS day FROM below)
SELECT b.account, b.profile ->> 'name' AS name, b.profile ->> 'parent' AS parent, b.depth, h.score, h.band, d.day
FROM below b CROSS JOIN day d LEFT JOIN score_history h ON h.account = b.account AND h.day = d.day ORDER BY b.depth, b.account LIMIT :branches"""

FEATURES = """-- what is counted by the call's own name, unless a rule gives that name
SELECT substr(c.key, 14) AS name, sum(c.value::bigint)::bigint AS calls, count(DISTINCT d.account)::bigint AS accounts
FROM day_counts d, jsonb_each_text(d.counts) c WHERE d.day >= :first AND c.key LIKE 'feature_used:%'
GROUP BY c.key ORDER BY calls DESC, name LIMIT :limit"""


HISTORY = """-- an account's closed days, the newest first, each with the scorecard that counted
SELECT h.account, h.day, h.band, h.score, h.coverage, r.record ->> 'scorecard' AS scorecard
FROM score_history h LEFT JOIN day_records r USING (day) WHERE h.account = :account AND h.day < :before ORDER BY h.day DESC LIMIT :limit"""


class Filters(NamedTuple):
    """Which accounts; None means any, and `none` as owner those without one. `renewal` is the first and the last day of renewals."""

    band: str | None = None
    owner: str | None = None
    segment: str | None = None
    tier: str | None = None
    renewal: tuple[date, date] | None = None


class Queries:
    """Reads for people: ordinary SQL, bounded pages."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def rows(self, query: str, **given: Any) -> list[dict[str, Any]]:
        """Return the rows of a query that has a name elsewhere."""
        async with self._engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(text(query), given)).mappings()]

    async def accounts(self, filters: Filters, order: str, after: list[Any] | None, limit: int) -> list[dict[str, Any]]:
        """Return up to limit + 1 accounts after the key; those merged into others are not shown."""
        async with self._engine.connect() as connection:
            return [_account(row) for row in (await connection.execute(page_of(filters, order, after, limit))).mappings()]

    async def owners(self, account: str) -> list[dict[str, Any]]:
        """Return whose account it was since when, the newest first."""
        query = select(owner_history).where(owner_history.c.account == account).order_by(owner_history.c.id.desc()).limit(BRANCHES)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        ends = [None, *(from_us(row["since_us"]).isoformat() for row in rows)]
        return [
            {"owner": row["owner"], "since": from_us(row["since_us"]).isoformat(), "until": end}
            for row, end in zip(rows, ends, strict=False)
        ]

    async def outcomes(self, account: str) -> list[dict[str, Any]]:
        """Return what people recorded of the account, the newest first."""
        rows = await self.rows(OUTCOMES, account=account, branches=BRANCHES)
        return [{"at": from_us(row.pop("occurred_us")).isoformat(), **row} for row in rows]

    async def tree(self, account: str) -> tuple[str | None, list[Node]]:
        """Return the day, and the account with all below it, the account itself first; none when nobody has heard of it."""
        async with self._engine.connect() as connection:
            rows = (await connection.execute(text(TREE), {"account": account, "depth": DEPTH, "branches": BRANCHES})).all()
        return (to_date(rows[0].day).isoformat() if rows else None), [Node(*row[:6]) for row in rows]

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
        rows = await self.rows(HISTORY, account=account, before=NEVER if before is None else before, limit=limit + 1)
        return [row | {"on": to_date(row["day"]).isoformat()} for row in rows]

    async def changes(self, account: str, limit: int) -> list[dict[str, Any]]:
        """Return the newest changes of band with their reasons."""
        query = select(risk_changes.c.body).where(risk_changes.c.account == account).order_by(risk_changes.c.sequence.desc()).limit(limit)
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).scalars())

    async def change_by(self, account: str, at: datetime) -> dict[str, Any] | None:
        """Return the last change of band by a moment."""
        rows = await self.rows(CHANGE_BY, account=account, at=at)
        return rows[0]["body"] if rows else None

    async def closed(self, account: str, until: int, days: int) -> list[dict[str, Any]]:
        """Return up to `days` closed days with their reasons, newest first, none after the day `until`."""
        return await self.rows(CLOSED, account=account, until=until, days=days)

    async def features(self, first: int, limit: int) -> list[tuple[str, int, int]]:
        """Return the features used most since the day `first`: name, calls, accounts."""
        rows = await self.rows(FEATURES, first=first, limit=limit)
        return [(row["name"], row["calls"], row["accounts"]) for row in rows]

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


def page_of(filters: Filters, order: str, after: list[Any] | None, limit: int) -> Select[Any]:
    """Return the query of one page; each order, with or without an owner, walks an index."""
    key = ORDERS[order]
    query = select(accounts, key.label("key")).where(_SHOWN).order_by(key, accounts.c.account).limit(limit + 1)
    if after is not None:
        query = query.where(tuple_(key, accounts.c.account) > tuple_(cast(after[0], key.type), cast(after[1], Text)))
    if filters.band is not None:
        query = query.where(accounts.c.band == filters.band)
    if filters.owner is not None:
        query = query.where(_OWNER.is_(None) if filters.owner == UNOWNED else _OWNER.in_([filters.owner]))
    if filters.segment is not None:
        query = query.where(accounts.c.segment == filters.segment)
    if filters.tier is not None:
        query = query.where(_TIER.in_([filters.tier]))
    if filters.renewal is not None:
        first, last = filters.renewal
        query = query.where(_RENEWAL.between(first.isoformat(), last.isoformat()))
    return query


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
        "at_risk": (row["at_risk"] or 0) // 10_000,
        "key": row.get("key"),
    }
