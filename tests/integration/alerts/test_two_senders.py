"""Two senders on one queue: one dies, or stands still for longer than its lease, and the other one goes on."""

import asyncio
import os
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
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.alerts import POLICY, change
from tests.support.alerts_world import START, environment
from tests.support.inbox import Inbox, listening_inbox
from tests.support.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="package")
LEASE_S = 1.0
MANY = int(os.environ.get("CHURNSIGNAL_TEST_OVERDUE", "2000"))
TERMS = queue.Terms(5, 0.01, {Channel.SLACK: 8}, 1000.0, frozenset({Channel.SLACK}))
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
            free[name] = len((await connection.execute(queue.DUE, {"now": START, "channels": ["slack"], "rooms": [8], "waits": [0]})).all())

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


async def retry(office: Office, addresses: str, count: int) -> None:
    """Let so many messages be overdue; the oldest first. `addresses` is the place of the `n`th."""
    await office.do(f"""
        INSERT INTO alerts.deliveries (recipient, name, channel, address, locale, zone, state, attempts, fence, not_before, possible_duplicate, unknown, episodes)
        SELECT 'hana', 'Hana', 'slack', {addresses}, 'en', 'UTC', 'retry', 1, 1, now() - interval '2 hours' + n * interval '1 ms', false, false, '{{}}'
        FROM generate_series(1, {count}) AS n
    """)
    await office.do("ANALYZE alerts.deliveries")


async def read(office: Office, query: TextClause) -> int:
    """Return how many rows of deliveries a query looks at."""
    values = {"now": START, "channels": ["slack"], "rooms": [8], "waits": [0]}
    async with office.engine.connect() as connection:
        (plan,) = (await connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {query.text}"), values)).one()
    return sum(_rows(node["Plan"]) for node in plan)


def _rows(node: Any) -> int:
    own = (
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        if node.get("Relation Name") == "deliveries"
        else 0
    )
    return int(own) + sum(_rows(child) for child in node.get("Plans", ()))


async def test_after_an_outage_a_turn_reads_no_more_than_it_may_send_however_many_messages_wait_and_no_place_starves(
    office: Office,
) -> None:
    await office.do("UPDATE alerts.notices SET state = 'cancelled'")
    await retry(office, f"CASE WHEN n <= {MANY - 100} THEN 'U0BUSY' ELSE 'U' || n % 20 END", MANY)
    await office.do("INSERT INTO alerts.pace VALUES ('U0BUSY', now() + interval '1 hour')")

    looked_at = [await read(office, query) for query in (queue.WORK, queue.OVERDUE)]
    claimed = [[delivery.address for delivery in await queue.claim(office.engine, START, replace(TERMS, lease_s=60.0))] for _ in range(3)]

    assert max(looked_at) < 200
    assert [len(places) for places in claimed] == [8, 8, 8]
    assert {place for places in claimed for place in places} == {f"U{n}" for n in range(20)}


async def test_a_turn_without_work_writes_nothing(office: Office) -> None:
    await queue.claim(office.engine, START, replace(TERMS, lease_s=60.0))
    await retry(office, "'U0BUSY'", 1)
    await office.do("INSERT INTO alerts.pace VALUES ('U0BUSY', now() + interval '1 hour')")
    before = await office.ask("SELECT address, xmin::text FROM alerts.pace ORDER BY 1")

    idle = await queue.claim(office.engine, START, TERMS)

    assert (idle, await office.ask("SELECT address, xmin::text FROM alerts.pace ORDER BY 1")) == ([], before)


async def test_two_senders_pay_once_for_what_one_of_them_sends(office: Office) -> None:
    await queue.claim(office.engine, START, TERMS)
    await asyncio.sleep(0.02)
    await office.do("UPDATE alerts.pace SET next_at = now()")
    terms = replace(TERMS, lease_s=60.0)

    async with office.engine.begin() as other:
        await other.execute(text("SELECT 1 FROM alerts.pace WHERE address LIKE '*%' FOR UPDATE"))
        pair = [asyncio.create_task(queue.claim(office.engine, START, terms)) for _ in range(2)]
        async with asyncio.timeout(10):
            while await waiting_for_a_lock(office) < 2:  # noqa: ASYNC110 - Postgres has no event for it
                await asyncio.sleep(0.01)
    claimed = [await one for one in pair]

    (paid,) = await office.ask("SELECT next_at - now() < interval '1.1 s' AS once FROM alerts.pace WHERE address = 'U0HANA'")
    assert (sorted(map(len, claimed)), paid.once) == ([0, 1], True)


async def waiting_for_a_lock(office: Office) -> int:
    return len(await office.ask("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"))


async def test_whoever_claims_and_whoever_records_never_wait_for_each_other(office: Office) -> None:
    (held,) = await queue.claim(office.engine, START, TERMS)
    await asyncio.sleep(0.02)

    async with office.engine.begin() as recording:
        await recording.execute(text("UPDATE alerts.deliveries SET fence = fence"))
        claimed = await asyncio.wait_for(queue.claim(office.engine, START, TERMS), 5)
        await recording.execute(queue.PAUSE, {"address": held.address, "after_s": 0})

    assert claimed == []


async def test_a_place_that_said_when_to_come_again_is_told_nothing_sooner(office: Office) -> None:
    (first,) = await queue.claim(office.engine, START, TERMS)
    busy = Record("retry", "retry", "ratelimited", 1, wait=timedelta(seconds=60), pause_s=1.5)
    await queue.record(office.engine, first, busy, Operator(POLICY.catch_all, frozenset(), "UTC"), START)
    await book(office, 1)

    at_once = await queue.claim(office.engine, START + timedelta(minutes=2), TERMS)
    await asyncio.sleep(1.6)
    later = await queue.claim(office.engine, START + timedelta(minutes=2), TERMS)

    assert (at_once, [delivery.address for delivery in later]) == ([], ["U0HANA"])


async def test_what_waits_for_a_channel_that_was_taken_out_goes_by_another_one_when_nobody_has_claimed_it_for_long(office: Office) -> None:
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
    await asyncio.sleep(0.02)
    elsewhere = await queue.claim(office.engine, START, replace(TERMS, configured=frozenset()))
    await office.do(f"UPDATE alerts.notices SET due_at = due_at - interval '{queue.ABANDONED_S} s' WHERE state = 'queued'")
    await office.do(f"UPDATE alerts.deliveries SET lease_until = lease_until - interval '{queue.ABANDONED_S} s'")
    people = People(office.engine, default_text(), "routing.yaml", frozenset({Channel.EMAIL}))
    out, stop = Out({Channel.EMAIL: Mail()}, Links([], "http://alerts.test"), LEASE_S, 1000.0), Stop()
    clock = open_clock(office.told["CHURNSIGNAL_CLOCK"], dev=True)
    sender = asyncio.create_task(Deliverer(office.engine, people, out, clock, Wake()).run(stop))
    async with asyncio.timeout(20):
        while len(got) < 3:  # noqa: ASYNC110 - Postgres has no event for it
            await asyncio.sleep(0.02)
    stop.set()
    await sender

    # A newer replica may have queued it for a channel that only it knows.
    assert (len(waiting), elsewhere) == (1, [])
    assert sorted(message.address for message in got) == ["customer-success@example.com", *["hana@example.com"] * 2]
    assert {row.outcome for row in await office.ask("SELECT outcome FROM alerts.attempts WHERE channel = 'slack'")} == {"moved"}
