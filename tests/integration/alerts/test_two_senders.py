"""Two senders on one queue: one dies, or stands still for longer than its lease, and the other one goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from churnsignal_alerts import queue
from churnsignal_alerts.backoff import BACKOFF
from churnsignal_alerts.book import book_changes
from churnsignal_alerts.deliver import Deliverer, Out
from churnsignal_alerts.delivery import Delivery, Record
from churnsignal_alerts.directory import Channel, Csm
from churnsignal_alerts.hours import ALWAYS
from churnsignal_alerts.links import Links
from churnsignal_alerts.order import Arrived
from churnsignal_alerts.outcome import CannotSay, Mark, Outcome, Outgoing, Sent, Sighting
from churnsignal_alerts.people import People
from churnsignal_alerts.policy_file import default_text
from churnsignal_alerts.send.slack import SlackSender
from churnsignal_alerts.trouble import Operator
from churnsignal_alerts.wake import Wake
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.clock import open_clock
from churnsignal_common.postgres.engine import open_engine
from churnsignal_common.runtime.tasks import Stop
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.alerts import POLICY, change
from tests.support.alerts_world import START, environment
from tests.support.inbox import Inbox, listening_inbox
from tests.support.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="package")
LEASE_S = 1.0
TERMS = queue.Terms(5, 0.01, {Channel.SLACK: 8}, 1000.0)
HANA = Csm("hana", "Hana", "hana@example.com", "U0HANA", Locale.EN, "Europe/London", "GB", hours=ALWAYS, channels=(Channel.SLACK,))


@dataclass(slots=True)
class Office:
    """One alert that waits to be sent, and what it takes to send it."""

    told: dict[str, str]
    inbox: Inbox
    engine: AsyncEngine
    people: People

    async def ask(self, statement: str) -> list[Any]:
        async with self.engine.connect() as connection:
            return list(await connection.execute(text(statement)))

    async def do(self, statement: str) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(text(statement))

    async def until_sent(self) -> None:
        async with asyncio.timeout(20):
            while not await self.ask("SELECT id FROM alerts.deliveries WHERE state = 'sent'"):  # noqa: ASYNC110 - Postgres has no event for it
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def two(self, sender: Callable[[SlackSender], Any]) -> AsyncIterator[None]:
        """Run two senders that deliver through the same Slack."""
        stop = Stop()
        async with aiohttp.ClientSession() as session:
            slack = sender(SlackSender("xoxb-test", f"{self.inbox.http.base_url}/slack/api/", session, 5))
            out = Out({Channel.SLACK: slack}, Links([], "http://alerts.test"), LEASE_S, 1000.0)
            clock = open_clock(self.told["CHURNSIGNAL_CLOCK"], dev=True)
            pair = [asyncio.create_task(Deliverer(self.engine, self.people, out, clock, Wake()).run(stop)) for _ in range(2)]
            yield
            stop.set()
            await asyncio.gather(*pair)


@pytest_asyncio.fixture(loop_scope="package")
async def office(stack: Stack, tmp_path: Path) -> AsyncIterator[Office]:
    async with listening_inbox() as inbox:
        told = environment(stack, inbox, "", tmp_path)
        async with open_engine(told["DATABASE_URL"], "alerts") as engine:
            people = People(engine, default_text(), "routing.yaml", frozenset({Channel.SLACK}))
            await people.put([HANA])
            red = change(1, profile_account="acme", profile_owner="hana", as_of=START)
            async with engine.begin() as connection:
                await book_changes(connection, [Arrived(red, msgspec.json.encode(red), 0)], await people.setup(), START)
            yield Office(told, inbox, engine, people)
        stack.drop_database(told["DATABASE_URL"])


async def test_whoever_stood_still_after_the_mark_leaves_the_message_to_who_took_it_over(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, stood = queue.mark, asyncio.Event()

    async def mark(engine: AsyncEngine, delivery: Delivery, lease_s: float) -> None:
        await real(engine, delivery, lease_s)
        if not stood.is_set():
            stood.set()
            await office.until_sent()

    monkeypatch.setattr(queue, "mark", mark)
    async with office.two(lambda slack: slack):
        await office.until_sent()

    assert len(office.inbox.kept) == 1
    assert [tuple(row) for row in await office.ask("SELECT fence, possible_duplicate FROM alerts.deliveries")] == [(2, False)]


class Late:
    """A Slack whose first message gets through only when the other sender has sent it, too."""

    at_once = 8

    def __init__(self, slack: SlackSender, office: Office) -> None:
        self._slack, self._office, self._is_late = slack, office, True

    async def send(self, message: Outgoing, mark: Mark) -> Outcome:
        async def then() -> None:
            await mark()
            if self._is_late:
                self._is_late = False
                await self._office.until_sent()

        return await self._slack.send(message, then)

    async def look_up(self, message: Outgoing) -> Sighting:
        return await self._slack.look_up(message)


async def test_what_gets_through_after_another_sender_took_it_over_is_flagged_in_the_log(office: Office) -> None:
    async with office.two(lambda slack: Late(slack, office)):
        await office.until_sent()

    attempts = [row.outcome for row in await office.ask("SELECT outcome FROM alerts.attempts ORDER BY id")]
    flagged = [row.possible_duplicate for row in await office.ask("SELECT possible_duplicate FROM alerts.v_notices")]
    assert len(office.inbox.kept) == 2
    assert (attempts, flagged) == (["sent", "sent late"], [True])


async def test_a_message_that_cannot_be_sent_holds_up_only_what_can_go_with_it(office: Office) -> None:
    (first,) = await queue.claim(office.engine, START, TERMS)
    other = change(1, profile_account="globex", profile_owner="hana", as_of=START)
    async with office.engine.begin() as connection:
        await book_changes(connection, [Arrived(other, msgspec.json.encode(other), 0)], await office.people.setup(), START)
    retried = f"UPDATE alerts.deliveries SET state = 'retry', attempts = 9, not_before = now() + interval '1 hour' WHERE id = {first.id}"
    cases = {
        "an alert": ("SELECT 1", 0),
        "one that may have arrived": ("UPDATE alerts.deliveries SET unknown = true", 0),
        "one that may have arrived long ago": ("UPDATE alerts.deliveries SET unknown = true, first_try = now() - interval '10 minutes'", 1),
        "a note to the operator": ("UPDATE alerts.deliveries SET note = '{}'", 1),
        "an edit": ("UPDATE alerts.notices SET kind = 'state' WHERE delivery IS NOT NULL", 1),
        "an edit, and news of the same episode": (
            """UPDATE alerts.notices n SET episode = first.episode, kind = CASE n.id WHEN first.id THEN 'state' ELSE n.kind END
            FROM alerts.notices first WHERE first.delivery IS NOT NULL""",
            1,
        ),
    }

    free = {}
    for name, (statement, _) in cases.items():
        async with office.engine.connect() as connection:
            await connection.execute(text(retried))
            await connection.execute(text(statement))
            free[name] = len((await connection.execute(queue.DUE, {"now": START, "channels": ["slack"], "rooms": [8]})).all())

    assert free == {name: count for name, (_, count) in cases.items()}


async def test_senders_that_die_make_no_message_wait_longer(office: Office) -> None:
    held = []
    for _ in range(5):
        held += await queue.claim(office.engine, START, TERMS)
        await office.do("DELETE FROM alerts.pace")
        await asyncio.sleep(0.02)

    assert [(delivery.fence, delivery.attempts) for delivery in held] == [(fence, 1) for fence in range(1, 6)]
    assert BACKOFF.wait(held[-1].attempts, None) == BACKOFF.first


async def book(office: Office, accounts: int) -> None:
    """Book so many falls of accounts of one CSM in one batch."""
    reds = [change(1, profile_account=f"more{number}", profile_owner="hana", as_of=START) for number in range(accounts)]
    async with office.engine.begin() as connection:
        await book_changes(connection, [Arrived(red, msgspec.json.encode(red), 0) for red in reds], await office.people.setup(), START)


async def test_what_one_batch_brings_for_somebody_at_work_is_one_message_at_once(office: Office) -> None:
    await book(office, 25)

    claimed = await queue.claim(office.engine, START, TERMS)

    assert len(claimed) == 1
    assert [row.count for row in await office.ask("SELECT count(*) FROM alerts.notices WHERE state = 'sending'")] == [26]


@pytest.mark.parametrize("left", ["state = 'retry', lease_until = NULL, not_before", "lease_until"])
async def test_what_is_tried_again_or_taken_over_keeps_the_pace_of_its_place_and_the_room_of_the_workspace(
    office: Office, left: str
) -> None:
    await book(office, 9)
    await office.do("UPDATE alerts.notices SET due_at = now() - interval '1 hour'")
    terms = replace(TERMS, merge_from=99, lease_s=60.0)
    for _ in range(10):
        await queue.claim(office.engine, datetime.now(UTC), terms)
        await office.do("DELETE FROM alerts.pace")
    waiting = f"UPDATE alerts.deliveries SET {left} = now() - interval '1 s'"

    await office.do(waiting)
    paced = [len(await queue.claim(office.engine, START, terms)) for _ in range(6)]
    await office.do(waiting)
    await office.do("UPDATE alerts.deliveries SET address = address || id")
    await office.do("DELETE FROM alerts.pace")
    room = len(await queue.claim(office.engine, START, replace(terms, per_s=4.0)))

    assert paced == [1, 1, 1, 0, 0, 0]
    assert room == 4


async def test_a_place_that_said_when_to_come_again_is_told_nothing_sooner(office: Office) -> None:
    (first,) = await queue.claim(office.engine, START, TERMS)
    busy = Record("retry", "retry", "ratelimited", 1, wait=timedelta(seconds=60), pause_s=1.5)
    await queue.record(office.engine, first, busy, Operator(POLICY.catch_all, frozenset(), "UTC"), START)
    await book(office, 1)

    at_once = await queue.claim(office.engine, START + timedelta(minutes=2), TERMS)
    await asyncio.sleep(1.6)
    later = await queue.claim(office.engine, START + timedelta(minutes=2), TERMS)

    assert (at_once, [delivery.address for delivery in later]) == ([], ["U0HANA"])


async def test_what_waits_for_a_channel_that_was_taken_out_goes_by_another_one(office: Office) -> None:
    got: list[Outgoing] = []

    class Mail:
        at_once = 1

        async def send(self, message: Outgoing, mark: Mark) -> Outcome:
            await mark()
            got.append(message)
            return Sent("m1")

        async def look_up(self, _message: Outgoing) -> Sighting:
            return CannotSay()

    waiting = await queue.claim(office.engine, START, TERMS)
    await book(office, 1)
    people = People(office.engine, default_text(), "routing.yaml", frozenset({Channel.EMAIL}))
    out, stop = Out({Channel.EMAIL: Mail()}, Links([], "http://alerts.test"), LEASE_S, 1000.0), Stop()
    clock = open_clock(office.told["CHURNSIGNAL_CLOCK"], dev=True)
    sender = asyncio.create_task(Deliverer(office.engine, people, out, clock, Wake()).run(stop))
    async with asyncio.timeout(20):
        while len(got) < 3:  # noqa: ASYNC110 - Postgres has no event for it
            await asyncio.sleep(0.02)
    stop.set()
    await sender

    assert len(waiting) == 1
    assert sorted(message.address for message in got) == ["customer-success@example.com", *["hana@example.com"] * 2]
    assert {row.outcome for row in await office.ask("SELECT outcome FROM alerts.attempts WHERE channel = 'slack'")} == {"moved"}
