"""Lists of accounts in their orders: page by page, without sorting the table."""

from typing import Any

import asyncpg
import pytest
from churnsignal_common.postgres.engine import open_engine
from churnsignal_scoring.queries import ORDERS, Filters, Queries, page_of
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from tests.support.stack import Stack

FILL = """INSERT INTO scoring.accounts (account, partition, events_total, origin, habit, segment, rest, band, score, coverage, closed_day, standing,
    at_risk, profile)
SELECT 'a' || n, 0, 0, 0, '', 's', '', 'green', 5000, 10000, 1, n % 977, n * 37 % 10007,
    jsonb_build_object('account', 'a' || n, 'arr', n % 101, 'owner', CASE n % 10 WHEN 0 THEN NULL ELSE 'csm' || n % 50 END)
FROM generate_series(1, 20000) AS n"""


@pytest.mark.asyncio
async def test_every_order_is_read_from_an_index_and_pages_meet_without_gap_or_overlap(stack: Stack) -> None:
    url = stack.create_database("scoring")
    database = await asyncpg.connect(url, server_settings={"search_path": "scoring"})
    try:
        await database.execute(FILL)
        await database.execute("ANALYZE scoring.accounts")
        plans = {}
        dialect: Any = PGDialect_asyncpg()  # type: ignore[no-untyped-call] # it has no types
        for order in ORDERS:
            for owner in (None, "csm7", "none"):
                query = page_of(Filters(owner=owner), order, None, 100)
                compiled = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
                plans[(order, owner)] = "\n".join(row[0] for row in await database.fetch(f"EXPLAIN {compiled}"))
        async with open_engine(url, "scoring") as engine:
            queries = Queries(engine)
            seen: list[tuple[int, str]] = []
            after: list[Any] | None = None
            while rows := (await queries.accounts(Filters(owner="none"), "at_risk", after, 300))[:300]:
                seen.extend((row["key"], row["account"]) for row in rows)
                after = list(seen[-1])
    finally:
        await database.close()
        stack.drop_database(url)

    assert {key: plan for key, plan in plans.items() if key[1] is None and ("Sort" in plan or "Seq Scan" in plan)} == {}
    # Those of one owner in the default order too; in the others the owner's few accounts may be sorted, the table never.
    assert {key: plan for key, plan in plans.items() if "Seq Scan" in plan or (key[0] == "at_risk" and "Sort" in plan)} == {}
    assert seen == sorted(seen)
    assert len(seen) == len(set(seen)) == 2000
