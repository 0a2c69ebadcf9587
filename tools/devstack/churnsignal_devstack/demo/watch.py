"""Door. Look at the pipeline from outside: offsets on the broker, positions and outcomes in Postgres, messages in the inbox."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import Any

import asyncpg
import httpx2
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from churnsignal_common.contracts import topics
from churnsignal_common.contracts.risk import RiskChangedEvent, risk_decoder
from churnsignal_common.kafka.client import Brokers, new_consumer, open_admin

_USAGE = (topics.USAGE_EVENTS, topics.USAGE_HISTORY, topics.USAGE_UNRESOLVED)
_ALERTED = (topics.RISK_CHANGES, topics.ACCOUNTS, topics.CONTACTS)
_LOOK_S = 0.01


class Stuck(Exception):
    """The pipeline did not come to rest in time; the message says what it waited for."""


class _IdOnly(msgspec.Struct):
    id: str


class Watch:
    """Reads only: the broker, the views of the services, the inbox."""

    def __init__(self, brokers: Brokers, prefix: str, database: str, inbox: str) -> None:
        self._prefix = prefix
        self._brokers = brokers
        self._consumer: AIOKafkaConsumer = new_consumer(brokers, "churnsignal-demo", None)
        # A connection of its own: on the other one, questions would wait behind the long poll for records.
        self._asker: AIOKafkaConsumer = new_consumer(brokers, "churnsignal-demo-ends", None)
        self._database = database
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._inbox = httpx2.AsyncClient(base_url=inbox, timeout=10)
        self._partitions: list[TopicPartition] = []
        self._risk: list[TopicPartition] = []

    async def open(self) -> None:
        await self._consumer.start()
        await self._asker.start()
        self._pool = await asyncpg.create_pool(self._database, min_size=1, max_size=2, timeout=5, command_timeout=15)
        self._partitions = await self._all_of(*_USAGE, *_ALERTED)
        self._risk = [p for p in self._partitions if p.topic == self._prefix + topics.RISK_CHANGES]
        self._consumer.assign(self._risk)
        await self._consumer.seek_to_beginning(*self._risk)

    async def close(self) -> None:
        await self._inbox.aclose()
        await self._pool.close()
        await self._consumer.stop()
        await self._asker.stop()

    async def _all_of(self, *names: str) -> list[TopicPartition]:
        async with open_admin(self._brokers, "churnsignal-demo") as admin:
            found = await admin.describe_topics([self._prefix + name for name in names])
        return [TopicPartition(row["topic"], part["partition"]) for row in found for part in row["partitions"]]

    async def rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Return the rows of a query on a service's view."""
        return list(await self._pool.fetch(sql, *arguments))

    async def _snapshot(self, now: datetime, closed_day: int | None) -> tuple[dict[Any, int], list[str]]:
        """Return the end offsets, and what is still moving in words (empty: at rest)."""
        ends = dict(await self._asker.end_offsets(self._partitions))
        positions = {(r["topic"], r["partition"]): r["next_offset"] or 0 for r in await self.rows(_POSITIONS)}
        busy = [
            f"{p.topic}[{p.partition}] {positions.get((p.topic.removeprefix(self._prefix), p.partition), 0)} of {end}"
            for p, end in ends.items()
            if end and positions.get((p.topic.removeprefix(self._prefix), p.partition), 0) < end
        ]
        (row,) = await self.rows(_MOVING, now)
        busy += [f"{name} {row[name]}" for name in ("outbox", "due") if row[name]]
        if closed_day is not None:
            (closes,) = await self.rows("SELECT count(*) FILTER (WHERE done) AS done FROM scoring.v_closes WHERE day = $1", closed_day)
            partitions = sum(1 for p in self._partitions if p.topic.endswith(topics.USAGE_EVENTS))
            if closes["done"] < partitions:
                busy.append(f"day {closed_day} closed on {closes['done']} of {partitions} partitions")
        return ends, busy

    async def until_at_rest(self, now: datetime, closed_day: int | None, patience_s: float = 60.0) -> None:
        """Return when nothing moves, seen twice in a row: all consumed, all published, the day closed, all due notices sent."""
        deadline, before = monotonic() + patience_s, None
        while True:
            ends, busy = await self._snapshot(now, closed_day)
            if not busy and ends == before:
                return
            if monotonic() > deadline:
                raise Stuck(f"not at rest after {patience_s:.0f} s: {'; '.join(busy[:5])}")
            before = None if busy else ends
            await asyncio.sleep(_LOOK_S)

    async def new_changes(self) -> list[tuple[float, RiskChangedEvent]]:
        """Return the risk changes published since the last call, with the broker's time of each in seconds."""
        ends = await self._asker.end_offsets(self._risk)
        found = []
        while any([await self._consumer.position(p) < end for p, end in ends.items()]):
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                found += [(r.timestamp / 1000, risk_decoder.decode(r.value)) for r in records]
        return found

    async def messages(self) -> list[dict[str, Any]]:
        """Return everything in the inbox."""
        answer = (await self._inbox.get("/api/messages")).json()
        return list(answer["items"] if isinstance(answer, dict) else answer)

    async def ids_on_topics(self, seen: Callable[[str], None]) -> None:
        """Read all usage topics from the start and report each call's id."""
        partitions = [p for p in self._partitions if p.topic.removeprefix(self._prefix) in _USAGE]
        ends = await self._asker.end_offsets(partitions)
        self._consumer.assign([p for p in partitions if ends[p]])
        await self._consumer.seek_to_beginning()
        decoder = msgspec.json.Decoder(_IdOnly)
        while any([await self._consumer.position(p) < ends[p] for p in self._consumer.assignment()]):
            for records in (await self._consumer.getmany(timeout_ms=500, max_records=10_000)).values():
                for record in records:
                    seen(decoder.decode(record.value).id)

    async def outcomes(self) -> Counter[str]:
        """Return how the calls of clients ended: commands of our own are left out, parked is what is parked now."""
        found: Counter[str] = Counter()
        for row in await self.rows("SELECT topic, outcome, reason, count FROM scoring.v_outcomes"):
            passed_on = row["topic"] == topics.USAGE_UNRESOLVED and row["outcome"] in ("moved", "parked", "applied")
            if not passed_on and row["reason"] != "command":
                found[row["outcome"]] += int(row["count"])
        (parked,) = await self.rows("SELECT coalesce(sum(count), 0)::bigint AS count FROM scoring.v_parked")
        found["parked"] += parked["count"]
        return found


_POSITIONS = (
    "SELECT topic, partition, next_offset FROM scoring.v_positions UNION ALL SELECT topic, partition, next_offset FROM alerts.v_positions"
)
_MOVING = """
SELECT (SELECT coalesce(sum(pending), 0) FROM scoring.v_outbox) AS outbox,
       (SELECT count(*) FROM alerts.v_queue WHERE due_at <= $1) AS due
"""
