"""Kill two replicas of alerts in the middle of sending, as often as wanted: no alert is lost, and a second message is marked as one.

`CHURNSIGNAL_KILLS` is how many kills (16; the full proof, with `make chaos KILLS=1000`, is 1000), `CHURNSIGNAL_SEED` what happens when.
"""

import asyncio
import os
import random
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from churnsignal_alerts import deliver
from churnsignal_alerts.book import book_changes
from churnsignal_alerts.directory import Channel, Csm
from churnsignal_alerts.hours import ALWAYS
from churnsignal_alerts.order import Arrived
from churnsignal_alerts.people import People
from churnsignal_alerts.policy_file import default_text
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.postgres.engine import open_engine
from churnsignal_common.runtime import crash
from churnsignal_devstack.inbox.store import Kind, Message
from churnsignal_devstack.services import free_port_base
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.alerts import change
from tests.support.alerts_world import START, environment
from tests.support.inbox import Inbox, listening_inbox
from tests.support.nursery import Child, nursery
from tests.support.stack import Stack

assert deliver.__name__
STEPS = sorted(point for point in crash.POINTS if point.startswith("alerts.deliver."))
KILLS = int(os.environ.get("CHURNSIGNAL_KILLS", "16"))
SEED = int(os.environ.get("CHURNSIGNAL_SEED", "7"))
PEOPLE = [
    Csm(f"kill{n}", f"Kill {n}", f"kill{n}@example.com", f"U0KILL{n}", Locale.EN, "Europe/London", "GB", hours=ALWAYS, channels=(Channel.SLACK, Channel.EMAIL))
    for n in range(100)
]  # fmt: skip
# How many notices wait or are under way while senders die.
BUSY = 200
# Whoever has not come to its point by then is killed wherever it is.
LONGEST_LIFE_S = 30.0
MARK = "may have received this message already"
OPEN = text("SELECT count(*) FROM alerts.notices WHERE state IN ('queued', 'sending')")
TOLD = text("SELECT account, channel, count(*) FROM alerts.v_notices GROUP BY account, channel")
FLAGGED = text("SELECT unnest(episodes) AS episode FROM alerts.deliveries WHERE channel = 'email' AND possible_duplicate")
UNANSWERED = text("SELECT count(*) FROM alerts.attempts WHERE outcome = 'unknown'")


def deaths() -> Iterator[tuple[str, float]]:
    """Return how to die, one kill after the other: at a step of sending, or at any moment from outside."""
    chance = random.Random(SEED)
    for number in range(KILLS):
        yield ("", chance.uniform(0.2, 1.5)) if number % 4 == 3 else (f"{chance.choice(STEPS)}:{chance.randint(1, 4)}", LONGEST_LIFE_S)


@dataclass(slots=True)
class Tally:
    """What the inbox got, counted as it comes: it keeps only the newest."""

    inbox: Inbox
    slack: Counter[str] = field(default_factory=Counter)
    mail: Counter[str] = field(default_factory=Counter)
    unmarked: Counter[str] = field(default_factory=Counter)
    mails: Counter[str] = field(default_factory=Counter)
    _last: int = 0

    def take(self) -> None:
        for message in self.inbox.kept:
            if message.id > self._last:
                self._last = message.id
                episodes = episodes_of(message)
                if message.kind is Kind.SLACK:
                    self.slack.update(episodes)
                    continue
                self.mail.update(episodes)
                self.unmarked.update(() if MARK in message.text else episodes)
                self.mails[message.headers["Message-ID"]] += 1


def episodes_of(message: Message) -> list[str]:
    payload = (message.metadata or {}).get("event_payload")
    names = str(payload["episodes"]) if isinstance(payload, dict) else message.headers["X-Churnsignal-Episode"]
    return [name.strip() for name in names.split(",")]


@dataclass(slots=True)
class Massacre:
    """Two senders that die again and again, and the news that they have to tell meanwhile."""

    told: dict[str, str]
    engine: AsyncEngine
    people: People
    tally: Tally
    home: Path
    left: Iterator[tuple[str, float]] = field(default_factory=deaths)
    accounts: list[str] = field(default_factory=list)
    struck: int = 0
    over: bool = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._news())
            await asyncio.gather(*map(self._replica, range(2)))
            self.over = True

    async def _replica(self, number: int) -> None:
        own = {"CHURNSIGNAL_PORT_BASE": str(free_port_base()), "CHURNSIGNAL_INSTANCE": f"alerts-{number}"}
        for point, life_s in self.left:
            child = await self._begin(own | {"CHURNSIGNAL_CRASH_AT": point})
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(child.wait, life_s)
            await self._end(child)
            self.struck += 1
            if self.struck % 100 == 0:
                print(f"{self.struck} kills, {len(self.accounts)} alerts", flush=True)

    async def _begin(self, more: dict[str, str]) -> Child:
        # In a thread: the first one waits for the imports, and the inbox has to answer meanwhile.
        return await asyncio.to_thread(nursery().begin, "alerts", ["serve"], self.told | more, self.home / "alerts.log")

    async def _end(self, child: Child) -> None:
        child.kill()
        code = await asyncio.to_thread(child.wait)
        assert code in (137, -9), code

    async def _news(self) -> None:
        # To its end: what a transaction that is cut off has told of, nobody knows.
        while not self.over:
            if await self._open() < BUSY:
                await self._turn_red(20)
            self.tally.take()
            await asyncio.sleep(0.2)

    async def _open(self) -> int:
        async with self.engine.connect() as connection:
            return int(await connection.scalar(OPEN) or 0)

    async def _turn_red(self, number: int) -> None:
        names = [f"kill-{len(self.accounts) + n}" for n in range(number)]
        self.accounts += names
        changes = [
            change(1, profile_account=name, profile_owner=PEOPLE[(len(self.accounts) + n) % len(PEOPLE)].id, as_of=START)
            for n, name in enumerate(names)
        ]
        async with self.engine.begin() as connection:
            arrived = [Arrived(one, msgspec.json.encode(one), 0) for one in changes]
            await book_changes(connection, arrived, await self.people.setup(), START)

    async def finish(self) -> None:
        """Let one live until nothing is left to send."""
        survivor = await self._begin({})
        async with asyncio.timeout(120):
            while await self._open():  # noqa: ASYNC110 - Postgres has no event for it
                await asyncio.sleep(0.1)
        await self._end(survivor)
        self.tally.take()


@asynccontextmanager
async def open_massacre(stack: Stack, home: Path) -> AsyncIterator[Massacre]:
    async with listening_inbox() as inbox:
        shorter = {"CHURNSIGNAL_LEASE_S": "7", "CHURNSIGNAL_SEND_TIMEOUT_S": "2", "CHURNSIGNAL_SENDS_PER_S": "1000"}
        told = environment(stack, inbox, f"senders{os.getpid()}.", home) | shorter
        stack.apply_topics(told)
        async with open_engine(told["DATABASE_URL"], "alerts") as engine:
            people = People(engine, default_text(), "routing.yaml", frozenset({Channel.SLACK, Channel.EMAIL}))
            await people.put(PEOPLE)
            # However many there are in a day, all are told at once.
            await people.put_routing(default_text().replace("budget: 10", "budget: null"), "test", START)
            yield Massacre(told, engine, people, Tally(inbox), home)
        stack.drop_database(told["DATABASE_URL"])
        stack.drop_topics(told["CHURNSIGNAL_TOPIC_PREFIX"])


@pytest.mark.asyncio
@pytest.mark.timeout(240 + 10 * KILLS)
async def test_kills_in_the_middle_of_sending_lose_nothing_and_repeat_at_most_one_mail_each(stack: Stack, tmp_path: Path) -> None:
    async with open_massacre(stack, tmp_path) as massacre:
        await massacre.run()
        await massacre.finish()

        async with massacre.engine.connect() as connection:
            told = {(row[0], row[1]): row[2] for row in await connection.execute(TOLD)}
            flagged = {row.episode for row in await connection.execute(FLAGGED)}
            unanswered = int(await connection.scalar(UNANSWERED) or 0)
    tally, everyone = massacre.tally, len(massacre.accounts)
    again = {episode for episode, copies in tally.mail.items() if copies > 1}
    copies = tally.mails.total() - len(tally.mails)
    print(
        f"seed {SEED}: {massacre.struck} kills, {everyone} alerts in {tally.slack.total()} Slack notices and {tally.mails.total()} mails: "
        f"told twice in Slack {tally.slack.total() - everyone}; "
        f"mails twice {copies}; flagged {len(flagged)}; without an answer {unanswered}"
    )
    assert massacre.struck == KILLS
    assert told == {(account, channel): 1 for account in massacre.accounts for channel in ("slack", "email")}
    # Slack can be asked, so nothing comes twice; mail cannot, so the one that a kill left open is marked, in the mail and in the log.
    assert (len(tally.slack), max(tally.slack.values())) == (everyone, 1)
    assert (len(tally.mail), max(tally.unmarked.values())) == (everyone, 1)
    assert again <= flagged
    assert copies <= KILLS + unanswered
    assert flagged, "no kill struck between a mark and its record"
