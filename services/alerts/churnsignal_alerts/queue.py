"""Door. The queue in Postgres: who may send what next, under a lease with a fencing token, and what became of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churnsignal_alerts import trouble
from churnsignal_alerts.backoff import BACKOFF
from churnsignal_alerts.delivery import Delivery, Record, Trouble
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.episodes import Entry, NoticeKind
from churnsignal_alerts.gather import MOST, Waiting, gather
from churnsignal_alerts.tables import deliveries, timeline
from churnsignal_alerts.trouble import Operator

# Leases, pacing and retries run on the database's clock, so that replicas with skewed clocks agree; due_at is product time.
BURST_S = 2
# What waits for a channel that is not configured here may be a newer replica's, which knows it: nobody does when a rollout would be over.
ABANDONED_S = 900

_CHANNELS = "unnest(CAST(:channels AS text[]), CAST(:rooms AS int[]), CAST(:waits AS int[])) AS r (channel, room, wait_s)"
# Places that were told so much that they must wait.
_RESTS = f"EXISTS (SELECT 1 FROM alerts.pace p WHERE p.address = {{0}}.address AND p.next_at > clock_timestamp() + interval '{BURST_S} s')"  # noqa: S608 a constant of this module
_UNDER_WAY = "state IN ('sending', 'retry')"
# Every place that has a message under way, one step of an index each, and of each its oldest message: however many wait behind it.
_PLACES = f"""
WITH RECURSIVE places AS (
  SELECT r.*, (SELECT min(address) FROM alerts.deliveries WHERE {_UNDER_WAY} AND channel = r.channel) AS address FROM {_CHANNELS}
  UNION ALL
  SELECT channel, room, wait_s, (SELECT min(d.address) FROM alerts.deliveries d WHERE {_UNDER_WAY} AND d.channel = p.channel AND d.address > p.address)
  FROM places p WHERE address IS NOT NULL)
"""  # noqa: S608 constants of this module
# Messages whose wait is over, or whose sender died with them: the oldest at each place.
_OLDEST = f"""
FROM places CROSS JOIN LATERAL (
  SELECT d.id, coalesce(d.lease_until, d.not_before) AS since FROM alerts.deliveries d
  WHERE {_UNDER_WAY} AND d.channel = places.channel AND d.address = places.address ORDER BY since, d.id LIMIT 1) oldest
WHERE since < clock_timestamp() - make_interval(secs => wait_s) AND NOT {_RESTS.format("places")}
"""  # noqa: S608 as above
# Whoever records what became of one has it locked, and goes first: deliveries are locked before paces, as there, and never waited for.
OVERDUE = text(f"""
{_PLACES} SELECT d.id, channel, d.address
FROM (SELECT oldest.*, channel, room, row_number() OVER (PARTITION BY channel ORDER BY since, id) AS place {_OLDEST}) o CROSS JOIN LATERAL (
  SELECT d.id, d.address FROM alerts.deliveries d WHERE d.id = o.id AND {_UNDER_WAY} AND coalesce(d.lease_until, d.not_before) < clock_timestamp()
  FOR NO KEY UPDATE SKIP LOCKED) d
WHERE place <= room ORDER BY since
""")  # noqa: S608 as above
# If a sender that died had marked it, nobody knows whether it was sent. A death is no failure of the message or of its place: only what
# failed waits longer the next time, and holds others back.
RECLAIM = text("""
UPDATE alerts.deliveries d SET state = 'sending', lease_until = clock_timestamp() + make_interval(secs => :lease_s), fence = d.fence + 1,
  attempts = d.attempts + (d.state = 'retry')::int
WHERE d.id = ANY(:ids) RETURNING d.*
""")
# Written before the provider may take a message: from here to the result its fate is unknown, and the lease begins anew.
MARK = text("""
UPDATE alerts.deliveries SET unknown = true, lease_until = clock_timestamp() + make_interval(secs => :lease_s)
WHERE id = :id AND fence = :fence AND state = 'sending' RETURNING id
""")
# News of an episode waits while an earlier message about it is under way to the same place: threads and edits need its reference. An edit
# brings none, so it holds up only the next edit.
# And a place that failed again and again is not knocked at by every new notice: they wait, and go with the message that waits already.
# What they cannot go with holds them up no longer than a person is waited for: nothing, if it is an edit or a note to the operator.
HELD_FROM = 3
_FREE = f"""n.state = 'queued' AND n.channel = r.channel AND n.due_at <= :now AND n.due_at + make_interval(secs => r.wait_s) <= :now
  AND NOT EXISTS (
  SELECT 1 FROM alerts.notices o WHERE o.episode = n.episode AND o.channel = n.channel AND o.address = n.address AND o.state = 'sending'
    AND (o.kind <> 'state' OR n.kind = 'state'))
  AND NOT EXISTS (
    SELECT 1 FROM alerts.deliveries b WHERE b.channel = n.channel AND b.address = n.address AND b.state = 'retry' AND b.attempts >= {HELD_FROM}
      AND b.note IS NULL AND NOT EXISTS (SELECT 1 FROM alerts.notices e WHERE e.delivery = b.id AND e.kind = 'state')
      AND (NOT b.unknown OR b.first_try > clock_timestamp() - make_interval(secs => {BACKOFF.patience.total_seconds()})))"""  # noqa: S608 constants of this module
DUE = text(f"""
SELECT r.channel, due.address FROM {_CHANNELS} CROSS JOIN LATERAL (
  SELECT n.address, min(n.id) AS first FROM alerts.notices n WHERE {_FREE} AND NOT {_RESTS.format("n")}
  GROUP BY n.address ORDER BY min(n.id) LIMIT r.room) due ORDER BY due.first
""")  # noqa: S608 as above
# Asked first, so that a turn without work writes nothing.
WORK = text(f"""
{_PLACES} SELECT EXISTS (SELECT 1 {_OLDEST})
  OR EXISTS (SELECT 1 FROM {_CHANNELS} JOIN alerts.notices n ON {_FREE} WHERE NOT {_RESTS.format("n")})
""")  # noqa: S608 as above
# One a second to each place, {BURST_S} more in a burst (Slack's own rule of thumb); a row that does not come back must wait.
PACE = text(f"""
INSERT INTO alerts.pace AS p (address, next_at)
SELECT address, clock_timestamp() + interval '1 s' FROM unnest(CAST(:addresses AS text[])) AS address ORDER BY address
ON CONFLICT (address) DO UPDATE SET next_at = greatest(p.next_at, clock_timestamp()) + interval '1 s'
WHERE p.next_at <= clock_timestamp() + interval '{BURST_S} s' RETURNING p.address
""")  # noqa: S608 as above
# Not even in a burst is a place told anything sooner than it said.
PAUSE = text(f"""
UPDATE alerts.pace SET next_at = greatest(next_at, clock_timestamp() + make_interval(secs => :after_s + {BURST_S})) WHERE address = :address
""")  # noqa: S608 as above
# All places of a channel together: a workspace and a relay have their limits too. How many may go now; the rows are locked, so replicas share
# the limits, and what one of them claims the others see claimed.
ROOM = text("""
INSERT INTO alerts.pace AS p (address, next_at) SELECT '*' || channel, clock_timestamp() FROM unnest(CAST(:channels AS text[])) AS channel ORDER BY 1
ON CONFLICT (address) DO UPDATE SET next_at = greatest(p.next_at, clock_timestamp())
RETURNING substr(address, 2) AS channel, greatest(0, floor(extract(epoch FROM clock_timestamp() + interval '1 s' - next_at) * :per_s))::int AS room
""")
TAKE_ROOM = text("""
UPDATE alerts.pace SET next_at = next_at + make_interval(secs => taken / CAST(:per_s AS float8))
FROM unnest(CAST(:channels AS text[]), CAST(:taken AS int[])) AS t (channel, taken) WHERE address = '*' || channel
""")
WAITING = text(f"""
SELECT n.* FROM {_CHANNELS} JOIN alerts.notices n ON {_FREE} WHERE n.address = ANY(:addresses)
ORDER BY n.address, n.priority DESC, n.id FOR UPDATE OF n SKIP LOCKED
""")  # noqa: S608 as above
CREATE = text("""
WITH made AS (
  INSERT INTO alerts.deliveries (recipient, name, channel, address, locale, zone, state, attempts, fence, lease_until, possible_duplicate, unknown, episodes)
  VALUES (:recipient, :name, :channel, :address, :locale, :zone, 'sending', 1, 1, clock_timestamp() + make_interval(secs => :lease_s), false, false, :episodes)
  RETURNING *),
  taken AS (UPDATE alerts.notices SET state = 'sending', delivery = (SELECT id FROM made) WHERE id = ANY(:ids))
SELECT * FROM made
""")
# What failed before at the same place, and has come due since: after an outage each person gets one message.
# Never into or out of one that may have arrived: it is looked up by what it was.
FOLD = text("""
WITH others AS (
  SELECT id FROM alerts.deliveries WHERE channel = :channel AND address = :address AND state = 'retry' AND NOT unknown AND note IS NULL AND id <> :delivery
    AND NOT EXISTS (SELECT 1 FROM alerts.notices e WHERE e.delivery = deliveries.id AND e.kind = 'state') LIMIT :most FOR UPDATE SKIP LOCKED),
  emptied AS (UPDATE alerts.deliveries d SET state = 'cancelled', not_before = NULL, lease_until = NULL FROM others WHERE d.id = others.id RETURNING d.id),
  waiting AS (
    SELECT n.id FROM alerts.notices n WHERE n.channel = :channel AND n.address = :address AND n.state = 'queued' AND n.due_at <= :now AND n.kind <> 'state'
      AND NOT EXISTS (SELECT 1 FROM alerts.notices o WHERE o.episode = n.episode AND o.delivery = :delivery)
    ORDER BY n.priority DESC, n.id LIMIT :most FOR UPDATE SKIP LOCKED)
UPDATE alerts.notices n SET delivery = :delivery, state = 'sending'
WHERE (n.delivery IN (SELECT id FROM emptied) AND n.state = 'sending') OR n.id IN (SELECT id FROM waiting) RETURNING n.episode
""")
EPISODES = text(
    "UPDATE alerts.deliveries SET episodes = episodes || ARRAY(SELECT unnest(CAST(:more AS text[])) EXCEPT SELECT unnest(episodes)) "
    "WHERE id = :delivery"
)
CONTENT = text("""
SELECT n.id AS notice, n.kind AS notice_kind, n.target, n.recorded_ms, n.created_at AS queued_at, n.due_at, n.delivery, e.*,
  EXISTS (SELECT 1 FROM alerts.notices o WHERE o.episode = e.id AND o.state = 'sent') AS told,
  (SELECT max(c.at) FROM alerts.contacts c WHERE c.account = e.account) AS touched_at
FROM alerts.notices n JOIN alerts.episodes e ON e.id = n.episode WHERE n.delivery = :delivery ORDER BY n.id
""")
# The first message about the episode to the same place: later ones answer it.
THREAD = text("""
SELECT d.ref FROM alerts.notices n JOIN alerts.deliveries d ON d.id = n.delivery
WHERE n.episode = :episode AND d.channel = :channel AND d.address = :address AND d.ref IS NOT NULL AND n.kind <> 'state' AND d.id <> :delivery
ORDER BY d.id LIMIT 1
""")
CONVERSATION = text(
    "SELECT split_part(ref, ':', 1) FROM alerts.deliveries WHERE channel = :channel AND address = :address AND ref IS NOT NULL ORDER BY id DESC LIMIT 1"
)
FINISH = text("""
WITH done AS (
  UPDATE alerts.deliveries SET state = :state, ref = coalesce(:ref, ref), accepted_at = :accepted_at, lease_until = NULL,
  not_before = CASE WHEN :wait_s >= 0 THEN clock_timestamp() + make_interval(secs => :wait_s) END,
  possible_duplicate = :possible_duplicate OR EXISTS (SELECT 1 FROM alerts.attempts a WHERE a.delivery = :id AND a.outcome = 'sent late'),
  unknown = coalesce(CAST(:unknown AS boolean), unknown)
  WHERE id = :id AND fence = :fence AND state = 'sending' RETURNING id)
INSERT INTO alerts.attempts (delivery, at, channel, outcome, detail, took_ms)
SELECT id, :now, :channel, :outcome, :detail, :took_ms FROM done RETURNING delivery
""")
# Whoever stood still for longer than the lease may find that somebody else was faster: unless it is the same message, there are two.
LATE = text("""
WITH late AS (
  INSERT INTO alerts.attempts (delivery, at, channel, outcome, detail, took_ms)
  VALUES (:id, :now, :channel, 'sent late', 'after the lease had ended', :took_ms))
UPDATE alerts.deliveries SET possible_duplicate = true WHERE id = :id AND ref IS DISTINCT FROM :ref
""")
CLOSE_NOTICES = text("UPDATE alerts.notices SET state = :state, sent_at = :sent_at WHERE delivery = :delivery AND state = 'sending'")
DROP = text("UPDATE alerts.notices SET state = 'cancelled', delivery = NULL WHERE id = ANY(:ids)")
# The same notices on another channel. One that is told there anyway needs no second row; one that was called off there is called back.
REROUTE = text("""
WITH going AS (SELECT * FROM alerts.notices WHERE delivery = :delivery AND state = 'sending' AND kind <> 'state'),
  twins AS (
    SELECT o.id, o.state, g.id AS going, g.due_at FROM alerts.notices o
    JOIN going g ON (o.episode, o.kind, o.round, o.recipient, o.channel) = (g.episode, g.kind, g.round, :recipient, :channel)),
  called_back AS (
    UPDATE alerts.notices n SET state = 'queued', delivery = NULL, address = :address, name = :name, due_at = t.due_at
    FROM twins t WHERE n.id = t.id AND t.state = 'cancelled' RETURNING n.id)
UPDATE alerts.notices n SET state = 'queued', delivery = NULL, channel = :channel, address = :address, recipient = :recipient, name = :name
FROM going g WHERE n.id = g.id AND n.id NOT IN (SELECT going FROM twins)
""")


_trouble = msgspec.json.Decoder(Trouble)


def _delivery(row: Any) -> Delivery:
    return Delivery(
        row.id, row.fence, row.recipient, row.name, Channel(row.channel), row.address, row.locale, row.zone, row.attempts, row.first_try, row.unknown,
        row.possible_duplicate, f"{row.episodes[0] if row.episodes else 'note'}.{row.id}", _trouble.decode(row.note) if row.note else None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Terms:
    """How to claim: merge from so many waiting notices on, lease for so long, at most so many messages of each channel now, and a second.

    Of the channels that are not `configured` here, only what nobody has claimed for long.
    """

    merge_from: int
    lease_s: float
    rooms: Mapping[Channel, int]
    per_s: float
    configured: frozenset[Channel]


async def claim(engine: AsyncEngine, now: datetime, terms: Terms) -> list[Delivery]:
    """Lease what may be sent now: overdue messages first, then new ones, at most one to each place."""
    waits = [0 if channel in terms.configured else ABANDONED_S for channel in terms.rooms]
    where: dict[str, Any] = {"channels": list(terms.rooms), "rooms": list(terms.rooms.values()), "waits": waits, "now": now}
    async with engine.begin() as connection:
        if not await connection.scalar(WORK, where):
            return []
        found = await connection.execute(ROOM, {"channels": where["channels"], "per_s": terms.per_s})
        rooms = {row.channel: min(row.room, terms.rooms[row.channel]) for row in found}
        where["rooms"] = [rooms[channel] for channel in terms.rooms]
        overdue = (await connection.execute(OVERDUE, where)).all()
        due = (await connection.execute(DUE, where)).all()
        paced = await _paced(connection, [*overdue, *due], rooms, terms.per_s)
        ids = [row.id for row in overdue if row.address in paced]
        claimed = [_delivery(row) for row in await connection.execute(RECLAIM, {"ids": ids, "lease_s": terms.lease_s})]
        for delivery in claimed:
            await _fold(connection, delivery, now)
        fresh = paced - {row.address for row in overdue}
        return claimed + await _new(connection, where, sorted(fresh), terms)


class LeaseLost(Exception):
    """Somebody else has the message now."""


async def mark(engine: AsyncEngine, delivery: Delivery, lease_s: float) -> None:
    """Write down that the message is handed over now, under a fresh lease; raises `LeaseLost`."""
    async with engine.begin() as connection:
        if (await connection.execute(MARK, {"id": delivery.id, "fence": delivery.fence, "lease_s": lease_s})).first() is None:
            raise LeaseLost


async def _fold(connection: AsyncConnection, delivery: Delivery, now: datetime) -> None:
    """Add to a message that failed again and again what else waits for its place."""
    if delivery.unknown or delivery.possible_duplicate or delivery.note or delivery.attempts <= HELD_FROM:
        return
    if any(row["target"] is not None for row in await content(connection, delivery.id)):
        return
    where = {"channel": delivery.channel, "address": delivery.address, "delivery": delivery.id, "now": now, "most": MOST}
    if added := sorted({row.episode for row in await connection.execute(FOLD, where)}):
        await connection.execute(EPISODES, {"delivery": delivery.id, "more": added})


async def _paced(connection: AsyncConnection, wanted: Sequence[Any], rooms: Mapping[str, int], per_s: float) -> set[str]:
    """Return the places that may be told something now: by the room of their channel, and by their own pace."""
    places, taken = set[str](), Counter[str]()
    for row in wanted:
        if row.address not in places and taken[row.channel] < rooms[row.channel]:
            taken[row.channel] += 1
            places.add(row.address)
    if not places:
        return set()
    paced = {row.address for row in await connection.execute(PACE, {"addresses": sorted(places)})}
    await connection.execute(TAKE_ROOM, {"channels": list(taken), "taken": list(taken.values()), "per_s": per_s})
    return paced


async def _new(connection: AsyncConnection, where: dict[str, Any], addresses: list[str], terms: Terms) -> list[Delivery]:
    rows = (await connection.execute(WAITING, {**where, "addresses": addresses})).mappings().all()
    places: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        places.setdefault((row["channel"], row["address"]), []).append(row)
    found = []
    for waiting in places.values():
        ids = gather([Waiting(row["id"], NoticeKind(row["kind"])) for row in waiting], terms.merge_from)
        first = next(row for row in waiting if row["id"] == ids[0])
        values = {key: first[key] for key in ("recipient", "name", "channel", "address", "locale", "zone")}
        values["lease_s"] = terms.lease_s
        taken = set(ids)
        values["episodes"] = sorted({row["episode"] for row in waiting if row["id"] in taken})
        found.append(_delivery((await connection.execute(CREATE, {**values, "ids": ids})).one()))
    return found


async def content(connection: AsyncConnection, delivery: int) -> list[Any]:
    """Return the notices of a message with their episodes as they are now."""
    return list((await connection.execute(CONTENT, {"delivery": delivery})).mappings())


async def thread(connection: AsyncConnection, delivery: Delivery, episode: str) -> str | None:
    """Return the earlier message about the episode in the same place."""
    values = {"episode": episode, "channel": delivery.channel, "address": delivery.address, "delivery": delivery.id}
    found: str | None = await connection.scalar(THREAD, values)
    return found


async def conversation(engine: AsyncEngine, delivery: Delivery) -> str | None:
    """Return the id of the conversation that an earlier message to the same place went to: a channel's name cannot be asked about."""
    async with engine.connect() as connection:
        found: str | None = await connection.scalar(CONVERSATION, {"channel": delivery.channel, "address": delivery.address})
    return found


async def reference(connection: AsyncConnection, delivery: int) -> str | None:
    """Return where an accepted message is."""
    found: str | None = await connection.scalar(select(deliveries.c.ref).where(deliveries.c.id == delivery))
    return found


# `moved`: what could not be moved is told on the other channel anyway.
_NOTICE_STATES = {"sent": "sent", "failed": "failed", "cancelled": "cancelled", "moved": "cancelled"}


async def record(engine: AsyncEngine, delivery: Delivery, result: Record, operator: Operator, now: datetime) -> bool:
    """Write the result, its log line and the timelines in one transaction; False when our lease was lost and somebody else has it."""
    values = {
        "id": delivery.id, "fence": delivery.fence, "state": result.state, "ref": result.ref, "accepted_at": now if result.state == "sent" else None,
        "wait_s": result.wait.total_seconds() if result.wait is not None else -1.0, "possible_duplicate": result.possible_duplicate,
        "unknown": result.unknown, "now": now, "channel": delivery.channel, "outcome": result.outcome, "detail": result.detail, "took_ms": result.took_ms,
    }  # fmt: skip
    async with engine.begin() as connection:
        if (await connection.execute(FINISH, values)).first() is None:
            if result.state == "sent":
                await connection.execute(LATE, values)
            return False
        if result.pause_s:
            await connection.execute(PAUSE, {"address": delivery.address, "after_s": result.pause_s})
        if result.dropped:
            await connection.execute(DROP, {"ids": list(result.dropped)})
        if result.reroute:
            way = result.reroute
            where = {"delivery": delivery.id, "recipient": way.recipient, "name": way.name, "channel": way.channel, "address": way.address}
            await connection.execute(REROUTE, where)
        if result.state in _NOTICE_STATES:
            sent_at = now if result.state == "sent" else None
            await connection.execute(CLOSE_NOTICES, {"delivery": delivery.id, "state": _NOTICE_STATES[result.state], "sent_at": sent_at})
        await trouble.note(connection, delivery, result, operator)
        entries = [_entry(episode, delivery, result, now) for episode in result.episodes]
        if entries:
            await connection.execute(insert(timeline), entries)
    return True


def _entry(episode: str, delivery: Delivery, result: Record, now: datetime) -> dict[str, Any]:
    entry = Entry(episode, now, f"{delivery.channel} {result.outcome}", delivery.recipient, result.detail)
    return {"episode": entry.episode, "at": entry.at, "what": entry.what, "actor": entry.actor, "why": entry.why}
