"""Door. Postgres: sources, write keys, suppressions, and scoring's word on the mapping in force."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from churnsignal_common.document import ConfigError
from churnsignal_common.mapping.parse import parse_mapping
from sqlalchemy import Row, delete, func, insert, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_ingest.auth.keys import Hasher, hint
from churnsignal_ingest.auth.tables import sources, suppressions, write_keys
from churnsignal_ingest.validate.accounts import AccountPaths, PathsInForce, account_paths
from churnsignal_ingest.validate.judge import Scope
from churnsignal_ingest.validate.suppressed import Suppressed

log = structlog.get_logger()

_HAS_MAPPINGS = text("-- scoring may not have been here yet\nSELECT to_regclass('scoring.v_mappings') IS NOT NULL")
_LAST_ACTIVATION = text("SELECT coalesce(max(id), 0) FROM scoring.v_mappings")
_MAPPINGS = text(
    "-- the mapping in force and those to come, the newest first; of two at one moment the one activated later wins\n"
    "SELECT effective_from, text FROM scoring.v_mappings WHERE effective_from >= coalesce(\n"
    "(SELECT max(effective_from) FROM scoring.v_mappings WHERE effective_from <= :now), '-infinity') ORDER BY effective_from DESC, id DESC"
)


SOURCE_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"


@dataclass(frozen=True, slots=True)
class Source:
    """One product backend. `rate` and `burst` None: the deployment's defaults."""

    id: int
    name: str
    kind: str
    rate: float | None
    burst: float | None
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class WriteKey:
    """One key, without the key: only its hash and its beginning are kept."""

    id: int
    source: str
    scope: Scope
    hint: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Suppression:
    """One user or account whose calls are dropped."""

    kind: str
    id: str
    listed_at: datetime
    listed_by: str


@dataclass(frozen=True, slots=True)
class LiveKey:
    """What the running service needs of a key that may be used."""

    key_id: int
    hash: bytes
    scope: Scope
    expires_at: datetime | None
    source: str
    kind: str
    rate: float | None
    burst: float | None


class SourceStore:
    """Reads and writes schema `ingest`. Every method is one transaction."""

    def __init__(self, engine: AsyncEngine, hasher: Hasher) -> None:
        self._engine = engine
        self._hasher = hasher

    async def live_keys(self) -> list[LiveKey]:
        """Return the keys that are neither revoked nor of a disabled source; expiry is the reader's to judge, by its clock."""
        wanted = (
            select(
                write_keys.c.id, write_keys.c.hash, write_keys.c.scope, write_keys.c.expires_at,
                sources.c.name, sources.c.kind, sources.c.rate, sources.c.burst,
            )
            .join(sources)
            .where(write_keys.c.revoked_at.is_(None), sources.c.disabled_at.is_(None))
        )  # fmt: skip
        async with self._engine.connect() as connection:
            rows = (await connection.execute(wanted)).all()
        return [LiveKey(row[0], row[1], Scope(row[2]), *row[3:]) for row in rows]

    async def note_used(self, key_ids: set[int], at: datetime) -> None:
        """Remember that keys were used lately; written about once a minute, for all keys at once."""
        async with self._engine.begin() as connection:
            await connection.execute(update(write_keys).where(write_keys.c.id.in_(sorted(key_ids))).values(last_used_at=at))

    async def suppressed(self, known: Suppressed) -> Suppressed:
        """Return whose calls are dropped; `known` itself when nothing changed since."""
        table = suppressions.c
        async with self._engine.connect() as connection:
            counted = (await connection.execute(select(func.count(), func.coalesce(func.max(table.revision), 0)))).one()
            if (revision := (counted[0], counted[1])) == known.revision:
                return known
            rows = (await connection.execute(select(table.kind, table.id))).all()
        found = {kind: frozenset(row.id.encode() for row in rows if row.kind == kind) for kind in ("user", "account")}
        return Suppressed(found["user"], found["account"], revision)

    async def paths(self, known: PathsInForce, now: datetime) -> PathsInForce:
        """Return the account paths of the mappings in force; `known` itself when nothing changed, or scoring has not put one into force."""
        async with self._engine.connect() as connection:
            if not await connection.scalar(_HAS_MAPPINGS) or (last := await connection.scalar(_LAST_ACTIVATION)) == known.revision:
                return known
            rows = (await connection.execute(_MAPPINGS, {"now": now})).all()
        try:
            return PathsInForce([(row.effective_from, await asyncio.to_thread(_paths_of, row.text)) for row in rows], last)
        except ConfigError as error:
            log.error("mapping_not_read", reason=str(error))
            return known

    async def list_suppressions(self, after: tuple[str, str], limit: int) -> list[Suppression]:
        table = suppressions.c
        wanted = select(table.kind, table.id, table.listed_at, table.listed_by).where(tuple_(table.kind, table.id) > after)
        async with self._engine.connect() as connection:
            rows = await connection.execute(wanted.order_by(table.kind, table.id).limit(limit))
            return [Suppression(*row) for row in rows.all()]

    async def change_suppressions(
        self, listed: set[tuple[str, str]], lifted: set[tuple[str, str]], now: datetime, author: str
    ) -> tuple[int, int]:
        """List some, lift others; return how many of each were a change.

        One writer at a time: readers know the list by its number of rows and its newest revision, which must not come late.
        """
        new = [{"kind": kind, "id": id_, "listed_at": now, "listed_by": author} for kind, id_ in sorted(listed)]
        async with self._engine.begin() as connection:
            await connection.execute(text("LOCK TABLE ingest.suppressions IN SHARE ROW EXCLUSIVE MODE"))
            added = (await connection.execute(upsert(suppressions).values(new).on_conflict_do_nothing())).rowcount if new else 0
            ended = tuple_(suppressions.c.kind, suppressions.c.id).in_(sorted(lifted))
            removed = (await connection.execute(delete(suppressions).where(ended))).rowcount if lifted else 0
        return added, removed

    async def list_sources(self, after: str, limit: int) -> list[Source]:
        wanted = select(sources).where(sources.c.name > after).order_by(sources.c.name).limit(limit)
        async with self._engine.connect() as connection:
            return [_source(row) for row in (await connection.execute(wanted)).all()]

    async def find_source(self, name: str) -> Source | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(sources).where(sources.c.name == name))).first()
        return _source(row) if row else None

    async def source_by_id(self, source_id: int) -> Source | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(sources).where(sources.c.id == source_id))).first()
        return _source(row) if row else None

    async def create_source(
        self, name: str, kind: str, now: datetime, rate: float | None = None, burst: float | None = None
    ) -> Source | None:
        """Return the new source; None when the name is taken."""
        new = {"name": name, "kind": kind, "rate": rate, "burst": burst, "created_at": now}
        statement = upsert(sources).values(new).on_conflict_do_nothing().returning(*sources.c)
        async with self._engine.begin() as connection:
            row = (await connection.execute(statement)).first()
        return _source(row) if row else None

    async def change_source(self, source_id: int, changes: dict[str, Any]) -> Source | None:
        """Apply `changes` (columns of sources) and return the source; None when there is none."""
        statement = update(sources).where(sources.c.id == source_id).values(changes).returning(*sources.c)
        async with self._engine.begin() as connection:
            row = (await connection.execute(statement)).first()
        return _source(row) if row else None

    async def list_keys(self, source_id: int | None = None) -> list[WriteKey]:
        wanted = select(write_keys, sources.c.name).join(sources).order_by(write_keys.c.id)
        if source_id is not None:
            wanted = wanted.where(write_keys.c.source_id == source_id)
        async with self._engine.connect() as connection:
            return [_key(row) for row in (await connection.execute(wanted)).all()]

    async def add_key(self, source: Source, scope: Scope, key: str, now: datetime, expires_at: datetime | None = None) -> WriteKey:
        """Store the hash of `key`."""
        new = {
            "source_id": source.id, "scope": scope.value, "hint": hint(key), "hash": self._hasher.sign(key),
            "created_at": now, "expires_at": expires_at,
        }  # fmt: skip
        async with self._engine.begin() as connection:
            row = (await connection.execute(insert(write_keys).values(new).returning(write_keys.c.id))).one()
        return WriteKey(row.id, source.name, scope, hint(key), now, expires_at, None, None)

    async def revoke_key(self, key_id: int, now: datetime) -> bool:
        """End a key at once; return whether there was one to end."""
        statement = update(write_keys).where(write_keys.c.id == key_id, write_keys.c.revoked_at.is_(None)).values(revoked_at=now)
        async with self._engine.begin() as connection:
            return (await connection.execute(statement)).rowcount == 1

    async def replace_key(self, key_id: int, key: str, now: datetime, overlap: timedelta) -> WriteKey | None:
        """Store the hash of a new `key` of the same source and scope; the old one works on for `overlap`. None: no such live key."""
        wanted = select(write_keys, sources).join(sources).where(write_keys.c.id == key_id, write_keys.c.revoked_at.is_(None))
        ending = func.least(func.coalesce(write_keys.c.expires_at, now + overlap), now + overlap)
        async with self._engine.begin() as connection:
            old = (await connection.execute(wanted.with_for_update())).mappings().first()
            if old is None:
                return None
            await connection.execute(update(write_keys).where(write_keys.c.id == key_id).values(expires_at=ending))
            new = {
                "source_id": old[write_keys.c.source_id], "scope": old[write_keys.c.scope], "hint": hint(key),
                "hash": self._hasher.sign(key), "created_at": now,
            }  # fmt: skip
            row = (await connection.execute(insert(write_keys).values(new).returning(write_keys.c.id))).one()
        return WriteKey(row.id, old[sources.c.name], Scope(old[write_keys.c.scope]), hint(key), now, None, None, None)


def _paths_of(mapping: str) -> AccountPaths:
    return account_paths(parse_mapping(mapping, "mapping.yaml").account_paths)


def _source(row: Row[Any]) -> Source:
    return Source(*tuple(row))


def _key(row: Row[Any]) -> WriteKey:
    return WriteKey(row.id, row.name, Scope(row.scope), row.hint, row.created_at, row.expires_at, row.revoked_at, row.last_used_at)
