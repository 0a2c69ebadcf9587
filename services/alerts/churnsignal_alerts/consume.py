"""Flow. From Kafka to episodes: decode, and write what a batch means together with how far we have read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import structlog
from aiokafka.structs import ConsumerRecord
from churnsignal_common.clock import Clock
from churnsignal_common.contracts.contact import Contacted, contact_decoder
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.risk import AccountProfile, profile_decoder, risk_decoder
from churnsignal_common.contracts.topics import ACCOUNTS, CONTACTS, RISK_CHANGES
from churnsignal_common.kafka.consume import Work
from churnsignal_common.kafka.feed import Polled
from churnsignal_common.runtime import crash
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churnsignal_alerts import ownership, sequences
from churnsignal_alerts.book import book_arranged, book_changes, book_contacts, book_profiles
from churnsignal_alerts.episodes import Contact
from churnsignal_alerts.metrics import CHANGES, GAPS
from churnsignal_alerts.order import Arrived, Outcome, give_up
from churnsignal_alerts.ownership import Fenced
from churnsignal_alerts.people import People
from churnsignal_alerts.route import Setup
from churnsignal_alerts.wake import Wake

log = structlog.get_logger()
NAMED = 250

crash.declare("alerts.consume.polled", "alerts.consume.claimed", "alerts.consume.written", "alerts.consume.committed")

BURY = text("""
INSERT INTO alerts.dead (topic, partition, "offset", reason, record) VALUES (:topic, :partition, :offset, :reason, :record) ON CONFLICT DO NOTHING
""")


@dataclass(slots=True)
class Read:
    """What a batch of one partition holds: what could be decoded, and what could not with the reason."""

    place: Place
    first: int
    following: int
    changes: list[Arrived] = field(default_factory=list)
    profiles: list[AccountProfile] = field(default_factory=list)
    contacts: list[Contact] = field(default_factory=list)
    dead: list[tuple[int, str, bytes]] = field(default_factory=list)


def read(place: Place, records: Sequence[ConsumerRecord]) -> Read:
    """Decode the records of one partition; what cannot be decoded is dead, and the partition goes on."""
    found = Read(place, records[0].offset, records[-1].offset + 1)
    for record in records:
        value: bytes | None = record.value
        if value is None:
            continue
        try:
            if place.topic == RISK_CHANGES:
                change = risk_decoder.decode(value).data
                _check(change.account.account, change.account.owner)
                found.changes.append(Arrived(change, value, record.timestamp))
            elif place.topic == ACCOUNTS:
                profile = profile_decoder.decode(value)
                _check(profile.account, profile.owner)
                found.profiles.append(profile)
            else:
                found.contacts.append(_contact(contact_decoder.decode(value)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
            found.dead.append((record.offset, type(error).__name__, value))
    return found


def _check(account: str, *texts: str | None) -> None:
    # Postgres keeps no NUL in a text.
    if not account or any("\0" in text for text in (account, *texts) if text):
        raise ValueError("it cannot be stored")


def _contact(told: Contacted) -> Contact:
    _check(told.account, told.source, told.id, told.by, told.note)
    return Contact(told.account, told.at, told.way, told.by, told.note, told.source, f"{told.source}:{told.id}")


# What its records are called in the metric of what became of them.
TOPICS = {RISK_CHANGES: "risk", ACCOUNTS: "accounts", CONTACTS: "contacts"}


@dataclass(frozen=True, slots=True)
class Duty:
    """Who we are to the other replicas, and the prefix of the deployment's topics."""

    owner: str
    prefix: str


class Alerting(Work):
    """The truth about how far we have read is in Postgres, guarded by an epoch: who is fenced takes over what is still assigned to it."""

    again = (Fenced,)
    idle_ms = limit = 500

    def __init__(self, engine: AsyncEngine, people: People, clock: Clock, wake: Wake, duty: Duty) -> None:
        self._engine, self._people, self._clock, self._wake, self._duty = engine, people, clock, wake, duty
        self._epochs: dict[Place, int] = {}
        self.positions: dict[Place, int] = {}

    def forget(self) -> None:
        self._epochs.clear()
        self.positions.clear()

    async def claim(self, starts: dict[Place, int], ends: dict[Place, int]) -> None:  # noqa: ARG002 a topic made anew is read from its beginning
        async with self._engine.begin() as connection:
            claimed = {
                place: await ownership.claim(connection, self._named(place), place.partition, self._duty.owner) for place in sorted(starts)
            }
        crash.point("alerts.consume.claimed")
        self._epochs.update((place, epoch) for place, (epoch, _) in claimed.items())
        self.positions.update((place, starts[place] if following is None else following) for place, (_, following) in claimed.items())
        log.info("partitions_claimed", count=len(claimed))

    def _named(self, place: Place) -> str:
        return self._duty.prefix + place.topic

    async def process(self, polled: Polled) -> None:
        crash.point("alerts.consume.polled")
        await self._write([read(place, records) for place, records in polled])

    async def bury(self, place: Place, record: ConsumerRecord, error: str) -> None:
        await self._write([Read(place, record.offset, record.offset + 1, dead=[(record.offset, f"handler: {error}", record.value or b"")])])

    async def _write(self, batches: list[Read]) -> None:
        setup, now = await self._people.setup(), self._clock.now()
        # One transaction: a stored position promises that its episodes and notices are there, whatever dies next.
        async with self._engine.begin() as connection:
            counted = [await self._book(connection, batch, setup, now) for batch in batches]
            crash.point("alerts.consume.written")
        crash.point("alerts.consume.committed")
        self._wake.set()
        for batch, outcomes in zip(batches, counted, strict=True):
            self.positions[batch.place] = batch.following
            for outcome, number in outcomes.items():
                CHANGES.labels(TOPICS[batch.place.topic], outcome).inc(number)

    async def _book(self, connection: AsyncConnection, batch: Read, setup: Setup, now: datetime) -> Counter[str]:
        outcomes: Counter[str] = Counter()
        if batch.changes:
            outcomes.update((await book_changes(connection, batch.changes, setup, now)).outcomes)
        if batch.profiles:
            await book_profiles(connection, batch.profiles, setup, now)
            outcomes[Outcome.APPLIED] += len(batch.profiles)
        outcomes[Outcome.APPLIED] += await book_contacts(connection, batch.contacts, setup, now)
        outcomes[Outcome.DEAD] += len(batch.dead)
        # Tombstones, offsets that compaction has emptied (a newer record says it all), and contacts that were told before.
        outcomes[Outcome.DUPLICATE] += batch.following - batch.first - outcomes.total()
        place = {"topic": self._named(batch.place), "partition": batch.place.partition}
        if batch.dead:
            log.error("records_dead", **place, count=len(batch.dead), reason=batch.dead[0][1])
            rows = [{**place, "offset": offset, "reason": reason, "record": record} for offset, reason, record in batch.dead]
            await connection.execute(BURY, rows)
        counted = Counter({outcome: number for outcome, number in outcomes.items() if number})
        # A fenced replica fails here, and everything above is rolled back.
        span = {"first": batch.first, "next": batch.following, "epoch": self._epochs[batch.place]}
        await ownership.move(connection, {**place, **span}, counted)
        return counted

    async def release_overdue(self, after_s: float) -> None:
        """Go on without changes that have been missing for too long: pages, because a change was lost somewhere."""
        setup, now = await self._people.setup(), self._clock.now()
        async with self._engine.begin() as connection:
            accounts = await sequences.overdue(connection, after_s)
            if not accounts:
                return
            await sequences.seen(connection, sorted(accounts))
            await book_arranged(connection, give_up(await sequences.held(connection, sorted(accounts))), setup, now)
        GAPS.inc(len(accounts))
        log.error("sequence_gap_given_up", count=len(accounts), accounts=sorted(accounts)[:NAMED], after_s=after_s)
        self._wake.set()
