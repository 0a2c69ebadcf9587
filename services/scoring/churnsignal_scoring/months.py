"""Door. The monthly partitions of score_history: made ahead of the close that needs them, dropped when they are too old, and what explains them with them."""

from datetime import date

from churnsignal_common.postgres.engine import RawConnection

from churnsignal_scoring.health.days import from_date, to_date

EXISTING = """-- the months there are
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'score_history'::regclass"""
LOCK = "SELECT pg_advisory_xact_lock(hashtext('churnsignal-score-history'))"


def _name(month: date) -> str:
    return f"score_history_{month:%Y_%m}"


def _next(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def first_kept(day: int, months: int) -> date:
    """Return the first day of the oldest of so many months before that of `day`."""
    today = to_date(day)
    count = today.year * 12 + today.month - 1 - months
    return date(count // 12, count % 12 + 1, 1)


async def make_months(pg: RawConnection, day: int, keep: int) -> None:
    """Have partitions for the month of `day` and the next one; drop those more than `keep` months old, and day records and closes of then."""
    await pg.execute(LOCK)
    existing = {row["relname"] for row in await pg.fetch(EXISTING)}
    month = to_date(day).replace(day=1)
    for first in (month, _next(month)):
        if _name(first) not in existing:
            span = f"FROM ({from_date(first)}) TO ({from_date(_next(first))})"
            await pg.execute(f"CREATE TABLE {_name(first)} PARTITION OF score_history FOR VALUES {span}")
    oldest = _name(first_kept(day, keep))
    for name in sorted(existing):
        if name < oldest:
            await pg.execute(f"DROP TABLE {name}")
    for table in ("day_records", "closes"):
        await pg.execute(f"DELETE FROM {table} WHERE day < $1", from_date(first_kept(day, keep)))  # noqa: S608 constant names
