"""Door. Where two copies of the state differ: set-based, table by table, with a few examples of each."""

from dataclasses import dataclass

from churnsignal_common.postgres.engine import RawConnection

from churnsignal_scoring.rebuild.copies import LIVE, WORKBENCH, Columns, tables

EXAMPLES = 5
# What a band remembers between closes depends on which calls came in one batch, and so do the copies that lists are ordered and
# profiles published by; at the next close all of it agrees again.
BETWEEN_CLOSES = {"accounts": frozenset({"band", "rest", "profile", "standing", "at_risk"})}
# The same ids, packed into other rows.
PACKED = """SELECT partition, lane, bucket, sum(octet_length(ids)) / 8 AS ids FROM {schema}.dedup GROUP BY 1, 2, 3"""
HISTORY = "SELECT account, day, band, score, coverage FROM {schema}.score_history WHERE day > {after} AND day <= {until}"
DIFFERENT = """-- rows that only one side has, how many and a few of them
WITH a AS ({made}), b AS ({stored}),
    made AS (SELECT * FROM a EXCEPT ALL SELECT * FROM b), stored AS (SELECT * FROM b EXCEPT ALL SELECT * FROM a)
SELECT (SELECT count(*) FROM made) AS made, (SELECT count(*) FROM stored) AS stored,
    ARRAY(SELECT 'recomputed ' || m::text FROM made m LIMIT {examples}) || ARRAY(SELECT 'stored ' || s::text FROM stored s LIMIT {examples}) AS examples"""


@dataclass(frozen=True, slots=True)
class Difference:
    """A table that is not what the log makes of it."""

    table: str
    rows: int
    examples: tuple[str, ...]


async def differences(pg: RawConnection, stored: str, closes: tuple[int, int]) -> list[Difference]:
    """Compare the workbench with the schema `stored`, and the closes after the first day of `closes` until the second with the live history."""
    compared = {table.table: (_rows(table, WORKBENCH), _rows(table, stored)) for table in await tables(pg) if table.is_state}
    after, until = closes
    compared["score_history"] = (
        HISTORY.format(schema=WORKBENCH, after=after, until=until),
        HISTORY.format(schema=LIVE, after=after, until=until),
    )
    found = []
    for name, (made, kept) in sorted(compared.items()):
        row = await pg.fetchrow(DIFFERENT.format(made=made, stored=kept, examples=EXAMPLES))
        assert row is not None
        if row["made"] or row["stored"]:
            found.append(Difference(name, max(row["made"], row["stored"]), tuple(text[:300] for text in row["examples"])))
    return found


def _rows(table: Columns, schema: str) -> str:
    if table.table == "dedup":
        return PACKED.format(schema=schema)
    left_out = BETWEEN_CLOSES.get(table.table, frozenset())
    names = ", ".join(name for name in table.names if name not in left_out)
    where = " WHERE count <> 0" if table.table == "outcomes" else ""
    return f"SELECT {names} FROM {schema}.{table.table}{where}"  # noqa: S608 names from the catalog
