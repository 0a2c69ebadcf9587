"""Door. What the API's lists and pages read: episodes, their timelines and deliveries."""

from datetime import datetime
from typing import Any

from churnsignal_common.contracts.risk import AccountProfile
from sqlalchemy import RowMapping, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_alerts import store
from churnsignal_alerts.directory import Csm
from churnsignal_alerts.episodes import WATCHDOG
from churnsignal_alerts.learn import Lesson, lesson_of
from churnsignal_alerts.people import csm_of
from churnsignal_alerts.tables import attempts, contacts, csms, deliveries, episodes, notices, timeline

# Synthetic alerts are nobody's. From an index that holds all that it asks for.
COUNTS = text(f"SELECT state, count(*) AS count FROM alerts.episodes WHERE account NOT LIKE '{WATCHDOG}:%' GROUP BY state")  # noqa: S608 a constant
# A change of an earlier message that has to wait is missed by nobody, and wakes nobody.
OLDEST_DUE = text(
    "SELECT min(due_at) AS oldest FROM alerts.notices WHERE state IN ('queued', 'sending') AND due_at <= :now AND kind <> 'state'"
)
TROUBLES = text("SELECT channel, address, reason, bounced, since FROM alerts.troubles ORDER BY since DESC LIMIT 500")
HELD = text("SELECT count(*) FROM alerts.held")


UNOWNED = text("""
SELECT p.account, f.profile ->> 'name' AS name, f.profile ->> 'segment' AS segment, f.profile ->> 'owner' AS owner,
       CASE WHEN f.profile ->> 'owner' IS NULL THEN 'none' WHEN c.id IS NULL THEN 'unknown' ELSE 'deactivated' END AS why
FROM alerts.profiles p CROSS JOIN LATERAL (SELECT convert_from(p.profile, 'UTF8')::jsonb AS profile) f
LEFT JOIN LATERAL (
    SELECT id, active FROM alerts.csms c WHERE lower(btrim(f.profile ->> 'owner')) IN (lower(c.id), lower(c.email), lower(c.slack))
    ORDER BY active DESC LIMIT 1) c ON true
WHERE p.account > :after AND c.active IS NOT TRUE AND f.profile ->> 'merged_into' IS NULL ORDER BY p.account LIMIT :limit
""")
# Enough to learn from, and what is older was another scorecard.
_LESSONS = 5_000


class Reader:
    """Read-only queries; each in its own short transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def episodes(
        self, state: str | None, csm: str | None, account: str | None, after: list[Any] | None, limit: int
    ) -> list[RowMapping]:
        """Return up to limit + 1 episodes, newest first."""
        query = select(episodes).order_by(episodes.c.opened_at.desc(), episodes.c.id.desc()).limit(limit + 1)
        for column, value in ((episodes.c.state, state), (episodes.c.csm, csm), (episodes.c.account, account)):
            if value is not None:
                query = query.where(column == value)
        if account is None:
            query = query.where(episodes.c.account.not_like(f"{WATCHDOG}:%"))
        if after:
            query = query.where(tuple_(episodes.c.opened_at, episodes.c.id) < (datetime.fromisoformat(after[0]), after[1]))
        return await self._rows(query)

    async def episode(self, ident: str) -> RowMapping | None:
        found = await self._rows(select(episodes).where(episodes.c.id == ident))
        return found[0] if found else None

    async def timeline(self, ident: str) -> list[RowMapping]:
        """Return what happened, oldest first."""
        return await self._rows(select(timeline).where(timeline.c.episode == ident).order_by(timeline.c.id))

    async def notices(self, ident: str) -> list[RowMapping]:
        """Return what is or was to be told about an episode."""
        return await self._rows(select(notices).where(notices.c.episode == ident).order_by(notices.c.id))

    async def deliveries(self, after: list[Any] | None, limit: int, episode: str | None = None) -> list[RowMapping]:
        """Return up to limit + 1 messages, newest first."""
        query = select(deliveries).order_by(deliveries.c.id.desc()).limit(limit + 1)
        if episode is not None:
            query = query.where(deliveries.c.episodes.contains([episode]))
        if after:
            query = query.where(deliveries.c.id < after[0])
        return await self._rows(query)

    async def unowned(self, after: str, limit: int) -> list[RowMapping]:
        """Return up to limit + 1 accounts that nobody in the directory looks after, and why not."""
        async with self._engine.connect() as connection:
            return list((await connection.execute(UNOWNED, {"after": after, "limit": limit + 1})).mappings())

    async def contacts(self, account: str, after: list[Any] | None, limit: int) -> list[RowMapping]:
        """Return up to limit + 1 contacts with an account, newest first."""
        query = select(contacts).where(contacts.c.account == account).order_by(contacts.c.at.desc(), contacts.c.id.desc()).limit(limit + 1)
        if after:
            query = query.where(tuple_(contacts.c.at, contacts.c.id) < (datetime.fromisoformat(after[0]), after[1]))
        return await self._rows(query)

    async def attempts(self, ids: list[int]) -> list[RowMapping]:
        """Return every attempt to send these messages, oldest first."""
        return await self._rows(select(attempts).where(attempts.c.delivery.in_(ids)).order_by(attempts.c.id))

    async def troubles(self) -> list[RowMapping]:
        """Return the places that refused for good, newest first."""
        return await self._rows(TROUBLES)

    async def csms(self, after: list[Any] | None, limit: int) -> list[Csm]:
        """Return up to limit + 1 CSMs by id."""
        query = select(csms).order_by(csms.c.id).limit(limit + 1)
        if after:
            query = query.where(csms.c.id > after[0])
        return [csm_of(row) for row in await self._rows(query)]

    async def counts(self) -> dict[str, int]:
        """Return the number of episodes by state."""
        async with self._engine.connect() as connection:
            return {row["state"]: int(row["count"]) for row in (await connection.execute(COUNTS)).mappings()}

    async def gauges(self, now: datetime) -> tuple[datetime | None, int]:
        """Return since when the oldest due notice waits, and how many changes are held."""
        async with self._engine.connect() as connection:
            oldest = await connection.scalar(OLDEST_DUE, {"now": now})
            waiting = await connection.scalar(HELD)
        return oldest, int(waiting or 0)

    async def profile(self, account: str) -> AccountProfile | None:
        """Return what is known of an account."""
        async with self._engine.connect() as connection:
            return await store.profile(connection, account)

    async def lessons(self) -> list[Lesson]:
        """Return what was said of the newest episodes of which anybody said something."""
        said = or_(episodes.c.outcome.is_not(None), episodes.c.feedback.is_not(None))
        query = select(episodes).where(said).order_by(episodes.c.opened_at.desc()).limit(_LESSONS)
        return [lesson_of(store.episode_of(row)) for row in await self._rows(query)]

    async def red(self, profile: AccountProfile) -> frozenset[str]:
        """Return the account's parent if it is red itself."""
        async with self._engine.connect() as connection:
            return frozenset(await store.red_among(connection, [profile.parent]))

    async def first_seen(self, signature: bytes) -> bool:
        """Return whether a signed request comes for the first time."""
        async with self._engine.begin() as connection:
            return await store.first_use(connection, signature)

    async def _rows(self, query: Any) -> list[RowMapping]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).mappings())
