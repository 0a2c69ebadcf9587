"""Door. Scoring's surroundings for a test: calls put on the topics as ingest would, and what came of them in Postgres and Kafka."""

import asyncio
import contextlib
import itertools
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from churnsignal_common.clock import paused_at
from churnsignal_common.contracts.envelope import Envelope, encoder
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.risk import RiskChanged, risk_decoder
from churnsignal_common.contracts.topics import RISK_CHANGES, USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED
from churnsignal_common.kafka.client import Brokers, new_consumer, new_producer, stop_client
from churnsignal_devstack.services import ServiceProcess

USAGE = (USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(day: int, hour: float = 12.0) -> datetime:
    """Return an hour of a day number, in UTC."""
    return EPOCH + timedelta(days=day, hours=hour)


def track(account: str | None, event: str, when: datetime, identity: str, **more: Any) -> Envelope:
    """Return a track call as ingest would publish it. `user`, `source`, `received` and `history` may be given; the rest are properties."""
    body = {"type": "track", "event": event, "messageId": identity, "userId": more.get("user"), "properties": more.get("properties", {})}
    return envelope(account, body, when, identity, **{k: v for k, v in more.items() if k != "properties"})


def group(account: str, user: str | None, when: datetime, identity: str, **traits: Any) -> Envelope:
    """Return a group call: it ties the user to the account and tells the account's profile."""
    body = {"type": "group", "messageId": identity, "userId": user, "groupId": account, "traits": traits}
    return envelope(account, body, when, identity, user=user)


def envelope(account: str | None, body: dict[str, Any], when: datetime, identity: str, **more: Any) -> Envelope:
    """Return `body` in an envelope that was received when it occurred, unless `received` says otherwise."""
    return Envelope(
        id=identity,
        source=more.get("source", "web"),
        account=account,
        user=more.get("user"),
        anonymous=more.get("anonymous"),
        occurred_at=when,
        received_at=more.get("received", when),
        stamped_at=more.get("stamped", when),
        history=more.get("history", False),
        call=msgspec.Raw(msgspec.json.encode(body)),
    )


class Plant:
    """One deployment's topics and database. `told` is the environment of its services."""

    def __init__(self, told: Mapping[str, str], producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, database: asyncpg.Pool) -> None:
        self._prefix = told["CHURNSIGNAL_TOPIC_PREFIX"]
        self._partitions = int(told["CHURNSIGNAL_PARTITIONS"])
        self._producer = producer
        self._consumer = consumer
        self.database = database

    async def put(self, calls: Iterable[Envelope]) -> None:
        """Publish each call where ingest would; return when the broker has all of them."""
        sent = []
        for call in calls:
            key = call.account or call.user or call.anonymous or ""
            topic = USAGE_UNRESOLVED if call.account is None else USAGE_HISTORY if call.history else USAGE_EVENTS
            sent.append(await self.put_bytes(topic, partition_of(key, self._partitions), key, encoder.encode(call)))
        await asyncio.gather(*sent)

    async def put_bytes(self, topic: str, partition: int, key: str, value: bytes) -> "asyncio.Future[Any]":
        sent: asyncio.Future[Any] = await self._producer.send(self._prefix + topic, value, key.encode(), partition=partition)
        return sent

    async def records(self, topic: str) -> list[Any]:
        """Return everything that is on a topic, partition by partition."""
        names = sorted(self._consumer.partitions_for_topic(self._prefix + topic) or await self._known(topic))
        keys = [TopicPartition(self._prefix + topic, partition) for partition in names]
        ends = await self._consumer.end_offsets(keys)
        self._consumer.assign(keys)
        await self._consumer.seek_to_beginning(*keys)
        found: dict[TopicPartition, list[Any]] = {key: [] for key in keys}
        while any((found[key][-1].offset + 1 if found[key] else 0) < end for key, end in ends.items()):
            for key, records in (await self._consumer.getmany(timeout_ms=200)).items():
                found[key].extend(records)
        return [record for key in keys for record in found[key]]

    async def _known(self, topic: str) -> Iterable[int]:
        await self._consumer._client.force_metadata_update()
        await self._consumer._client.fetch_all_metadata()
        return range(1 if topic.startswith("scoring.days") else self._partitions)

    async def changes(self) -> list[RiskChanged]:
        """Return the published changes of band, each once, in order within an account."""
        seen: dict[str, RiskChanged] = {}
        for record in await self.records(RISK_CHANGES):
            event = risk_decoder.decode(record.value)
            seen.setdefault(event.id, event.data)
        return list(seen.values())

    async def rows(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        return await self.database.fetch(query, *arguments)

    async def value(self, query: str, *arguments: Any) -> Any:
        return await self.database.fetchval(query, *arguments)

    async def outcomes(self) -> dict[str, int]:
        rows = await self.rows("SELECT outcome, sum(count)::int AS count FROM scoring.v_outcomes GROUP BY 1")
        return {row["outcome"]: row["count"] for row in rows if row["count"]}

    async def lag(self) -> int:
        """Return how many records are not yet consumed, plus what waits in the outbox."""
        keys = [TopicPartition(self._prefix + topic, partition) for topic in USAGE for partition in range(self._partitions)]
        ends = await self._consumer.end_offsets(keys)
        read = {(r["topic"], r["partition"]): r["next_offset"] for r in await self.rows("SELECT * FROM scoring.v_positions")}
        behind: int = sum(end - read.get((key.topic.removeprefix(self._prefix), key.partition), 0) for key, end in ends.items())
        return behind + int(await self.value("SELECT pending FROM scoring.v_outbox"))

    async def drained(self, patience_s: float = 30.0) -> None:
        """Return when everything on the topics is consumed and published on."""
        # Twice in a row: a call may be between the outbox and the topic it moves to.
        quiet = 0
        async for _ in ticks(patience_s, "the log is drained"):
            quiet = quiet + 1 if await self.lag() == 0 else 0
            if quiet == 2:
                return

    async def closed(self, day: int, patience_s: float = 30.0) -> None:
        """Return when all partitions have closed `day`."""
        async for _ in ticks(patience_s, f"day {day} is closed"):
            done = await self.value("SELECT count(*) FROM scoring.v_closes WHERE day = $1 AND done", day)
            if done == self._partitions:
                return

    async def until(self, query: str, wanted: Any, patience_s: float = 30.0) -> None:
        """Return when the query's single value is `wanted`."""
        async for _ in ticks(patience_s, f"{query} = {wanted}"):
            if await self.value(query) == wanted:
                return


def readiness(process: ServiceProcess) -> tuple[int, dict[str, Any]]:
    """Return what a service's /readyz says."""
    try:
        with urllib.request.urlopen(f"{process.url}/readyz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def ticks(patience_s: float, what: str) -> AsyncIterator[None]:
    """Look again and again, real time, until the caller has seen what it waits for; fail when it takes too long."""
    end = monotonic() + patience_s
    for _ in itertools.count():
        yield
        if monotonic() > end:
            raise AssertionError(f"waited {patience_s} s in vain until {what}")
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def open_plant(told: Mapping[str, str]) -> AsyncIterator[Plant]:
    """Yield the plant of these services."""
    brokers = Brokers(told["KAFKA_BOOTSTRAP_SERVERS"], {})
    producer, consumer = new_producer(brokers, "test"), new_consumer(brokers, "test", None)
    await producer.start()
    await consumer.start()
    pool = await asyncpg.create_pool(told["DATABASE_URL"], min_size=1, max_size=2)
    try:
        yield Plant(told, producer, consumer, pool)
    finally:
        await pool.close()
        await stop_client(producer)
        await stop_client(consumer)


class Hands:
    """The product's clock in the test's hands."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def spec(self) -> str:
        return f"file:{self._path}"

    def set(self, day: int, hour: float = 12.0) -> None:
        paused_at(at(day, hour)).write(self._path)
