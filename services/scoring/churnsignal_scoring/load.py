"""Door. Read what the owner of partitions needs in memory: positions, states, links, dedup buckets, closes and the unpublished."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple

import msgspec
from churnsignal_common.contracts.days import DayRecord, day_record_decoder
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.postgres.engine import RawConnection, raw
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_scoring.dedup import Bucket, Run, Stored, unpack
from churnsignal_scoring.effects import OutboxRow
from churnsignal_scoring.health.rows import Counted, Fact, StateRow
from churnsignal_scoring.health.state import AccountState, counted
from churnsignal_scoring.links import NOBODY, Known
from churnsignal_scoring.residents import Resident
from churnsignal_scoring.unresolved import Filled, Waiting

CHUNK = 500
_COLUMNS = "account, first_day, last_active, last_event_us, events_total, origin, habit, segment, rest, partition, closed_day"

ACCOUNTS = f"""-- states by name, each in one row: a row of its own for each day, user and fact costs the reader more than all else
SELECT {_COLUMNS},
    (SELECT json_object_agg(day, counts)::text FROM day_counts d WHERE d.account = a.account),
    (SELECT json_agg(json_build_array(user_id, block, mask))::text FROM user_days u WHERE u.account = a.account),
    (SELECT json_object_agg(name, versions)::text FROM facts f WHERE f.account = a.account)
FROM accounts a WHERE account = ANY($1::text[])"""  # noqa: S608 constant columns

UNCLOSED = """-- accounts that the close of a day has still to visit, after a name
SELECT account FROM accounts WHERE partition = ANY($1::int[]) AND account > $2 AND closed_day < $3 ORDER BY account LIMIT $4"""
NAMES = "SELECT account FROM accounts WHERE account > $1 ORDER BY account LIMIT $2"
COUNTED = """-- what the day record asks of a partition's accounts, after a name
SELECT account, first_day, origin, habit, segment, rest, profile ->> 'parent' FROM accounts WHERE partition = $1 AND account > $2 ORDER BY account LIMIT $3"""
SOURCES = "SELECT source, hour, calls FROM source_hours WHERE partition = $1 AND hour >= $2 AND hour < $3"

DEDUP_STORED = "SELECT partition, lane, bucket, count(*)::int AS rows, max(written) AS written FROM dedup WHERE partition = ANY($1::int[]) GROUP BY 1, 2, 3"
DEDUP_BUCKETS = """-- the ids of some buckets
SELECT d.partition, d.lane, d.bucket, d.ids, d.bodies FROM dedup d
JOIN unnest($1::int[], $2::smallint[], $3::int[]) AS w(partition, lane, bucket) USING (partition, lane, bucket)"""

LINKS = "SELECT subject, known::text AS known FROM users WHERE subject = ANY($1::text[])"
WAITING = """-- parked calls of users who are linked now, oldest first
SELECT id, partition, "offset", subject, source, envelope FROM parked WHERE partition = $1 AND subject = ANY($2::text[]) ORDER BY id"""
PARKED = """-- how much each source has parked
SELECT partition, source, count(*)::int AS calls, sum(octet_length(envelope))::bigint AS size
FROM parked WHERE partition = ANY($1::int[]) GROUP BY 1, 2"""

EXPIRED = """-- calls parked for too long, the oldest first
SELECT id, partition, "offset", subject, source, envelope FROM parked
WHERE partition = ANY($1::int[]) AND received_day < $2 ORDER BY id LIMIT $3"""

POSITIONS = "SELECT topic, partition, next_offset FROM positions WHERE partition = ANY($1::int[])"
FIRST_POSITIONS = """-- where the first owner begins
INSERT INTO positions (topic, partition, first_offset, next_offset)
SELECT t, p, o, o FROM unnest($1::text[], $2::int[], $3::bigint[]) AS n(t, p, o)"""
DEPLOYMENT = """-- facts that are fixed when the deployment first runs
INSERT INTO deployment (name, value) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT (name) DO NOTHING"""
CLOSES = """-- how far each partition's closes have come
SELECT DISTINCT ON (partition, stage) partition, stage, day, cause FROM closes WHERE partition = ANY($1::int[])
ORDER BY partition, stage, day DESC"""
RECORDS = "SELECT day, record::text AS record FROM day_records WHERE day BETWEEN $1 AND $2"
LEFTOVERS = "SELECT id, partition, topic, target, records FROM outbox WHERE partition = ANY($1::int[]) ORDER BY id"
PARTS = """-- the partitions that have reached a stage of a day's close, and how long the first has waited (by Postgres's clock)
SELECT partition, stage, partial, EXTRACT(epoch FROM now() - min(moved_at) OVER ())::float8 AS waited_s FROM closes WHERE day = $1"""

_days = msgspec.json.Decoder(dict[int, dict[str, int]]).decode
_users = msgspec.json.Decoder(list[tuple[str, int, int]]).decode
_facts = msgspec.json.Decoder(dict[str, list[Fact]]).decode
_known = msgspec.json.Decoder(Known)
_records = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]])


class CloseMark(NamedTuple):
    """The newest day at which a partition's close reached `stage`."""

    partition: int
    stage: str
    day: int
    cause: str | None


class Part(NamedTuple):
    """One partition's step of a day's close."""

    partition: int
    stage: str
    partial: bytes | None
    waited_s: float


class Load:
    """The read side of the schema. Reads of one call are consistent with what this process has committed."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[RawConnection]:
        async with self._engine.connect() as connection:
            yield await raw(connection)

    async def residents(self, accounts: list[str]) -> list[Resident]:
        """Return the stored states; unknown accounts are left out."""
        found: list[Resident] = []
        async with self._connection() as pg:
            for start in range(0, len(accounts), CHUNK):
                found.extend(await _residents(pg, accounts[start : start + CHUNK]))
        return found

    async def residents_after(self, after: str, limit: int) -> list[Resident]:
        """Return the next stored states by name, of all partitions."""
        async with self._connection() as pg:
            names = [row["account"] for row in await pg.fetch(NAMES, after, limit)]
            found = {resident.state.account: resident for resident in await _residents(pg, names)}
            return [found[name] for name in names if name in found]

    async def unclosed(self, partitions: list[int], after: str, day: int, limit: int) -> list[str]:
        async with self._connection() as pg:
            return [row["account"] for row in await pg.fetch(UNCLOSED, partitions, after, day, limit)]

    async def counted(self, partition: int, after: str, limit: int) -> list[Counted]:
        """Return what the partial sums ask of a partition's next accounts by name."""
        async with self._connection() as pg:
            return [counted(*row) for row in await pg.fetch(COUNTED, partition, after, limit)]

    async def source_calls(self, partition: int, hours: range) -> list[tuple[str, int, int]]:
        """Return source, hour and calls of the hours."""
        async with self._connection() as pg:
            return [(*row,) for row in await pg.fetch(SOURCES, partition, hours.start, hours.stop)]

    async def buckets(self, wanted: list[Bucket]) -> dict[Bucket, Run]:
        rows: dict[Bucket, list[tuple[bytes, bytes]]] = {bucket: [] for bucket in wanted}
        async with self._connection() as pg:
            for row in await pg.fetch(DEDUP_BUCKETS, *(list(column) for column in zip(*wanted, strict=True))):
                rows[Bucket(row["partition"], row["lane"], row["bucket"])].append((row["ids"], row["bodies"]))
        return {bucket: unpack(pairs) for bucket, pairs in rows.items()}

    async def links(self, subjects: list[str]) -> dict[str, Known]:
        """Return what is known of each subject; NOBODY of those never heard of."""
        found = dict.fromkeys(subjects, NOBODY)
        async with self._connection() as pg:
            found.update({row["subject"]: _known.decode(row["known"]) for row in await pg.fetch(LINKS, subjects)})
        return found

    async def waiting(self, linked: Mapping[int, set[str]]) -> dict[int, list[Waiting]]:
        """Return the parked calls of subjects that are being linked, by partition."""
        async with self._connection() as pg:
            return {p: [Waiting(*row) for row in await pg.fetch(WAITING, p, sorted(subjects))] for p, subjects in linked.items()}

    async def expired(self, partitions: list[int], before: int, limit: int) -> list[Waiting]:
        """Return up to `limit` of the calls that were received before the day `before` and still wait."""
        async with self._connection() as pg:
            return [Waiting(*row) for row in await pg.fetch(EXPIRED, partitions, before, limit)]

    async def records(self, first: int, last: int) -> dict[int, DayRecord]:
        async with self._connection() as pg:
            return {row["day"]: day_record_decoder.decode(row["record"]) for row in await pg.fetch(RECORDS, first, last)}

    async def retired(self) -> dict[str, int]:
        """Return on which day each source was called gone by an operator."""
        async with self._connection() as pg:
            return {row["source"]: row["day"] for row in await pg.fetch("SELECT source, day FROM retired_sources")}

    async def parts(self, day: int) -> list[Part]:
        async with self._connection() as pg:
            return [Part(*row) for row in await pg.fetch(PARTS, day)]


async def _residents(pg: RawConnection, accounts: list[str]) -> Iterable[Resident]:
    return [
        Resident(
            AccountState.stored(StateRow(*row), _days(days or "{}"), _users(users or "[]"), _facts(facts or "{}")), partition, closed_day
        )
        for *row, partition, closed_day, days, users, facts in await pg.fetch(ACCOUNTS, accounts)
    ]


async def deployment(pg: RawConnection, facts: dict[str, str]) -> dict[str, str]:
    """Return what the deployment was first run with; `facts` count only on its first run."""
    await pg.execute(DEPLOYMENT, list(facts), list(facts.values()))
    return {row["name"]: row["value"] for row in await pg.fetch("SELECT name, value FROM deployment")}


async def positions(pg: RawConnection, starts: dict[Place, int]) -> dict[Place, int]:
    """Return the next offset of each place in `starts`, which says where to begin with those never owned before."""
    found = {Place(row["topic"], row["partition"]): row["next_offset"] for row in await pg.fetch(POSITIONS, [p.partition for p in starts])}
    new = [place for place in starts if place not in found]
    if new:
        columns = zip(*((place.topic, place.partition, starts[place]) for place in new), strict=True)
        await pg.execute(FIRST_POSITIONS, *(list(column) for column in columns))
    return {place: found.get(place, start) for place, start in starts.items()}


async def stored_buckets(pg: RawConnection, partitions: list[int]) -> dict[Bucket, Stored]:
    return {Bucket(*row[:3]): Stored(row["rows"], row["written"]) for row in await pg.fetch(DEDUP_STORED, partitions)}


async def parked(pg: RawConnection, partitions: list[int]) -> dict[tuple[int, str], Filled]:
    return {(row["partition"], row["source"]): Filled(row["calls"], row["size"]) for row in await pg.fetch(PARKED, partitions)}


async def close_marks(pg: RawConnection, partitions: list[int]) -> list[CloseMark]:
    return [CloseMark(*row) for row in await pg.fetch(CLOSES, partitions)]


async def leftovers(pg: RawConnection, partitions: list[int]) -> list[OutboxRow]:
    """Return what was committed and perhaps not published, in its order."""
    rows = await pg.fetch(LEFTOVERS, partitions)
    return [OutboxRow(row["id"], row["partition"], row["topic"], row["target"], _records.decode(row["records"])) for row in rows]
