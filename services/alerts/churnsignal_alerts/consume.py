"""Flow. From Kafka to episodes: read, decode, and write what a batch means together with how far we have read."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from asyncpg.exceptions import DataError, IntegrityConstraintViolationError
from churnsignal_common.clock import Clock
from churnsignal_common.contracts.risk import AccountProfile, profile_decoder, risk_decoder
from churnsignal_common.runtime import crash
from churnsignal_common.runtime.attempt import attempt
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churnsignal_alerts import ownership, sequences
from churnsignal_alerts.book import book_arranged, book_changes, book_profiles, held_changes
from churnsignal_alerts.metrics import CHANGES, GAPS
from churnsignal_alerts.order import Arrived, Outcome, count, give_up
from churnsignal_alerts.ownership import Fenced, Owned
from churnsignal_alerts.people import People
from churnsignal_alerts.plan import Setup
from churnsignal_alerts.wake import Wake

log = structlog.get_logger()

crash.declare("alerts.consume.polled", "alerts.consume.claimed", "alerts.consume.written", "alerts.consume.committed")

_POLL_MS = 500
_RECORDS = 500
_PAUSE_S = 1.0
_PROBE_S = 3.0
STORE_TROUBLE = (SQLAlchemyError, OSError, TimeoutError)
BURY = text("""
INSERT INTO alerts.dead (topic, partition, "offset", reason, record) VALUES (:topic, :partition, :offset, :reason, :record) ON CONFLICT DO NOTHING
""")


@dataclass(slots=True)
class Read:
    """What a batch of one partition holds: what could be decoded, and what could not with the reason."""

    partition: TopicPartition
    first: int
    following: int
    changes: list[Arrived] = field(default_factory=list)
    profiles: list[AccountProfile] = field(default_factory=list)
    dead: list[tuple[int, str, bytes]] = field(default_factory=list)


def passes(error: Exception) -> bool:
    """Return whether it is the machines' trouble and will pass; anything else, data that Postgres never takes included, is the record's."""
    cause = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig is not None else None
    if isinstance(cause, (DataError, IntegrityConstraintViolationError)):
        return False
    return isinstance(error, (*STORE_TROUBLE, KafkaError, Fenced))


def read(partition: TopicPartition, records: list[ConsumerRecord[Any, Any]], *, risk: bool) -> Read:
    """Decode the records of one partition; what cannot be decoded is dead, and the partition goes on."""
    found = Read(partition, records[0].offset, records[-1].offset + 1)
    for record in records:
        value: bytes | None = record.value
        if value is None:
            continue
        try:
            if risk:
                change = risk_decoder.decode(value).data
                _check(change.account)
                found.changes.append(Arrived(change, value, record.timestamp))
            else:
                found.profiles.append(_check(profile_decoder.decode(value)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
            found.dead.append((record.offset, type(error).__name__, value))
    return found


def _check(profile: AccountProfile) -> AccountProfile:
    # Postgres keeps no NUL in a text.
    if not profile.account or "\0" in profile.account or "\0" in (profile.owner or ""):
        raise ValueError("the account's id or owner cannot be stored")
    return profile


@dataclass(frozen=True, slots=True)
class Duty:
    """Who we are to the other replicas, and which of the topics carries risk changes (the other one carries profiles)."""

    owner: str
    risk: str


class Consumer:
    """Reads the partitions that the group gives us; the truth about how far is in Postgres, guarded by an epoch."""

    def __init__(self, kafka: AIOKafkaConsumer, engine: AsyncEngine, people: People, clock: Clock, wake: Wake, duty: Duty) -> None:
        self._kafka, self._engine, self._people, self._clock, self._wake, self._duty = kafka, engine, people, clock, wake, duty
        self._owned: dict[TopicPartition, Owned] = {}
        self.postgres, self.brokers = Dependency("postgres"), Dependency("kafka")

    async def run(self, stop: Stop) -> None:
        """Read until told to stop. Trouble with Kafka or Postgres pauses; nothing is skipped, positions are where they were."""
        while not stop.is_set():
            try:
                await self._turn()
            except KafkaError as error:
                self.brokers.down(type(error).__name__)
                log.warning("consume_paused", dependency="kafka", reason=type(error).__name__)
                await stop.wait(_PAUSE_S)
            except STORE_TROUBLE as error:
                self._owned.clear()
                self.postgres.down(type(error).__name__)
                log.warning("consume_paused", dependency="postgres", reason=type(error).__name__)
                await stop.wait(_PAUSE_S)
            except Fenced as error:
                self._owned.clear()
                log.warning("partition_lost", reason=str(error))
                await stop.wait(_PAUSE_S)

    async def _turn(self) -> None:
        await self._own()
        batches = await self._kafka.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS)
        # Partitions that came while we were polling are claimed first, and read from their stored position in the next turn.
        mine = {partition: records for partition, records in batches.items() if partition in self._owned and records}
        if not mine:
            return
        self.brokers.up()
        crash.point("alerts.consume.polled")
        error = await attempt(self._write([self._read(partition, records) for partition, records in sorted(mine.items())]))
        if error is not None and passes(error):
            raise error
        if error is not None:
            await self._one_by_one(mine, error)

    def _read(self, partition: TopicPartition, records: list[ConsumerRecord[Any, Any]]) -> Read:
        return read(partition, records, risk=partition.topic == self._duty.risk)

    async def _one_by_one(self, batches: dict[TopicPartition, list[ConsumerRecord[Any, Any]]], why: Exception) -> None:
        """Find the record that our own code cannot bear, bury it, and go on with the others."""
        log.error("batch_refused", reason=type(why).__name__, exc_info=why)
        for partition, record in [(partition, record) for partition, records in sorted(batches.items()) for record in records]:
            error = await attempt(self._write([self._read(partition, [record])]))
            if error is not None and passes(error):
                raise error
            if error is not None:
                dead = (record.offset, f"handler: {type(error).__name__}", record.value or b"")
                await self._write([Read(partition, record.offset, record.offset + 1, dead=[dead])])

    async def _own(self) -> None:
        assigned: set[TopicPartition] = set(self._kafka.assignment())
        self._owned = {partition: owned for partition, owned in self._owned.items() if partition in assigned}
        fresh = sorted(assigned - self._owned.keys())
        if not fresh:
            return
        async with self._engine.begin() as connection:
            claimed = [await ownership.claim(connection, p.topic, p.partition, self._duty.owner) for p in fresh]
        crash.point("alerts.consume.claimed")
        for partition, owned in zip(fresh, claimed, strict=True):
            if owned.next_offset is None:
                await self._kafka.seek_to_beginning(partition)
            else:
                self._kafka.seek(partition, owned.next_offset)
            self._owned[partition] = owned
        self.postgres.up()
        log.info("partitions_claimed", count=len(fresh))

    async def _write(self, batches: list[Read]) -> None:
        setup, now = await self._people.setup(), self._clock.now()
        # One transaction: a stored position promises that its episodes and notices are there, whatever dies next.
        async with self._engine.begin() as connection:
            counted = [await self._book(connection, batch, setup, now) for batch in batches]
            crash.point("alerts.consume.written")
        crash.point("alerts.consume.committed")
        self.postgres.up()
        self._wake.set()
        for batch, outcomes in zip(batches, counted, strict=True):
            for outcome, number in outcomes.items():
                CHANGES.labels("risk" if batch.partition.topic == self._duty.risk else "accounts", outcome).inc(number)

    async def _book(self, connection: AsyncConnection, batch: Read, setup: Setup, now: datetime) -> Counter[str]:
        outcomes: Counter[str] = Counter()
        if batch.changes:
            outcomes += count((await book_changes(connection, batch.changes, setup, now)).outcomes)
        if batch.profiles:
            await book_profiles(connection, batch.profiles, setup, now)
            outcomes[Outcome.APPLIED] += len(batch.profiles)
        outcomes[Outcome.DEAD] += len(batch.dead)
        # Tombstones, and offsets that compaction has emptied: a newer record says it all.
        outcomes[Outcome.DUPLICATE] += batch.following - batch.first - outcomes.total()
        place = {"topic": batch.partition.topic, "partition": batch.partition.partition}
        if batch.dead:
            log.error("records_dead", **place, count=len(batch.dead), reason=batch.dead[0][1])
            rows = [{**place, "offset": offset, "reason": reason, "record": record} for offset, reason, record in batch.dead]
            await connection.execute(BURY, rows)
        counted = Counter({outcome: number for outcome, number in outcomes.items() if number})
        # A fenced replica fails here, and everything above is rolled back.
        await ownership.move(connection, self._owned[batch.partition], batch.first, batch.following, counted)
        return counted

    async def probe(self) -> None:
        """Ask the brokers something: polling an unreachable broker looks like silence."""
        assigned = sorted(self._kafka.assignment())[:1]
        if not assigned:
            return
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._kafka.end_offsets(assigned)
        except (KafkaError, TimeoutError) as error:
            self.brokers.down(f"no answer: {type(error).__name__}")
        else:
            self.brokers.up()

    async def release_overdue(self, after_s: float) -> None:
        """Go on without changes that have been missing for too long: pages, because a change was lost somewhere."""
        setup, now = await self._people.setup(), self._clock.now()
        async with self._engine.begin() as connection:
            accounts = await sequences.overdue(connection, after_s)
            if not accounts:
                return
            await sequences.seen(connection, sorted(accounts))
            await book_arranged(connection, give_up(await held_changes(connection, sorted(accounts))), setup, now)
        GAPS.inc(len(accounts))
        log.error("sequence_gap_given_up", accounts=len(accounts), after_s=after_s)
        self._wake.set()
