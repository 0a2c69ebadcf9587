"""Door. Copies of the scoring schema beside the live one: checkpoints to start from, and the workbench that a rebuild fills."""

from collections.abc import Iterable
from dataclasses import dataclass

from churnsignal_common.postgres.engine import RawConnection

LIVE = "scoring"
WORKBENCH = "scoring_rebuild"
CHECKPOINT = "scoring_checkpoint_"
COMPARED = "scoring_compared"

# Every other table is state: a checkpoint holds it, a rebuild makes it again, and both must agree.
LOGS = frozenset({"outbox", "ownership", "score_history", "risk_changes", "day_records", "owner_history", "migration_version"})
# What was decided once and is not made again; a workbench gets it as it is now, but begins at the closes of its checkpoint.
INPUTS = frozenset({"deployment", "configs", "activations", "retired_sources"})
MARKS = frozenset({"closes"})

TABLES = """-- the tables of a schema and the columns that are ours to fill
SELECT c.relname AS name, bool_or(a.attidentity <> '') AS numbered,
    array_agg(quote_ident(a.attname) ORDER BY a.attnum) FILTER (WHERE a.attidentity = '' AND a.attgenerated = '') AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition GROUP BY c.oid ORDER BY 1"""
UNSETTLED = """-- partitions in the midst of closing a day: some of their accounts are closed and some are not
SELECT count(*) FROM scoring.closes WHERE stage = 'recorded'"""
CHECKPOINTS = """-- what there is to start from, newest last
SELECT nspname AS name FROM pg_namespace WHERE nspname LIKE 'scoring\\_checkpoint\\_%' ORDER BY 1"""
NAME = """-- what a checkpoint taken some hours ago is called, by Postgres's clock
SELECT $1 || to_char(clock_timestamp() AT TIME ZONE 'UTC' - make_interval(hours => $2), 'YYYYMMDD_HH24MISS')"""
LOCK = "SELECT pg_advisory_xact_lock(hashtext('churnsignal-scoring-copies'))"


class Unsettled(Exception):
    """A day is being closed: a copy made now could not be compared. Try again in a moment."""


@dataclass(frozen=True, slots=True)
class Columns:
    """A table, and its columns other than those that Postgres fills. `numbered`: rows have an order, by `id`."""

    table: str
    names: tuple[str, ...]
    numbered: bool

    @property
    def is_state(self) -> bool:
        return self.table not in LOGS | INPUTS | MARKS

    def copied(self, source: str, target: str) -> str:
        """Return the statement that copies all rows from schema to schema."""
        names = ", ".join(self.names)
        order = " ORDER BY id" if self.numbered else ""
        return f"INSERT INTO {target}.{self.table} ({names}) SELECT {names} FROM {source}.{self.table}{order}"  # noqa: S608 names from the catalog


async def tables(pg: RawConnection, schema: str = LIVE) -> list[Columns]:
    return [Columns(row["name"], tuple(row["columns"]), row["numbered"]) for row in await pg.fetch(TABLES, schema)]


async def checkpoints(pg: RawConnection) -> list[str]:
    return [row["name"] for row in await pg.fetch(CHECKPOINTS)]


async def name_of(pg: RawConnection, hours_ago: int = 0) -> str:
    """Return the name of a checkpoint taken so long ago; names sort by time."""
    return str(await pg.fetchval(NAME, CHECKPOINT, hours_ago))


async def take_checkpoint(pg: RawConnection, name: str | None = None) -> str:
    """Copy the state as of one moment; return the checkpoint's name. Raises `Unsettled` while a day closes.

    With a name of its own it is no checkpoint but a copy to compare with; one of that name that was left behind goes.
    """
    async with pg.transaction(isolation="repeatable_read"):
        await pg.execute(LOCK)
        if await pg.fetchval(UNSETTLED):
            raise Unsettled("a day is being closed; a checkpoint is possible once its closes are done")
        if name is None:
            name = await name_of(pg)
        await drop(pg, [name])
        await _copy(pg, LIVE, name)
    return name


async def prepare_workbench(pg: RawConnection, start: str | None) -> None:
    """Make a fresh workbench that holds the state of a checkpoint, or none."""
    async with pg.transaction(isolation="repeatable_read"):
        await pg.execute(LOCK)
        await drop(pg, [WORKBENCH])
        await _copy(pg, start, WORKBENCH)


async def _copy(pg: RawConnection, source: str | None, target: str) -> None:
    await pg.execute(f"CREATE SCHEMA {target}")
    for table in await tables(pg):
        await pg.execute(f"CREATE TABLE {target}.{table.table} (LIKE {LIVE}.{table.table} INCLUDING ALL)")
        if table.table in INPUTS:
            await pg.execute(table.copied(LIVE, target))
        elif source is not None and table.table not in LOGS:
            await pg.execute(table.copied(source, target))


async def drop(pg: RawConnection, schemas: Iterable[str]) -> None:
    for schema in schemas:
        await pg.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


async def swap(pg: RawConnection) -> None:
    """Put the workbench's state in the place of the live one; call it in a transaction that owns all partitions."""
    for table in await tables(pg):
        if table.is_state:
            await pg.execute(f"TRUNCATE {LIVE}.{table.table}")
            await pg.execute(table.copied(WORKBENCH, LIVE))
