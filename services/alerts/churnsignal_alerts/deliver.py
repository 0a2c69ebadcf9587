"""Flow. From queued notices to messages that a provider has accepted: claim, compose, send, record. Recorded after the accept."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Any

import structlog
from churnsignal_common.clock import Clock, RealClock
from churnsignal_common.runtime import crash
from churnsignal_common.runtime.attempt import attempt
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_alerts import queue, trouble
from churnsignal_alerts.backoff import BACKOFF
from churnsignal_alerts.compose import Content, Place, compose, wanted
from churnsignal_alerts.delivery import UNCONFIGURED, Delivery, Record
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.episodes import NoticeKind
from churnsignal_alerts.links import Links
from churnsignal_alerts.metrics import CHANGE_TO_NOTICE, DELIVERIES, FAILED
from churnsignal_alerts.outcome import Absent, Found, Outcome, Outgoing, Refused, Retry, Sender, Sent
from churnsignal_alerts.people import People
from churnsignal_alerts.settle import Attempt, next_way, settle, settle_broken, settle_edit
from churnsignal_alerts.store import episode_of
from churnsignal_alerts.trouble import Operator
from churnsignal_alerts.wake import Wake

log = structlog.get_logger()

crash.declare(
    "alerts.deliver.claimed", "alerts.deliver.composed", "alerts.deliver.marked", "alerts.deliver.accepted", "alerts.deliver.recorded"
)

# Of each channel, so that one that hangs does not hold the others up.
_IN_FLIGHT = 8
_LOOK_S = 0.25
_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Out:
    """What goes out: by which channels, with which links, for how long a message is leased, and how many a second by each."""

    senders: Mapping[Channel, Sender]
    links: Links
    lease_s: float
    per_s: float


class Deliverer:
    """Sends what is due by the channels that are configured. Any number of replicas may run."""

    def __init__(self, engine: AsyncEngine, people: People, out: Out, clock: Clock, wake: Wake) -> None:
        self._engine, self._people, self._out, self._clock, self._wake = engine, people, out, clock, wake
        self._stop = Stop()
        self._tasks: dict[asyncio.Task[None], Channel] = {}
        # From the mark to the record: what is in here when we die may come twice.
        self._windows = {channel: asyncio.Semaphore(sender.at_once) for channel, sender in out.senders.items()}
        self.channels = {channel: Dependency(channel.value) for channel in out.senders}

    async def run(self, stop: Stop) -> None:
        """Send until told to stop, then finish what is in flight; what was leased and not sent comes back when the lease ends."""
        self._stop = stop
        while not stop.is_set():
            try:
                busy = await self._turn()
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                log.warning("deliver_paused", dependency="postgres", reason=type(error).__name__)
                await stop.wait(_PAUSE_S)
                continue
            if not busy:
                await self._wake.wait(_LOOK_S)
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _turn(self) -> bool:
        busy = Counter(self._tasks.values())
        # No more than can start now: a lease must not run out in our own queue.
        rooms = {channel: _IN_FLIGHT - busy[channel] for channel in Channel if self._out.senders and busy[channel] < _IN_FLIGHT}
        if not rooms:
            return False
        setup = await self._people.setup()
        terms = queue.Terms(setup.policy.merge_from, self._out.lease_s, rooms, self._out.per_s, setup.channels)
        claimed = await queue.claim(self._engine, self._clock.now(), terms)
        if claimed:
            crash.point("alerts.deliver.claimed")
        for delivery in claimed:
            task = asyncio.create_task(self._deliver(delivery), name=f"deliver-{delivery.id}")
            self._tasks[task] = delivery.channel
            task.add_done_callback(self._done)
        return bool(claimed)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        # There is room, and whatever waited for this message, or goes the other way now, may leave at once.
        self._wake.set()

    async def _deliver(self, delivery: Delivery) -> None:
        async with AsyncExitStack() as window:
            error = await attempt(self._attempt(delivery, window))
            if isinstance(error, queue.LeaseLost):
                log.warning("delivery_lease_lost", delivery=delivery.id)
            elif isinstance(error, (SQLAlchemyError, OSError, TimeoutError)):
                # Nothing was recorded: the lease runs out and the message is looked up before it is sent again.
                log.warning("delivery_unrecorded", delivery=delivery.id, reason=type(error).__name__)
            elif error is not None:
                log.error("delivery_broken", delivery=delivery.id, reason=type(error).__name__, exc_info=error)
                await attempt(self._record(delivery, settle_broken(delivery, type(error).__name__, BACKOFF), []))

    async def _attempt(self, delivery: Delivery, window: AsyncExitStack) -> None:
        async with self._engine.connect() as connection:
            rows = await queue.content(connection, delivery.id)
            rows, place = await self._place(connection, delivery, rows)
            bounced = await trouble.spared(connection, delivery)
        now = self._clock.now()
        contents = [Content(row["notice"], NoticeKind(row["notice_kind"]), episode_of(row)) for row in rows]
        keep = [content for content in contents if place.edit or wanted(content, now)]
        dropped = tuple(content.notice for content in contents if content not in keep)
        if not keep and delivery.note is None:
            await self._record(delivery, Record("cancelled", "cancelled", "nothing left to tell", 0, dropped=dropped), rows)
            return
        started = monotonic()
        outcome, message = await self._send(delivery, keep, place, window, bounced)
        crash.point("alerts.deliver.accepted")
        took_ms = int((monotonic() - started) * 1000)
        if place.edit:
            await self._record(delivery, settle_edit(delivery, outcome, took_ms, _age(delivery), BACKOFF), rows)
            return
        setup = await self._people.setup()
        way = None if delivery.note else next_way(delivery, setup)
        works = way is not None and self.channels[way.channel].ok is not False
        tried = Attempt(took_ms, _age(delivery), way, works, message.possible_duplicate, message.episodes, dropped)
        await self._record(delivery, settle(delivery, outcome, tried, BACKOFF), rows)

    async def _place(self, connection: Any, delivery: Delivery, rows: list[Any]) -> tuple[list[Any], Place]:
        """Return what the message shows and where it goes: an edit shows all of the message that it edits."""
        if rows and rows[0]["target"] is not None:
            target = rows[0]["target"]
            ref = await queue.reference(connection, target)
            return await queue.content(connection, target), Place(edit=ref)
        if len(rows) == 1 and NoticeKind(rows[0]["notice_kind"]) is not NoticeKind.RISK:
            return rows, Place(thread=await queue.thread(connection, delivery, rows[0]["id"]))
        return rows, Place()

    async def _send(
        self, delivery: Delivery, contents: list[Content], place: Place, window: AsyncExitStack, bounced: str | None
    ) -> tuple[Outcome, Outgoing]:
        async def mark() -> None:
            await window.enter_async_context(self._windows[delivery.channel])
            fresh = False
            while not fresh:
                began = monotonic()
                await queue.mark(self._engine, delivery, self._out.lease_s)
                crash.point("alerts.deliver.marked")
                # Whoever stood still meanwhile asks again whether the message is still theirs.
                fresh = monotonic() - began < self._out.lease_s / 2

        sender, setup, now = self._out.senders.get(delivery.channel), await self._people.setup(), self._clock.now()
        place = replace(place, duplicate=delivery.possible_duplicate)
        message = compose(delivery, contents, place, setup, self._out.links, now)
        crash.point("alerts.deliver.composed")
        if sender is None:
            return Refused(UNCONFIGURED), message
        if delivery.unknown and not place.edit:
            where = await queue.conversation(self._engine, delivery) if delivery.address.startswith("#") else None
            sighting = await sender.look_up(replace(message, since=delivery.first_try, conversation=where))
            if isinstance(sighting, Found):
                log.info("delivery_found", delivery=delivery.id, channel=delivery.channel)
                return Sent(sighting.ref), message
            if isinstance(sighting, Retry) and _age(delivery) < BACKOFF.patience:
                return sighting, message
            # Surely absent is no repetition, whatever could not be said at an earlier attempt.
            place = replace(place, duplicate=not isinstance(sighting, Absent))
            message = compose(delivery, contents, place, setup, self._out.links, now)
        if bounced:
            return Refused(f"spared: {bounced}", bounced=True), message
        outcome = await sender.send(message, mark)
        self._note(delivery.channel, outcome)
        return outcome, message

    def _note(self, channel: Channel, outcome: Outcome) -> None:
        if isinstance(outcome, (Sent, Refused)):
            self.channels[channel].up()
        else:
            self.channels[channel].down(outcome.reason)

    async def _record(self, delivery: Delivery, result: Record, rows: list[Any]) -> None:
        written = await self._insist(delivery, result)
        crash.point("alerts.deliver.recorded")
        if not written:
            log.warning("delivery_lease_lost", delivery=delivery.id, outcome=result.outcome)
            return
        DELIVERIES.labels(delivery.channel, result.outcome).inc()
        if result.state == "failed":
            FAILED.inc()
        level = log.error if result.state == "failed" else log.info
        level(
            "delivery", delivery=delivery.id, channel=delivery.channel, outcome=result.outcome, reason=result.detail, took_ms=result.took_ms
        )
        if result.state == "sent":
            _observe(rows)

    async def _insist(self, delivery: Delivery, result: Record) -> bool:
        """Record the result even if Postgres is away for a while: what we know now nobody can find out later."""
        setup = await self._people.setup()
        operator = Operator(setup.policy.operator or setup.policy.catch_all, frozenset(self._out.senders), setup.policy.zone.key)
        end = monotonic() + self._out.lease_s
        while True:
            try:
                return await queue.record(self._engine, delivery, result, operator, self._clock.now())
            except (SQLAlchemyError, OSError, TimeoutError):
                if monotonic() > end or await self._stop.wait(_PAUSE_S):
                    raise


def _age(delivery: Delivery) -> timedelta:
    return RealClock().now() - delivery.first_try


def _observe(rows: list[Any]) -> None:
    """Measure from Kafka's timestamp to now for notices that were to go at once. Both are real time."""
    real_ms = RealClock().now().timestamp() * 1000
    for row in rows:
        if row["recorded_ms"] is not None and row["due_at"] <= row["queued_at"]:
            CHANGE_TO_NOTICE.observe(max(0.0, (real_ms - row["recorded_ms"]) / 1000))
