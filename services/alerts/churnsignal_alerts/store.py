"""Door. Episodes in Postgres: load what a decision needs under lock, write what it came to; always inside the caller's transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec
from churnsignal_common.contracts.risk import AccountProfile, RiskChanged, profile_decoder
from sqlalchemy import RowMapping, insert, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churnsignal_alerts.episodes import CALLS, ENDINGS, WATCHDOG, Contact, Entry, Episode, Feedback, Kind, NoticeKind, Outcome, State, Task
from churnsignal_alerts.mute import Matcher, Mute, by_parent, keys_of
from churnsignal_alerts.plan import BURST, Notice, Plan, Spent
from churnsignal_alerts.route import priority
from churnsignal_alerts.tables import contacts, episodes, notices, profiles, timeline

_change_decoder = msgspec.json.Decoder(RiskChanged)
_encoder = msgspec.json.Encoder()

_tasks_decoder = msgspec.json.Decoder(tuple[Task, ...])


def _among(kinds: Iterable[NoticeKind]) -> str:
    return ", ".join(f"'{kind}'" for kind in sorted(kinds))


# What may be a message of its own, and is no change of one.
_MESSAGES = frozenset(kind for kind in NoticeKind if kind.alone) - {NoticeKind.STATE}
_TOLD = f"""
  EXISTS (SELECT 1 FROM alerts.notices n WHERE n.episode = e.id AND n.state IN ('sending', 'sent')
          AND n.kind IN ({_among(CALLS | {NoticeKind.DIGEST})})) AS told,
  EXISTS (SELECT 1 FROM alerts.notices n WHERE n.episode = e.id AND n.state IN ('sending', 'sent') AND n.round = e.flips
          AND n.kind IN ({_among(ENDINGS)})) AS over_told,
  (SELECT max(c.at) FROM alerts.contacts c WHERE c.account = e.account) AS touched_at
"""  # noqa: S608 words of our own

# Queued notices are locked with their episodes: whether one has left is part of the decision.
LOCK_EPISODES = text("SELECT id FROM alerts.episodes WHERE account = ANY(:accounts) ORDER BY id FOR NO KEY UPDATE")
LOCK_NOTICES = text(
    "SELECT n.id FROM alerts.notices n JOIN alerts.episodes e ON e.id = n.episode "
    "WHERE e.account = ANY(:accounts) AND n.state = 'queued' ORDER BY n.id FOR UPDATE OF n"
)
NEWEST = text(
    f"SELECT DISTINCT ON (e.account, e.kind) e.*, {_TOLD} FROM alerts.episodes e "  # noqa: S608 a constant of this module
    "WHERE e.account = ANY(:accounts) ORDER BY e.account, e.kind, e.opened_at DESC, e.id DESC"
)
LOCK_THESE = text("SELECT account FROM alerts.episodes WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE")
THESE = text(f"SELECT e.*, {_TOLD} FROM alerts.episodes e WHERE e.id = ANY(:ids) ORDER BY e.id")  # noqa: S608 as above
CANCEL = text("UPDATE alerts.notices SET state = 'cancelled' WHERE episode = ANY(:ids) AND state = 'queued'")
# Every message that shows the episode is edited to show its new state: once for each entry of the timeline, not for each moment, as two may
# share one.
EDIT = text(f"""
INSERT INTO alerts.notices (episode, kind, round, verdict, recipient, name, channel, address, locale, zone, route, created_at, due_at,
                            priority, state, target)
SELECT DISTINCT ON (n.episode, n.delivery) n.episode, 'state',
       ((SELECT max(t.id) FROM alerts.timeline t WHERE t.episode = n.episode) << 20) | (n.delivery & 1048575),
       'show the new state', n.recipient, n.name, n.channel, n.address, n.locale, n.zone, n.route, :now, :now, n.priority, 'queued', n.delivery
FROM alerts.notices n WHERE n.episode = ANY(:ids) AND n.channel = 'slack' AND n.state = 'sent'
  AND n.kind IN ({_among(CALLS)}) AND n.delivery IS NOT NULL
ORDER BY n.episode, n.delivery, n.id ON CONFLICT DO NOTHING
""")  # noqa: S608 as above
# Episodes whose time has come, by an index that holds nothing else; another replica takes others.
DUE = text("SELECT id FROM alerts.episodes WHERE next_at <= :now ORDER BY next_at LIMIT :most FOR NO KEY UPDATE SKIP LOCKED")


async def lock_accounts(connection: AsyncConnection, accounts: Sequence[str]) -> dict[str, dict[Kind, Episode]]:
    """Return the newest episode of each kind of `accounts`, locked until the end of the transaction."""
    await connection.execute(LOCK_EPISODES, {"accounts": accounts})
    await connection.execute(LOCK_NOTICES, {"accounts": accounts})
    found: dict[str, dict[Kind, Episode]] = {account: {} for account in accounts}
    for row in (await connection.execute(NEWEST, {"accounts": accounts})).mappings():
        found[row["account"]][Kind(row["kind"])] = episode_of(row)
    return found


# Whose CSM is on leave, and who could go back to a CSM who has returned; whoever works on one goes on with it.
MISPLACED = text("""
SELECT id FROM alerts.episodes WHERE state IN ('open', 'acknowledged', 'snoozed') AND csm = ANY(:gone)
UNION ALL SELECT id FROM alerts.episodes WHERE state IN ('open', 'snoozed') AND stands_for = ANY(:here)
LIMIT :most
""")
RED = text(
    "SELECT account FROM alerts.episodes WHERE account = ANY(:accounts) AND kind = 'risk' AND state IN ('open', 'acknowledged', 'snoozed')"
)
UNMUTE = text("UPDATE alerts.episodes SET next_at = :now WHERE muted = :by AND state IN ('open', 'acknowledged', 'snoozed')")
# From an index that holds all that silences compare.
COVERED = text(f"""
SELECT id FROM alerts.episodes WHERE state IN ('open', 'acknowledged', 'snoozed') AND account_key LIKE :account AND segment_key LIKE :segment
  AND owner_key LIKE :owner AND kind LIKE :kind AND account NOT LIKE '{WATCHDOG}:%' ORDER BY id
""")  # noqa: S608 a constant
SOME = text("SELECT * FROM alerts.episodes WHERE id = ANY(:ids) ORDER BY id")


# As `plan_muted` does for one: what waits to be told is void, and the timeline says why. Whoever is at work on one goes on with it.
QUIETEN = text("""
WITH found AS MATERIALIZED (SELECT id FROM alerts.episodes WHERE id = ANY(:ids) AND state = 'open' ORDER BY id FOR NO KEY UPDATE),
  quiet AS (
    UPDATE alerts.episodes e SET muted = :by, next_at = :until, rung = 0, version = e.version + 1 FROM found WHERE e.id = found.id RETURNING e.id),
  void AS (UPDATE alerts.notices n SET state = 'cancelled' FROM quiet WHERE n.episode = quiet.id AND n.state = 'queued')
INSERT INTO alerts.timeline (episode, at, what, actor, why) SELECT id, :now, 'muted', 'churnsignal', :why FROM quiet ORDER BY id
""")


async def quieten(connection: AsyncConnection, ids: Sequence[str], quiet: Mute, now: datetime) -> None:
    """Mute those of the episodes that are open."""
    await connection.execute(QUIETEN, {"ids": ids, "by": quiet.by, "until": quiet.until, "why": quiet.why, "now": now})


async def red_among(connection: AsyncConnection, accounts: Iterable[str | None]) -> list[str]:
    """Return which of the accounts have an active episode of risk."""
    wanted = sorted(account for account in accounts if account)
    return [row.account for row in await connection.execute(RED, {"accounts": wanted})] if wanted else []


async def unmute(connection: AsyncConnection, by: str, now: datetime) -> None:
    """Make due at once what `by` muted."""
    await connection.execute(UNMUTE, {"by": by, "now": now})


async def misplaced(connection: AsyncConnection, gone: Sequence[str], here: Sequence[str], most: int) -> list[str]:
    """Return active episodes that may have to move to somebody else."""
    return [row.id for row in await connection.execute(MISPLACED, {"gone": gone, "here": here, "most": most})]


async def covered(engine: AsyncEngine, matcher: Matcher, most: int) -> tuple[list[str], list[Episode]]:
    """Return which active episodes a silence fits, and the first `most` of them."""
    async with engine.connect() as connection:
        ids = [row.id for row in await connection.execute(COVERED, matcher.likes())]
        return ids, [episode_of(row) for row in (await connection.execute(SOME, {"ids": ids[:most]})).mappings()]


# Long after their end, and with nothing left to send. What hangs on them goes first.
OLD = text("""
SELECT id FROM alerts.episodes e WHERE state IN ('recovered', 'closed') AND ended_at < :before
  AND NOT EXISTS (SELECT 1 FROM alerts.notices n WHERE n.episode = e.id AND n.state IN ('queued', 'sending'))
ORDER BY ended_at LIMIT :most FOR UPDATE SKIP LOCKED
""")
FORGET_EPISODES = tuple(
    text(statement)
    for statement in (
        "DELETE FROM alerts.notices WHERE episode = ANY(:ids)",
        "DELETE FROM alerts.timeline WHERE episode = ANY(:ids)",
        # Of the watchdog's accounts, which never come back; of all others the order of changes is kept.
        f"DELETE FROM alerts.sequences WHERE account LIKE '{WATCHDOG}:%' AND account IN (SELECT account FROM alerts.episodes WHERE id = ANY(:ids))",  # noqa: S608 a constant
        "DELETE FROM alerts.episodes WHERE id = ANY(:ids)",
    )
)
OLD_MESSAGES = text("""
SELECT id FROM alerts.deliveries d WHERE state IN ('sent', 'failed', 'cancelled', 'moved') AND first_try < :before
  AND NOT EXISTS (SELECT 1 FROM alerts.notices n WHERE n.delivery = d.id OR n.target = d.id) ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
""")
FORGET_MESSAGES = tuple(
    text(statement)
    for statement in ("DELETE FROM alerts.attempts WHERE delivery = ANY(:ids)", "DELETE FROM alerts.deliveries WHERE id = ANY(:ids)")
)


async def prune(connection: AsyncConnection, before: datetime, most: int) -> int:
    """Delete what ended before a time: episodes with timelines and notices, and the messages that nothing is left of; return how many."""
    gone = 0
    for find, forget in ((OLD, FORGET_EPISODES), (OLD_MESSAGES, FORGET_MESSAGES)):
        ids = [row.id for row in await connection.execute(find, {"before": before, "most": most})]
        for statement in forget if ids else ():
            await connection.execute(statement, {"ids": ids})
        gone += len(ids)
    return gone


async def due_episodes(connection: AsyncConnection, now: datetime, most: int) -> list[str]:
    """Return episodes for which something is due by itself, locked."""
    return [row.id for row in await connection.execute(DUE, {"now": now, "most": most})]


async def lock_episodes(connection: AsyncConnection, ids: Sequence[str]) -> list[Episode]:
    """Return episodes by their ids, locked with their accounts' queued notices."""
    accounts = sorted({row.account for row in await connection.execute(LOCK_THESE, {"ids": ids})})
    if not accounts:
        return []
    await connection.execute(LOCK_NOTICES, {"accounts": accounts})
    return [episode_of(row) for row in (await connection.execute(THESE, {"ids": ids})).mappings()]


async def lock_episode(connection: AsyncConnection, ident: str) -> Episode | None:
    """Return one episode, locked with its account's queued notices."""
    return next(iter(await lock_episodes(connection, [ident])), None)


def episode_of(row: RowMapping | Mapping[str, Any]) -> Episode:
    """Return the episode of a row; a row without told flags was never told."""
    return Episode(
        id=row["id"], account=row["account"], kind=Kind(row["kind"]), state=State(row["state"]), opened_at=row["opened_at"],
        change=_change_decoder.decode(row["change"]), fall=_change_decoder.decode(row["fall"]), since=row["since"], flips=row["flips"], told=row.get("told", False),
        over_told=row.get("over_told", False), ended_at=row["ended_at"], csm=row["csm"], pinned=row["pinned"], by=row["acted_by"],
        acted_at=row["acted_at"], until=row["until"], outcome=Outcome(row["outcome"]) if row["outcome"] else None, note=row["note"],
        score_before=row["score_before"], rung=row["rung"], next_at=row["next_at"], worse_only=row["worse_only"], muted=row["muted"],
        stands_for=row["stands_for"], feedback=Feedback(row["feedback"]) if row["feedback"] else None, tasks=_tasks_decoder.decode(row["tasks"]),
        touched_at=row.get("touched_at"),
    )  # fmt: skip


def _episode_row(episode: Episode) -> dict[str, Any]:
    keys = dict(zip(("account_key", "segment_key", "owner_key"), keys_of(episode.change.account), strict=True))
    return keys | {
        "id": episode.id, "account": episode.account, "kind": episode.kind, "state": episode.state, "opened_at": episode.opened_at,
        "since": episode.since, "ended_at": episode.ended_at, "flips": episode.flips, "csm": episode.csm, "pinned": episode.pinned,
        "acted_by": episode.by, "acted_at": episode.acted_at, "until": episode.until, "outcome": episode.outcome, "note": episode.note,
        "score_before": episode.score_before, "change": _encoder.encode(episode.change), "fall": _encoder.encode(episode.fall), "priority": priority(episode.change, episode.touched_at), "version": 0,
        "rung": episode.rung, "next_at": episode.next_at, "worse_only": episode.worse_only, "muted": episode.muted,
        "stands_for": episode.stands_for, "feedback": episode.feedback, "tasks": _encoder.encode(episode.tasks),
    }  # fmt: skip


def _notice_row(notice: Notice, now: datetime, rank: int, recorded_ms: int | None) -> dict[str, Any]:
    who = notice.recipient
    return {
        "episode": notice.episode, "kind": notice.kind, "round": notice.round, "verdict": notice.verdict, "recipient": who.id, "name": who.name,
        "channel": notice.channel, "address": notice.address, "locale": who.locale, "zone": who.zone.key, "route": notice.route, "created_at": now,
        "due_at": notice.due_at, "priority": rank, "recorded_ms": recorded_ms, "state": "queued",
    }  # fmt: skip


SPENT = text(f"""
SELECT count(DISTINCT delivery) FILTER (WHERE state IN ('sending', 'sent')) AS messages,
       count(DISTINCT (episode, kind, round)) FILTER (WHERE state = 'queued') AS waiting,
       max(due_at) FILTER (WHERE state IN ('queued', 'sending', 'sent') AND due_at <= :soon) AS last
FROM alerts.notices WHERE recipient = :recipient AND channel = :channel AND due_at >= :begin AND due_at < :end AND kind IN ({_among(_MESSAGES)})
""")  # noqa: S608 words of our own


async def spent(connection: AsyncConnection, counted: Notice, begin: datetime, end: datetime) -> Spent:
    """Return what the notice's recipient is told on its day already."""
    where = {"recipient": counted.recipient.id, "channel": counted.channel, "begin": begin, "end": end, "soon": counted.due_at + BURST}
    row = (await connection.execute(SPENT, where)).one()
    return Spent(row.messages, row.waiting, row.last)


# Built once: to build them costs more than to run them.
_episode = upsert(episodes)
_kept = {"id", "account", "kind", "opened_at", "version"}
SAVE = _episode.on_conflict_do_update(
    index_elements=["id"],
    set_={column.name: _episode.excluded[column.name] for column in episodes.columns if column.name not in _kept}
    | {"version": episodes.c.version + 1},
)
_notice = upsert(notices)
# Told once; but what was void before anybody heard it may be wanted again, such as when an account is handed over and back.
QUEUE = _notice.on_conflict_do_update(
    index_elements=["episode", "kind", "round", "recipient", "channel"],
    set_={name: _notice.excluded[name] for name in ("state", "due_at", "address", "name", "priority", "verdict", "route")}
    | {"delivery": None},
    where=notices.c.state == "cancelled",
)


async def save_plans(connection: AsyncConnection, plans: Sequence[Plan], now: datetime, recorded_ms: int | None = None) -> None:
    """Write plans, one for each episode: it, its timeline, what is void, told and edited. Told twice in a round is refused by a key."""
    rows = {plan.episode.id: _episode_row(plan.episode) for plan in plans}
    await connection.execute(SAVE, list(rows.values()))
    for over in (plan.episode for plan in plans if plan.episode.kind is Kind.RISK and not plan.episode.active):
        await unmute(connection, by_parent(over.account), now)
    if entries := [_entry_row(entry) for plan in plans for entry in plan.entries]:
        await connection.execute(insert(timeline), entries)
    if void := [plan.episode.id for plan in plans if plan.cancel]:
        await connection.execute(CANCEL, {"ids": void})
    if queued := [_notice_row(one, now, rows[plan.episode.id]["priority"], recorded_ms) for plan in plans for one in plan.notices]:
        await connection.execute(QUEUE, queued)
    if edited := [plan.episode.id for plan in plans if plan.edit]:
        await connection.execute(EDIT, {"ids": edited, "now": now})


def _entry_row(entry: Entry) -> dict[str, Any]:
    return {"episode": entry.episode, "at": entry.at, "what": entry.what, "actor": entry.actor, "why": entry.why}


# Whoever was in touch with an account is at work on its episodes.
ACTIVE_OF = text("SELECT id FROM alerts.episodes WHERE account = :account AND state IN ('open', 'acknowledged', 'snoozed') ORDER BY id")


async def save_contact(connection: AsyncConnection, contact: Contact, now: datetime) -> list[str] | None:
    """Write a contact down; return the account's active episodes. None: its event was told before."""
    noted = upsert(contacts).values(**asdict(contact), noted_at=now).on_conflict_do_nothing().returning(contacts.c.id)
    if (await connection.execute(noted)).first() is None:
        return None
    return [row.id for row in await connection.execute(ACTIVE_OF, {"account": contact.account})]


# Longer than any link is valid and any signature counts.
FORGET = text("DELETE FROM alerts.used WHERE at < now() - interval '100 days'")
USE = text("INSERT INTO alerts.used (key) VALUES (:key) ON CONFLICT DO NOTHING RETURNING key")
_KEEP_NEWER = text("""
INSERT INTO alerts.profiles (account, profile, updated_at) VALUES (:account, :profile, :updated_at)
ON CONFLICT (account) DO UPDATE SET profile = excluded.profile, updated_at = excluded.updated_at
WHERE alerts.profiles.updated_at IS NULL OR excluded.updated_at >= alerts.profiles.updated_at
""")


async def first_use(connection: AsyncConnection, key: bytes) -> bool:
    """Return whether a signed request or link is used for the first time; also forgets what can be used no more."""
    await connection.execute(FORGET)
    return (await connection.execute(USE, {"key": key})).first() is not None


async def save_profiles(connection: AsyncConnection, found: Iterable[AccountProfile]) -> None:
    """Keep each profile unless a newer one is there."""
    never = datetime.min.replace(tzinfo=UTC)
    rows = [
        {"account": p.account, "profile": _encoder.encode(p), "updated_at": p.updated_at or never}
        for p in found
        if not p.account.startswith(WATCHDOG)
    ]
    if rows:
        await connection.execute(_KEEP_NEWER, rows)


async def profile(connection: AsyncConnection, account: str) -> AccountProfile | None:
    """Return what is known of an account."""
    row = (await connection.execute(profiles.select().where(profiles.c.account == account))).mappings().first()
    return profile_decoder.decode(row["profile"]) if row else None
