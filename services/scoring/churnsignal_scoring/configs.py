"""Door. Published versions of mapping and scorecard, and which of them is in force since when."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import structlog
from churnsignal_common.mapping.mapper import Mapper, MappingConfig
from churnsignal_common.postgres.engine import RawConnection, raw, transaction
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_scoring.health.scorecard import Scorecard
from churnsignal_scoring.policy import Parsed, Seed, parse
from churnsignal_scoring.versions import ALWAYS, Activation, Kind, Policy, policy_of, timeline

log = structlog.get_logger()

NOTICE = {Kind.MAPPING: timedelta(seconds=60), Kind.SCORECARD: timedelta(0), Kind.SHADOW: timedelta(0)}
"""A mapping counts for calls received later than now by the clocks of all ingest replicas; a scorecard from the next close on."""

PUBLISH = """-- a text is published once, whoever does it
INSERT INTO configs (kind, version, text, author, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"""
FENCE = """-- new owners wait; running transactions do not
LOCK TABLE ownership IN SHARE ROW EXCLUSIVE MODE"""
ACTIVATE = """-- put a version into force
INSERT INTO activations (kind, version, effective_from, author, activated_at) VALUES ($1, $2, $3, $4, $5) RETURNING id"""
TELL = """-- waits for the transactions at hand; every later one finds that its policy is old and reads the new one first
UPDATE ownership SET config = $1"""
ACTIVATIONS = "SELECT id, kind, version, effective_from, author FROM activations ORDER BY id"
TEXTS = "SELECT kind, version, text FROM configs WHERE kind || version = ANY($1::text[])"
LIST = """-- all versions, the newest first
SELECT version, author, created_at FROM configs WHERE kind = $1 ORDER BY created_at DESC, version"""


class UnknownVersion(Exception):
    """Nothing was published under that version."""


class NothingInForce(Exception):
    """No service has run on this database yet."""

    def __init__(self) -> None:
        super().__init__("nothing is in force yet: start `churnsignal-scoring serve` once, or publish with --activate")


class TooEarly(Exception):
    """What lies so far back may be decided already."""


class Configs:
    """Versions are never changed or deleted: history names them."""

    def __init__(self, engine: AsyncEngine, seeds: Iterable[Seed] = ()) -> None:
        self._engine = engine
        self._seeds = tuple(seeds)
        self._seeded = False
        self._mappers: dict[str, Mapper] = {}
        self._cards: dict[str, Scorecard] = {}

    async def seed(self, now: datetime) -> None:
        """Put our files into force where that is for them to do; once in a process."""
        if self._seeded:
            return
        for seed in self._seeds:
            await self.follow(seed, now)
        self._seeded = True

    async def follow(self, seed: Seed, now: datetime) -> None:
        """Put a file into force: when nothing is, when its text is new, but never a default of ours over what people chose."""
        async with transaction(self._engine) as pg:
            await pg.execute(FENCE)
            activations = [one for one in await _activations(pg) if one.kind is seed.kind]
            in_force = max(activations, key=lambda one: (one.effective_from, one.id), default=None)
            if in_force is not None and (in_force.version == seed.version or (seed.author == "shipped" and in_force.author != "shipped")):
                return
            if in_force is not None and await pg.fetchval(
                "SELECT true FROM configs WHERE kind = $1 AND version = $2", seed.kind, seed.version
            ):
                log.warning("config_file_is_not_in_force", kind=seed.kind, file=seed.version, in_force=in_force.version)
                return
            await pg.execute(PUBLISH, seed.kind, seed.version, seed.text, seed.author, now)
            at = ALWAYS if in_force is None else now + NOTICE[seed.kind]
            await _activate(pg, seed.kind, seed.version, at, seed.author, now)
        log.info("config_file_in_force", kind=seed.kind, version=seed.version, effective_from=at.isoformat())

    async def publish(self, kind: Kind, text: str, author: str, now: datetime) -> Parsed:
        """Keep a version; nothing changes until it is activated. Raises `ConfigError`."""
        parsed = parse(kind, text, f"{kind}.yaml")
        async with transaction(self._engine) as pg:
            await pg.execute(PUBLISH, kind, parsed.version, text, author, now)
        return parsed

    async def activate(self, kind: Kind, version: str | None, at: datetime | None, author: str, now: datetime) -> Activation:
        """Put a published version into force from `at` on; raises `UnknownVersion`, or `TooEarly` for what may be decided already."""
        earliest = now + NOTICE[kind]
        if at is not None and at < earliest:
            raise TooEarly(
                f"a {kind} can take effect from {earliest.isoformat()} on, not from {at.isoformat()}: give a later time, or none"
            )
        async with transaction(self._engine) as pg:
            await pg.execute(FENCE)
            if version is not None and await _text(pg, kind, version) is None:
                raise UnknownVersion(f"no {kind.published_as} {version!r} was published; see GET /v1/{kind.published_as}s")
            return await _activate(pg, kind, version, at or earliest, author, now)

    async def claim(self, pg: RawConnection) -> Policy:
        """Return the policy in force as the caller's transaction sees it."""
        activations = await _activations(pg)
        if not {Kind.MAPPING, Kind.SCORECARD} <= {one.kind for one in activations}:
            raise NothingInForce
        wanted = {one.kind.published_as + one.version for one in activations if one.version is not None}
        missing = wanted - {Kind.MAPPING + version for version in self._mappers} - {Kind.SCORECARD + version for version in self._cards}
        for row in await pg.fetch(TEXTS, sorted(missing)) if missing else ():
            self._learn(Kind(row["kind"]), row["text"])
        return policy_of(activations, self._mappers, self._cards)

    async def policy(self) -> Policy:
        async with self._engine.connect() as connection:
            return await self.claim(await raw(connection))

    async def scorecard(self, version: str) -> Scorecard:
        """Return a published scorecard; raises `UnknownVersion`."""
        if version not in self._cards:
            text = await self.text(Kind.SCORECARD, version)
            if text is None:
                raise UnknownVersion(f"no scorecard {version!r} was published; see GET /v1/scorecards")
            self._learn(Kind.SCORECARD, text)
        return self._cards[version]

    async def shadow(self, now: datetime) -> tuple[datetime, str] | None:
        """Return which scorecard runs beside the one in force, and since when."""
        async with self._engine.connect() as connection:
            line = timeline(await _activations(await raw(connection)), Kind.SHADOW)
        at, version = next(((at, version) for at, version in reversed(line) if at <= now), (now, None))
        return None if version is None else (at, version)

    async def text(self, kind: Kind, version: str) -> str | None:
        async with self._engine.connect() as connection:
            return await _text(await raw(connection), kind, version)

    async def versions(self, kind: Kind, now: datetime) -> list[dict[str, Any]]:
        """Return all versions, the newest first, and when each is or will be in force."""
        async with self._engine.connect() as connection:
            pg = await raw(connection)
            rows, activations = await pg.fetch(LIST, kind), await _activations(pg)
        roles = {role: timeline(activations, role) for role in Kind if role.published_as is kind}
        standing = {role: next((version for at, version in reversed(line) if at <= now), None) for role, line in roles.items()}
        return [
            {
                **row,
                "in_force": standing[kind] == row["version"],
                "shadow": standing.get(Kind.SHADOW) == row["version"],
                "effective_from": [at.isoformat() for at, version in roles[kind] if version == row["version"]],
            }
            for row in rows
        ]

    def _learn(self, kind: Kind, text: str) -> None:
        parsed = parse(kind, text, f"{kind}.yaml")
        if isinstance(parsed, MappingConfig):
            self._mappers[parsed.version] = Mapper(parsed)
        else:
            self._cards[parsed.version] = parsed


async def _activations(pg: RawConnection) -> list[Activation]:
    return [Activation(*row)._replace(kind=Kind(row["kind"])) for row in await pg.fetch(ACTIVATIONS)]


async def _text(pg: RawConnection, kind: Kind, version: str) -> str | None:
    text: str | None = await pg.fetchval("SELECT text FROM configs WHERE kind = $1 AND version = $2", kind.published_as, version)
    return text


async def _activate(pg: RawConnection, kind: Kind, version: str | None, at: datetime, author: str, now: datetime) -> Activation:
    number = await pg.fetchval(ACTIVATE, kind, version, at, author, now)
    await pg.execute(TELL, number)
    return Activation(number, kind, version, at, author)
