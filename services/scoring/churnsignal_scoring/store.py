"""Door. Write one transaction: epochs, offsets, outcomes, dedup, states, scores, closes and the outbox commit together or not at all."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import msgspec
from churnsignal_common.postgres.engine import RawConnection, transaction
from churnsignal_common.runtime import crash
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_scoring.dedup import Bucket
from churnsignal_scoring.effects import Effects, OutboxRow, encoder, positions_of
from churnsignal_scoring.health.merging import OLDER_US
from churnsignal_scoring.health.rows import DayRow, Fact, FactRow, UserRow
from churnsignal_scoring.health.state import BLOCK_DAYS, TEAM_BLOCKS
from churnsignal_scoring.health.values import as_text
from churnsignal_scoring.ownership import Ownership

crash.declare("scoring.in_transaction")

PROGRESS = """-- lock our epochs until the commit (a new owner waits for us, or we see its epoch), and in the same round trip
-- move the offsets, count what became of each record, remember the ids, and delete what Kafka has
WITH owned AS (SELECT partition, epoch, config FROM ownership WHERE partition = ANY($1::int[]) ORDER BY partition FOR SHARE),
moved AS (
    UPDATE positions p SET next_offset = n.next FROM unnest($2::text[], $3::int[], $4::bigint[]) AS n(topic, partition, next)
    WHERE p.topic = n.topic AND p.partition = n.partition),
counted AS (
    INSERT INTO outcomes AS o (topic, partition, outcome, reason, count)
    SELECT * FROM unnest($5::text[], $6::int[], $7::text[], $8::text[], $9::bigint[])
    ON CONFLICT (topic, partition, outcome, reason) DO UPDATE SET count = o.count + EXCLUDED.count),
remembered AS (
    INSERT INTO dedup (partition, lane, bucket, written, ids, bodies)
    SELECT p, l, b, $15, i, o FROM unnest($10::int[], $11::smallint[], $12::int[], $13::bytea[], $14::bytea[]) AS n(p, l, b, i, o)),
heard AS (
    INSERT INTO source_hours AS s (partition, source, hour, calls) SELECT * FROM unnest($17::int[], $18::text[], $19::int[], $20::bigint[])
    ON CONFLICT (partition, source, hour) DO UPDATE SET calls = s.calls + EXCLUDED.calls),
published AS (DELETE FROM outbox WHERE id = ANY($16::bigint[]))
SELECT partition, epoch, config FROM owned"""

JOIN_DEDUP = """-- join the small rows of one bucket into one
WITH gone AS (DELETE FROM dedup WHERE partition = $1 AND lane = $2 AND bucket = $3 AND octet_length(ids) < 65536
              RETURNING id, written, ids, bodies)
INSERT INTO dedup (partition, lane, bucket, written, ids, bodies)
SELECT $1, $2, $3, max(written), string_agg(ids, ''::bytea ORDER BY id), string_agg(bodies, ''::bytea ORDER BY id) FROM gone
HAVING count(*) > 0"""

DROP_DEDUP = """-- ids that no retry can repeat any more
DELETE FROM dedup d USING unnest($1::int[], $2::smallint[], $3::int[]) AS n(partition, lane, bucket)
WHERE d.partition = n.partition AND d.lane = n.lane AND d.bucket = n.bucket"""

STATES = """-- what changed of the accounts, their days, users and facts; a profile only when it changed
WITH days AS (
    INSERT INTO day_counts (account, day, counts) SELECT * FROM unnest($18::text[], $19::int[], $20::jsonb[])
    ON CONFLICT (account, day) DO UPDATE SET counts = EXCLUDED.counts),
users AS (
    INSERT INTO user_days (account, user_id, block, mask) SELECT * FROM unnest($21::text[], $22::text[], $23::int[], $24::int[])
    ON CONFLICT (account, block, user_id) DO UPDATE SET mask = EXCLUDED.mask),
facts AS (
    INSERT INTO facts (account, name, versions) SELECT * FROM unnest($25::text[], $26::text[], $27::jsonb[])
    ON CONFLICT (account, name) DO UPDATE SET versions = EXCLUDED.versions)
INSERT INTO accounts AS a (account, first_day, last_active, last_event_us, events_total, origin, habit, segment, rest,
    partition, band, score, coverage, profile, closed_day, standing, at_risk)
SELECT * FROM unnest($1::text[], $2::int[], $3::int[], $4::bigint[], $5::bigint[], $6::int[], $7::bytea[], $8::text[], $9::bytea[],
    $10::int[], $11::text[], $12::int[], $13::int[], $14::jsonb[], $15::int[], $16::int[], $17::bigint[])
ON CONFLICT (account) DO UPDATE SET first_day = EXCLUDED.first_day, last_active = EXCLUDED.last_active, last_event_us = EXCLUDED.last_event_us,
    events_total = EXCLUDED.events_total, origin = EXCLUDED.origin, habit = EXCLUDED.habit, segment = EXCLUDED.segment, rest = EXCLUDED.rest,
    band = EXCLUDED.band, score = EXCLUDED.score, coverage = EXCLUDED.coverage, profile = coalesce(EXCLUDED.profile, a.profile),
    closed_day = EXCLUDED.closed_day, standing = coalesce(EXCLUDED.standing, a.standing), at_risk = coalesce(EXCLUDED.at_risk, a.at_risk)"""

OWNED = """-- since when an account has its owner, in the order in which it was heard
INSERT INTO owner_history (account, since_us, owner) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])"""

EMPTY = """-- what was handed over to the accounts that these are merged into
WITH days AS (DELETE FROM day_counts WHERE account = ANY($1::text[])),
users AS (DELETE FROM user_days WHERE account = ANY($1::text[])),
shadows AS (DELETE FROM shadow_scores WHERE account = ANY($1::text[]))
DELETE FROM facts WHERE account = ANY($1::text[])"""

PRUNE_DAYS = """-- counts that no evaluation can see any more
DELETE FROM day_counts AS old USING unnest($1::text[], $2::int[]) AS kept (account, day) WHERE old.account = kept.account AND old.day < kept.day"""
PRUNE_USERS = f"""-- users' days that no evaluation can see any more
DELETE FROM user_days AS old USING unnest($1::text[], $2::int[]) AS kept (account, day)
WHERE old.account = kept.account AND old.block % {TEAM_BLOCKS} < kept.day / {BLOCK_DAYS}"""  # noqa: S608 constants

FORGET_CHANGES = """-- changes of band that no kept close refers to: of those before a day the last one stays
DELETE FROM risk_changes AS old WHERE account = ANY($1::text[]) AND day < $2
AND EXISTS (SELECT FROM risk_changes AS next WHERE next.account = old.account AND next.sequence = old.sequence + 1 AND next.day < $2)"""

FORGET_USERS = """-- users who made room for others in a full block
DELETE FROM user_days AS old USING unnest($1::text[], $2::text[], $3::int[]) AS gone (account, user_id, block)
WHERE (old.account, old.block, old.user_id) = (gone.account, gone.block, gone.user_id)"""

SCORES = """-- what closes concluded
INSERT INTO score_history (account, day, band, score, coverage, sequence, reasons)
SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::int[], $5::int[], $6::int[], $7::bytea[])"""

SHADOWS = """-- what they concluded under two scorecards side by side
INSERT INTO shadow_scores (account, version, since, day, in_force_band, in_force_score, in_force_turned_red, in_force_first_red,
    band, score, turned_red, first_red)
SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::text[], $6::int[], $7::int[], $8::int[], $9::text[], $10::int[],
    $11::int[], $12::int[])
ON CONFLICT (account) DO UPDATE SET version = EXCLUDED.version, since = EXCLUDED.since, day = EXCLUDED.day,
    in_force_band = EXCLUDED.in_force_band, in_force_score = EXCLUDED.in_force_score, in_force_turned_red = EXCLUDED.in_force_turned_red,
    in_force_first_red = EXCLUDED.in_force_first_red, band = EXCLUDED.band, score = EXCLUDED.score, turned_red = EXCLUDED.turned_red,
    first_red = EXCLUDED.first_red"""

RECORDED = """-- what became of accounts, as people said
INSERT INTO account_outcomes (account, event_id, occurred_us, outcome, author, note)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[]) ON CONFLICT DO NOTHING"""

CHANGES = """-- changes of band, kept beside their publication
INSERT INTO risk_changes (account, sequence, day, cause, from_band, to_band, body)
SELECT * FROM unnest($1::text[], $2::int[], $3::int[], $4::text[], $5::text[], $6::text[], $7::jsonb[])"""

LINKS = """-- what is known of users, and their last known accounts
INSERT INTO users AS u (subject, partition, account, known) SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::jsonb[])
ON CONFLICT (subject) DO UPDATE SET account = EXCLUDED.account, known = EXCLUDED.known"""

PARK = """-- calls of users that nobody knows yet
INSERT INTO parked (partition, "offset", subject, source, received_day, envelope)
SELECT * FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[], $5::int[], $6::bytea[])"""
UNPARK = """-- credited
DELETE FROM parked WHERE id = ANY($1::bigint[])"""

CLOSES = """-- steps of the day closes; sums are kept until all is done
INSERT INTO closes AS c (day, partition, stage, cause, positions, partial)
SELECT * FROM unnest($1::int[], $2::int[], $3::text[], $4::text[], $5::jsonb[], $6::bytea[])
ON CONFLICT (day, partition) DO UPDATE SET stage = EXCLUDED.stage, cause = coalesce(EXCLUDED.cause, c.cause),
    positions = coalesce(EXCLUDED.positions, c.positions), partial = CASE WHEN EXCLUDED.stage <> 'done' THEN coalesce(EXCLUDED.partial, c.partial) END, moved_at = now()"""

UNHEARD = """-- hours that no close can look at any more
DELETE FROM source_hours WHERE partition = ANY($1::int[]) AND hour < $2"""

RECORD = """-- the day's record: made once, never again
INSERT INTO day_records (day, record) VALUES ($1, $2::jsonb)"""

OUTBOX = """-- to be published after the commit, in this order
INSERT INTO outbox (partition, topic, target, count, records)
SELECT p, t, g, c, r FROM unnest($1::int[], $2::text[], $3::int[], $4::int[], $5::bytea[]) WITH ORDINALITY AS n(p, t, g, c, r, place)
ORDER BY place RETURNING id"""
PUBLISHED = """-- published and acknowledged
DELETE FROM outbox WHERE id = ANY($1::bigint[])"""


_SAME = (None, None)


class Store:
    """The write side of the schema."""

    def __init__(self, engine: AsyncEngine, ownership: Ownership) -> None:
        self._engine = engine
        self.ownership = ownership

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[RawConnection]:
        """Yield an asyncpg connection in a transaction of its own."""
        async with transaction(self._engine) as pg:
            yield pg

    async def save(self, effects: Effects) -> list[OutboxRow]:
        """Write everything in one transaction; return the outbox rows as stored. Raises `Fenced` when the partitions are not ours."""
        async with self.transaction() as pg:
            self.ownership.verify(effects.partitions, await _save_progress(pg, effects))
            if effects.emptied:
                await pg.execute(EMPTY, effects.emptied)
            if effects.accounts:
                await _save_accounts(pg, effects)
            await _save_conclusions(pg, effects)
            await _save_unresolved(pg, effects)
            stored = await _save_outbox(pg, effects)
            crash.point("scoring.in_transaction")
        return stored

    async def delete_published(self, ids: list[int]) -> None:
        async with self.transaction() as pg:
            await pg.execute(PUBLISHED, ids)

    async def join_dedup(self, buckets: Iterable[Bucket]) -> None:
        """Join the small rows of these buckets; their ids stay the same."""
        async with self.transaction() as pg:
            await self.ownership.check(pg, {bucket.partition for bucket in buckets})
            for bucket in buckets:
                await pg.execute(JOIN_DEDUP, *bucket)


async def _put(pg: RawConnection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run a set-based statement with one array per column, unless there is nothing to write."""
    if rows:
        await pg.execute(statement, *(list(column) for column in zip(*rows, strict=True)))


def _columns(rows: Sequence[Sequence[Any]], count: int) -> list[list[Any]]:
    """Return `count` columns of the rows, also when there are none."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(count)]


def _json(columns: list[list[Any]]) -> list[list[Any]]:
    """Return the columns with the last one as the text that Postgres wants for JSON."""
    return [*columns[:-1], [value.decode() for value in columns[-1]]]


async def _save_progress(pg: RawConnection, effects: Effects) -> list[Any]:
    positions = [(*place, following) for place, following in effects.positions.items()]
    outcomes = sorted((*key, count) for key, count in effects.tally.counts.items() if count)
    await _put(pg, DROP_DEDUP, effects.dropped)
    arrays = (*_columns(positions, 3), *_columns(outcomes, 5), *_columns(effects.dedup, 5))
    heard = _columns(sorted((*place, calls) for place, calls in effects.heard.items()), 4)
    return await pg.fetch(PROGRESS, sorted(effects.partitions), *arrays, effects.today, effects.published, *heard)


async def _save_accounts(pg: RawConnection, effects: Effects) -> None:
    accounts: list[tuple[Any, ...]] = []
    days: list[DayRow] = []
    users: list[UserRow] = []
    facts: list[FactRow] = []
    gone: list[UserRow] = []
    owned: list[tuple[Any, ...]] = []
    for name, (state, partition, verdict, profile, ranks, closed_day) in sorted(effects.accounts.items()):
        changed = state.rows()
        told = encoder.encode(profile).decode() if profile is not None else None
        fixed = (partition, verdict.band.value, verdict.score, verdict.coverage, told, closed_day)
        accounts.append((*changed.account, *fixed, *(_SAME if ranks is None else (ranks.standing, ranks.at_risk))))
        owned += [(name, _since(fact), as_text(fact.value)) for fact in state.dirty_owners]
        days += changed.days
        users += changed.users
        facts += changed.facts
        gone += state.gone_rows()
    await pg.execute(STATES, *_columns(accounts, 17), *_json(_columns(days, 3)), *_columns(users, 4), *_json(_columns(facts, 3)))
    await _put(pg, FORGET_USERS, [row[:3] for row in gone])
    await _put(pg, OWNED, owned)


def _since(owner: Fact) -> int:
    # What came from a merged account counts as older than it is.
    return owner.occurred_us % OLDER_US


async def _save_conclusions(pg: RawConnection, effects: Effects) -> None:
    await _put(pg, SCORES, effects.scores)
    await _put(pg, SHADOWS, effects.shadows)
    await _put(pg, RECORDED, effects.recorded)
    for day in sorted({row.day for row in effects.scores}):
        closed = [row.account for row in effects.scores if row.day == day]
        kept = [effects.accounts[account].state.kept_from(day) for account in closed]
        await pg.execute(PRUNE_DAYS, closed, kept)
        await pg.execute(PRUNE_USERS, closed, kept)
    if effects.changes_from is not None:
        await pg.execute(FORGET_CHANGES, list(effects.accounts), effects.changes_from)
    changes = [
        (
            c.account.account,
            c.sequence,
            effects.today,
            c.cause.value,
            c.from_band and c.from_band.value,
            c.to_band.value,
            encoder.encode(c).decode(),
        )
        for c in effects.changes
    ]
    await _put(pg, CHANGES, changes)
    await _put(pg, CLOSES, [(r.day, r.partition, r.stage, r.cause, positions_of(r), r.partial) for r in effects.closes])
    if effects.unheard is not None:
        await pg.execute(UNHEARD, *effects.unheard)
    if effects.record is not None:
        day, body = effects.record
        await pg.execute(RECORD, day, body.decode())


async def _save_unresolved(pg: RawConnection, effects: Effects) -> None:
    links = sorted(effects.links.items())
    await _put(pg, LINKS, [(subject, partition, known.account, encoder.encode(known).decode()) for subject, (partition, known) in links])
    await _put(pg, PARK, effects.parked)
    if effects.unparked:
        await pg.execute(UNPARK, [row for gone in effects.unparked for row in gone.ids])


async def _save_outbox(pg: RawConnection, effects: Effects) -> list[OutboxRow]:
    rows = list(effects.outbox())
    if not rows:
        return []
    packed = [(row.partition, row.topic, row.target, len(row.records), msgspec.msgpack.encode(row.records)) for row in rows]
    stored = await pg.fetch(OUTBOX, *(list(column) for column in zip(*packed, strict=True)))
    return [row._replace(id=found["id"]) for row, found in zip(rows, stored, strict=True)]
