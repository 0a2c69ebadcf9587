"""Door. What must hold of the stored tables and the log, whatever happened: asked of offsets and ids, never of our own counters."""

from dataclasses import dataclass
from itertools import pairwise

import msgspec
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.risk import risk_decoder
from churnsignal_common.postgres.engine import RawConnection

from churnsignal_scoring.rebuild.compare import EXAMPLES
from churnsignal_scoring.rebuild.tail import Tail

ACCOUNTED = """-- places whose offsets and outcomes do not add up
SELECT p.topic || ' partition ' || p.partition || ': ' || p.next_offset - p.first_offset || ' records read, ' || coalesce(o.count, 0) || ' accounted for'
FROM {schema}.positions p LEFT JOIN (SELECT topic, partition, sum(count)::bigint AS count FROM {schema}.outcomes GROUP BY 1, 2) o USING (topic, partition)
WHERE p.next_offset - p.first_offset <> coalesce(o.count, 0) ORDER BY 1"""

CHAINED = """-- changes of band that do not follow from the one before; an account's first one may be gone once it is older than all scores
SELECT account || ' change ' || sequence || ': from ' || coalesce(from_band, 'nothing') || ', but the change before it was '
    || coalesce(before || ' to ' || before_band, 'none')
FROM (SELECT account, sequence, day, from_band, lag(sequence) OVER w AS before, lag(to_band) OVER w AS before_band,
             row_number() OVER w AS place FROM scoring.risk_changes WINDOW w AS (PARTITION BY account ORDER BY sequence)) c
WHERE (place = 1 AND sequence <> 1 AND day >= (
    SELECT coalesce(min(to_date(right(c.relname, 7), 'YYYY_MM')) - date '1970-01-01', 0)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'scoring.score_history'::regclass)) OR (place > 1 AND (sequence <> before + 1 OR from_band IS DISTINCT FROM before_band)) ORDER BY 1"""

# What was told since the day ended is no word on how it closed. No change yet: grey.
CLOSED = """-- closes whose band is not what the last change by then says
SELECT h.account || ' on ' || (date '1970-01-01' + h.day) || ': closed ' || h.band || ', but its changes say ' || coalesce(c.to_band, 'grey')
FROM scoring.score_history h LEFT JOIN scoring.risk_changes c USING (account, sequence)
WHERE h.band <> coalesce(c.to_band, 'grey')
AND (c.account IS NULL OR (c.body->>'as_of')::timestamptz <= ((date '1970-01-01' + h.day + 1)::timestamp AT TIME ZONE $1)) ORDER BY 1"""

CURRENT = """-- accounts whose band is not that of their last change
SELECT a.account || ': is ' || a.band || ', but its last change says ' || coalesce(c.to_band, 'grey')
FROM scoring.accounts a LEFT JOIN LATERAL (
    SELECT to_band FROM scoring.risk_changes c WHERE c.account = a.account ORDER BY sequence DESC LIMIT 1) c ON true
WHERE a.band <> coalesce(c.to_band, 'grey') ORDER BY 1"""

_bands = msgspec.json.Decoder(dict[int, str]).decode
POSITIONS = "SELECT topic, partition, next_offset FROM scoring.positions"
CHANGES = """-- what was decided, in the order in which it is told
SELECT account, jsonb_object_agg(sequence, to_band)::text AS bands FROM scoring.risk_changes GROUP BY 1"""
PENDING = "SELECT count(*) FROM scoring.outbox WHERE topic = 'risk.changes.v1'"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold. `problems` counts where it does not; `examples` are a few of them."""

    name: str
    problems: int
    examples: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


def check(name: str, problems: list[str]) -> Check:
    return Check(name, len(problems), tuple(problems[:EXAMPLES]))


async def stored_checks(pg: RawConnection, zone: str) -> list[Check]:
    """Check what Postgres holds, as of one moment."""
    async with pg.transaction(isolation="repeatable_read", readonly=True):
        found = [
            check("every record has one outcome", [row[0] for row in await pg.fetch(ACCOUNTED.format(schema="scoring"))]),
            check("changes of band follow from each other", [row[0] for row in await pg.fetch(CHAINED)]),
            check("closes agree with the changes of band", [row[0] for row in await pg.fetch(CLOSED, zone)]),
            check("accounts agree with their last change", [row[0] for row in await pg.fetch(CURRENT)]),
        ]
        if await pg.fetchval("SELECT to_regclass('alerts.positions') IS NOT NULL"):
            found.append(
                check("every change has one outcome in alerts", [row[0] for row in await pg.fetch(ACCOUNTED.format(schema="alerts"))])
            )
    return found


async def log_checks(pg: RawConnection, tail: Tail, partitions: int) -> list[Check]:
    """Check what the topics hold against it: nothing read beyond their ends, every change published."""
    positions = {Place(row["topic"], row["partition"]): row["next_offset"] for row in await pg.fetch(POSITIONS)}
    _, ends = await tail.bounds(sorted(positions))
    beyond = [
        f"{place.topic} partition {place.partition} ends at {ends[place]}, but {offset} was read"
        for place, offset in positions.items()
        if offset > ends[place]
    ]
    return [check("nothing was read that the log does not hold", beyond), await _published(pg, tail, partitions)]


async def _published(pg: RawConnection, tail: Tail, partitions: int) -> Check:
    pending = await pg.fetchval(PENDING)
    decided = await _decided(pg)
    seen: dict[str, dict[int, str]] = {}
    problems = []
    async for value in tail.published(partitions):
        try:
            change = risk_decoder.decode(value).data
        except msgspec.MsgspecError as error:
            problems.append(f"a record of risk.changes.v1 cannot be read: {error}")
            continue
        bands, band = seen.setdefault(change.account.account, {}), change.to_band.value
        if bands.setdefault(change.sequence, band) != band:
            problems.append(f"{change.account.account}: change {change.sequence} was published as {bands[change.sequence]} and as {band}")
    # Asked again, because live scoring goes on: what is published was decided before, and what was decided is published later.
    now = await _decided(pg)
    for account, bands in sorted(seen.items()):
        ordered, made, last = sorted(bands), now.get(account, {}), max(decided.get(account, {}), default=0)
        problems.extend(f"{account}: {one} was published, and then {other}" for one, other in pairwise(ordered) if other != one + 1)
        problems.extend(
            f"{account}: change {sequence} was published as {band}, but is not stored so"
            for sequence, band in bands.items()
            if sequence >= min(made, default=0) and made.get(sequence) != band
        )
        if not pending and ordered[-1] < last:
            problems.append(f"{account}: change {last} is stored, but {ordered[-1]} is the last one published")
    return check("changes are published as they were decided, without a gap", problems)


async def _decided(pg: RawConnection) -> dict[str, dict[int, str]]:
    return {row["account"]: _bands(row["bands"]) for row in await pg.fetch(CHANGES)}
