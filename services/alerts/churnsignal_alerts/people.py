"""Door. CSMs and the routing document in Postgres, kept in memory as one setup that is read again when either changed."""

from dataclasses import asdict, replace
from datetime import datetime
from time import monotonic
from typing import Any

from churnsignal_common.catalog.locales import Locale
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_alerts.directory import Channel, Csm, directory_of
from churnsignal_alerts.episodes import Kind
from churnsignal_alerts.hours import parse_hours, write_hours
from churnsignal_alerts.mute import Matcher, Silence
from churnsignal_alerts.policy_file import FILE, parse_policy
from churnsignal_alerts.route import Setup
from churnsignal_alerts.tables import csms, routing, silences
from churnsignal_alerts.trouble import forgive

_FRESH_S = 1.0
# Those that end last; nobody has more in force.
_SILENCES = 2_000
# Changes with every write to either table, in any replica.
STAMP = text(
    "SELECT (SELECT coalesce(max(version), 0) FROM alerts.routing) AS routing, count(*) AS people, coalesce(sum(xmin::text::bigint), 0) AS stamp, "
    "(SELECT count(*) + coalesce(sum(xmin::text::bigint), 0) FROM alerts.silences) AS silences FROM alerts.csms"
)


def csm_of(row: Any) -> Csm:
    """Return the CSM of a row."""
    values = dict(row)
    hours, workdays = values.pop("hours"), values.pop("workdays") or "mon-fri"
    read = {"locale": Locale(row["locale"]), "channels": tuple(Channel(c) for c in row["channels"])}
    return Csm(**values | read, hours=parse_hours(hours, workdays) if hours else None)


def row_of(csm: Csm) -> dict[str, Any]:
    """Return a CSM as rows and the API have them."""
    hours, workdays = write_hours(csm.hours) if csm.hours else (None, None)
    return asdict(csm) | {"hours": hours, "workdays": workdays, "channels": [str(channel) for channel in csm.channels]}


def silence_of(row: Any) -> Silence:
    """Return the silence of a row."""
    matcher = Matcher(row["account"], row["segment"], row["owner"], Kind(row["kind"]) if row["kind"] else None)
    return Silence(row["id"], matcher, row["author"], row["reason"], row["made_at"], row["ends_at"])


class People:
    """The setup as last read, at most a second old; our own writes show at once."""

    def __init__(self, engine: AsyncEngine, shipped: str, file: str, channels: frozenset[Channel]) -> None:
        self._engine, self._shipped, self._file, self._channels = engine, shipped, file, channels
        self._setup: Setup | None = None
        self._stamp: tuple[int, ...] = ()
        self._read_s = 0.0

    async def setup(self) -> Setup:
        """Return who is there and how they are told."""
        if self._setup is None or monotonic() - self._read_s > _FRESH_S:
            await self._refresh()
        assert self._setup is not None
        return self._setup

    async def _refresh(self) -> None:
        async with self._engine.connect() as connection:
            stamp = tuple(int(value) for value in (await connection.execute(STAMP)).one())
            if self._setup is None or stamp != self._stamp:
                rows = (await connection.execute(select(csms))).mappings().all()
                document = (await connection.execute(select(routing).order_by(routing.c.version.desc()).limit(1))).mappings().first()
                policy = parse_policy(*((document["document"], "stored routing") if document else (self._shipped, self._file)))
                quiet = (await connection.execute(select(silences).order_by(silences.c.ends_at.desc()).limit(_SILENCES))).mappings().all()
                found = tuple(silence_of(row) for row in quiet)
                self._setup = Setup(directory_of(csm_of(row) for row in rows), policy, self._channels, found)
                self._stamp = stamp
        self._read_s = monotonic()

    async def put(self, people: list[Csm]) -> None:
        """Insert or replace CSMs."""
        statement = upsert(csms)
        changed = {column.name: statement.excluded[column.name] for column in csms.columns if column.name != "id"}
        async with self._engine.begin() as connection:
            await connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed), [row_of(csm) for csm in people])
        # A changed address deserves another try.
        await forgive(self._engine, *(address for csm in people for address in (csm.slack, csm.email)))
        await self._refresh()

    async def remove(self, ident: str) -> bool:
        """Remove a CSM; their accounts go to whoever is next in line. Return whether they were there."""
        async with self._engine.begin() as connection:
            gone = (await connection.execute(delete(csms).where(csms.c.id == ident).returning(csms.c.id))).first()
        await self._refresh()
        return gone is not None

    async def forgive(self, channel: Channel) -> None:
        """Try again wherever a channel refused for good."""
        await forgive(self._engine, channel=channel)

    async def routing(self) -> dict[str, Any]:
        """Return the routing document in force, with its version and author; version 0 is the file."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(routing).order_by(routing.c.version.desc()).limit(1))).mappings().first()
        if row is None:
            return {"version": 0, "author": self._file, "at": None, "document": self._shipped}
        return dict(row)

    async def put_silence(self, wanted: Silence) -> Silence:
        """Store a silence; return it with its id."""
        row = asdict(wanted)
        values = row.pop("matcher") | {name: row[name] for name in ("author", "reason", "made_at", "ends_at")}
        async with self._engine.begin() as connection:
            ident = (await connection.execute(insert(silences).values(values).returning(silences.c.id))).scalar_one()
        await self._refresh()
        return replace(wanted, id=ident)

    async def end_silence(self, ident: int, now: datetime) -> bool:
        """End a silence that is in force; it stays on record."""
        ended = update(silences).where(silences.c.id == ident, silences.c.ends_at > now).values(ends_at=now).returning(silences.c.id)
        async with self._engine.begin() as connection:
            found = (await connection.execute(ended)).first()
        await self._refresh()
        return found is not None

    async def put_routing(self, document: str, author: str, now: datetime) -> None:
        """Store a new version; raises `ConfigError` with every mistake."""
        parse_policy(document, FILE)
        async with self._engine.begin() as connection:
            await connection.execute(insert(routing).values(author=author, at=now, document=document))
        await self._refresh()
