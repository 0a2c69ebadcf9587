"""Flow. A rebuild changes what is known, never what was told: accounts keep the band, and the number of the change, that people have heard."""

from churnsignal_common.postgres.engine import RawConnection

from churnsignal_scoring.health.state import retold

DIFFERENT = """-- accounts that remember another story than the one told
SELECT w.account, l.band, w.rest AS made, l.rest AS told
FROM scoring_rebuild.accounts w JOIN scoring.accounts l USING (account) WHERE (w.band, w.rest) IS DISTINCT FROM (l.band, l.rest)"""
KEEP = """-- the told band, and the memory of it
UPDATE scoring_rebuild.accounts a SET band = n.band, rest = n.rest
FROM unnest($1::text[], $2::text[], $3::bytea[]) AS n(account, band, rest) WHERE a.account = n.account"""


async def keep_told(pg: RawConnection, settle_closes: int) -> int:
    """Carry over what was told; return how many accounts are in another band than they should be, which their next close will say silently."""
    rows = await pg.fetch(DIFFERENT)
    kept = [(row["account"], row["band"], *retold(row["made"], row["told"], settle_closes)) for row in rows]
    await pg.execute(KEEP, [row[0] for row in kept], [row[1] for row in kept], [row[2] for row in kept])
    return sum(moved for *_, moved in kept)
