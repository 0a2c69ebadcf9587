"""Door. Accounts with a past: one in memory, and a deployment that already has very many, stored as scoring stores them."""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.memory import TREND_CLOSES
from churnsignal_scoring.health.state import AccountState

from benchmarks.scoring.load import EVENTS

SOME = 50_000
ACCOUNTS = """INSERT INTO scoring.accounts (account, first_day, last_active, last_event_us, events_total, origin, habit, segment, rest,
    partition, band, score, coverage, closed_day)
SELECT n.account, $2, $3, $4, $5, $6, $7, $8, $9, n.partition, 'grey', NULL, 0, $10 FROM unnest($1::text[], $11::int[]) AS n(account, partition)"""
DAYS = """INSERT INTO scoring.day_counts (account, day, counts)
SELECT account, day, counts FROM unnest($1::text[]) AS n(account), unnest($2::int[], $3::jsonb[]) AS d(day, counts)"""
USERS = """INSERT INTO scoring.user_days (account, user_id, block, mask)
SELECT account, user_id, block, mask FROM unnest($1::text[]) AS n(account), unnest($2::text[], $3::int[], $4::int[]) AS u(user_id, block, mask)"""


def lived(engine: AccountEngine, account: str, since: datetime, *, days: int, users: int, chance: random.Random) -> AccountState:
    """Return an account that was used on the working days of so many days, by some of its users each day."""
    state = AccountState(account)
    for back in range(days):
        when = since + timedelta(days=back)
        if when.weekday() > 4:
            continue
        for number in range(4):
            body = {"type": "track", "event": chance.choice(EVENTS)}
            at = when + timedelta(minutes=number)
            sent = Envelope(
                id=f"{account}.{back}.{number}",
                source="web",
                account=account,
                user=f"{account}-user-{chance.randrange(users)}",
                occurred_at=at,
                received_at=at,
                call=msgspec.Raw(msgspec.json.encode(body)),
            )
            engine.apply(state, sent, engine.mapper.usage(sent))
    for _ in range(TREND_CLOSES):
        state.memory.note(chance.randrange(10_000))
    state.clean()
    return state


def populate(url: str, template: AccountState, names: Sequence[str], partitions: int, closed_day: int) -> None:
    """Store accounts of these names, all with the past of `template`, as closed on `closed_day`."""
    asyncio.run(_populate(url, template, names, partitions, closed_day))


async def _populate(url: str, template: AccountState, names: Sequence[str], partitions: int, closed_day: int) -> None:
    template.mark_all()
    rows = template.rows()
    days: list[list[Any]] = [[row.day for row in rows.days], [row.counts.decode() for row in rows.days]]
    users: list[list[Any]] = [[row[column] for row in rows.users] for column in (1, 2, 3)]
    pool = await asyncpg.create_pool(url, min_size=1, max_size=2, command_timeout=600)
    try:
        for start in range(0, len(names), SOME):
            some = list(names[start : start + SOME])
            owners = [partition_of(name, partitions) for name in some]
            await pool.execute(ACCOUNTS, some, *rows.account[1:], closed_day, owners)
            await asyncio.gather(pool.execute(DAYS, some, *days), pool.execute(USERS, some, *users))
        await pool.execute("ANALYZE")
    finally:
        await pool.close()
