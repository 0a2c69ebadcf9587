"""Door. Each account's risk changes in order: seen ones are ignored, ones after a gap are held until it closes or time is up."""

from collections.abc import Sequence

from churnsignal_common.contracts.risk import risk_decoder
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from churnsignal_alerts.order import Arrived

SEEN = text("SELECT account, sequence FROM alerts.sequences WHERE account = ANY(:accounts) ORDER BY account FOR UPDATE")
# What no longer waits is let go.
ADVANCE = text("""
WITH released AS (DELETE FROM alerts.held WHERE account = :account AND sequence <= :sequence)
INSERT INTO alerts.sequences (account, sequence) VALUES (:account, :sequence)
ON CONFLICT (account) DO UPDATE SET sequence = greatest(alerts.sequences.sequence, excluded.sequence)
""")
HOLD = text("""
INSERT INTO alerts.held (account, sequence, record, recorded_ms) VALUES (:account, :sequence, :record, :recorded_ms) ON CONFLICT DO NOTHING
""")
HELD = text("SELECT account, sequence, record, recorded_ms FROM alerts.held WHERE account = ANY(:accounts) ORDER BY account, sequence")
# Accounts whose gap has been open too long, by the database's clock: waiting for machines is real time.
OVERDUE = text("SELECT DISTINCT account FROM alerts.held WHERE held_at < now() - make_interval(secs => :after_s) LIMIT 100")


async def seen(connection: AsyncConnection, accounts: list[str]) -> dict[str, int]:
    """Return the last sequence of each known account, locked."""
    return {row.account: row.sequence for row in await connection.execute(SEEN, {"accounts": accounts})}


async def held(connection: AsyncConnection, accounts: list[str]) -> dict[str, list[Arrived]]:
    """Return what waits for an earlier change, as it once came, by account and in order."""
    found: dict[str, list[Arrived]] = {}
    for row in await connection.execute(HELD, {"accounts": accounts}):
        found.setdefault(row.account, []).append(Arrived(risk_decoder.decode(row.record).data, bytes(row.record), row.recorded_ms))
    return found


async def hold(connection: AsyncConnection, waiting: Sequence[Arrived]) -> None:
    """Keep changes until the gap before them closes."""
    if waiting:
        rows = [
            {"account": one.account, "sequence": one.change.sequence, "record": one.record, "recorded_ms": one.recorded_ms}
            for one in waiting
        ]
        await connection.execute(HOLD, rows)


async def advance(connection: AsyncConnection, last: dict[str, int]) -> None:
    """Note the last sequence applied of each account, and let go of what no longer waits."""
    if last:
        rows = [{"account": account, "sequence": sequence} for account, sequence in sorted(last.items())]
        await connection.execute(ADVANCE, rows)


async def overdue(connection: AsyncConnection, after_s: float) -> list[str]:
    """Return accounts that have waited longer than `after_s` for a missing change."""
    return [row.account for row in await connection.execute(OVERDUE, {"after_s": after_s})]
