"""Scoring is killed at every step of its loops, over days; what it knows afterwards is what an uninterrupted run knows.

`CHURNSIGNAL_KILLS` is how many kills (40; the full proof is 200), `CHURNSIGNAL_SEED` which calls are sent.
"""

import asyncio
import contextlib
import itertools
import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import churnsignal_scoring.app  # noqa: F401 importing it declares every crash point
import pytest
from churnsignal_common.contracts.envelope import AccountMerged, Envelope
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY
from churnsignal_common.runtime import crash
from churnsignal_scoring.api import command_envelope

from tests.support.nursery import Child, Nursery, nursery
from tests.support.plant import Hands, Plant, at, envelope, group, open_plant, track
from tests.support.stack import Stack

KILLS = int(os.environ.get("CHURNSIGNAL_KILLS", "40"))
SEED = int(os.environ.get("CHURNSIGNAL_SEED", "7"))
DAY = 20_000
PER_DAY = 10
DIED = 137

# In the order in which a close passes them; `in_transaction` dies in whatever the close writes next.
CLOSE_POINTS = (
    "scoring.in_transaction",
    "scoring.close_before_sums",
    "scoring.in_transaction",
    "scoring.close_after_sums",
    "scoring.close_before_record",
    "scoring.in_transaction",
    "scoring.close_after_record",
    "scoring.close_before_chunk",
    "scoring.in_transaction",
    "scoring.close_after_chunk",
)
BATCH_POINTS = tuple(sorted(name for name in crash.POINTS if name.startswith("scoring.") and ".close_" not in name))


def calls_of(day: int, chance: random.Random) -> list[Envelope]:
    """Return a day's calls: known and unknown users, links that come late, failed payments, older ids, a merge, repeats, one that differs."""
    calls: list[Envelope] = []
    for number in range(260):
        account = chance.randrange(12)
        if account % 4 == 3 and day > DAY + account % 5:
            continue
        user = f"u{account}.{chance.randrange(4)}"
        when = at(day, chance.uniform(0, 11))
        name = chance.choice(["Opened Report", "Signed In", "Exported", "Error"])
        known = chance.random() < 0.4
        calls.append(track(f"a{account}" if known else None, name, when, f"{day}.{number}", user=user))
    for account in range(12):
        if chance.random() < 0.4:
            calls.append(
                group(f"a{account}", f"u{account}.{chance.randrange(4)}", at(day, 10.5), f"g{day}.{account}", plan="pro", seats=day % 7)
            )
        if chance.random() < 0.1:
            calls.append(track(f"a{account}", "Payment Failed", at(day, 11), f"p{day}.{account}"))
    newer = {f"x{account}": f"u{account}.0" for account in (0, 5, 10)}
    calls += [track(None, "Opened Report", at(day, 3), f"{day}.{older}", user=older) for older in newer]
    if day == DAY:
        bodies = [{"type": "alias", "userId": user, "previousId": older} for older, user in newer.items()]
        calls += [envelope(None, body, at(day, 5), f"alias{body['previousId']}", user=body["userId"]) for body in bodies]
    if day == DAY + 1:
        calls.append(command_envelope("a11", AccountMerged(into="a10", author="kei"), "merge", at(day, 6)))
    calls += chance.sample(calls, len(calls) // 10)
    chance.shuffle(calls)
    # A link comes first of all, so that each part of the day has calls that move and an outbox to die over.
    return [group("a0", "u0.0", at(day, 0.1), f"first{day}", plan="pro"), *calls]


def history() -> list[Envelope]:
    """Return three months before the first day, imported."""
    chance = random.Random(SEED)
    return [
        track(f"a{account}", "Opened Report", at(DAY - back, 9), f"h{account}.{back}", user=f"u{account}.0", history=True)
        for account in range(12)
        for back in range(1, 90)
        if chance.random() < 0.6
    ]


def days() -> int:
    return max(2, (KILLS + PER_DAY - 1) // PER_DAY)


def plans(day: int) -> tuple[list[str], list[str]]:
    """Return at which points to die while the day's calls come in, and while it closes; over the days all points take their turn."""
    turn = (day - DAY) * (PER_DAY // 2)
    coming = [f"{BATCH_POINTS[(turn + n) % len(BATCH_POINTS)]}:{1 + (turn + n) % 2}" for n in range(PER_DAY // 2)]
    # These are passed once a life.
    once = ("on_assignment", "after_claim", "before_delete")
    coming = [f"{plan.split(':')[0]}:1" if plan.split(":")[0].split(".")[1] in once else plan for plan in coming]
    chosen = sorted((turn + n) % len(CLOSE_POINTS) for n in range(PER_DAY // 2))
    return coming, [f"{CLOSE_POINTS[n]}:1" for n in chosen]


class Lives:
    """One service, life after life. `outer` is the environment of the interpreter itself, such as its hash seed."""

    def __init__(self, told: dict[str, str], log: Path, outer: dict[str, str] | None = None) -> None:
        self._told = told
        self._log = log
        self._nursery = Nursery(outer) if outer else nursery()
        self._begun: list[Child] = []
        self.ends: list[int] = []

    def begin(self, plan: str = "") -> Child:
        self._begun = [life for life in self._begun if life.poll() is None]
        self._begun.append(self._nursery.begin("scoring", ["serve"], self._told | {"CHURNSIGNAL_CRASH_AT": plan}, self._log))
        return self._begun[-1]

    async def ended(self, life: Child, patience_s: float = 60.0) -> int:
        """Return how a life ended."""
        self.ends.append(await asyncio.to_thread(life.wait, patience_s))
        return self.ends[-1]

    @contextlib.asynccontextmanager
    async def healthy(self) -> AsyncIterator[None]:
        """A life that nobody plans to end; at last it is killed where it stands."""
        life = self.begin()
        try:
            yield
        finally:
            life.kill()
            await asyncio.to_thread(life.wait)

    def close(self) -> None:
        for life in self._begun:
            life.kill()
            life.wait()


@dataclass(slots=True)
class Known:
    """What a run knows at its end."""

    closed: list[Any]
    state: dict[str, list[Any]]
    changes: dict[str, list[Any]]
    published: set[tuple[str, int]]
    applied: int
    unaccounted: int
    kills: int = 0
    fired: list[int] = field(default_factory=list)


async def live_through(told: dict[str, str], hands: Hands, lives: Lives, *, kill: bool) -> Known:
    """Let the days pass; with `kill`, each day costs ten lives."""
    chance = random.Random(SEED)
    planned = 0
    async with open_plant(told) as plant:
        hands.set(DAY)
        await plant.put(history())
        async with lives.healthy():
            await plant.drained(60)
        for day in range(DAY, DAY + days()):
            hands.set(day)
            calls = calls_of(day, chance)
            coming, closing = plans(day) if kill else ([], [])
            planned += len(coming) + len(closing)
            share = len(calls) // (len(coming) + 1) + 1
            for number, plan in enumerate(coming):
                await plant.put(calls[number * share : (number + 1) * share])
                await die(lives, plan)
            await plant.put(calls[len(coming) * share :])
            async with lives.healthy():
                await plant.drained(60)
            hands.set(day + 1, 2.2)
            for plan in closing:
                await die(lives, plan)
            async with lives.healthy():
                await plant.closed(day, 60)
        async with lives.healthy():
            await plant.drained(60)
        known = await what_is_known(plant)
    known.kills, known.fired = planned, lives.ends
    return known


async def die(lives: Lives, plan: str) -> None:
    life = lives.begin(plan)
    try:
        code = await lives.ended(life)
    except subprocess.TimeoutExpired:
        life.kill()
        raise AssertionError(f"never came to {plan}") from None
    assert code == DIED, f"{plan}: ended with {code}"


async def what_is_known(plant: Plant) -> Known:
    async def table(query: str) -> list[Any]:
        return [tuple(row) for row in await plant.rows(query)]

    changes: dict[str, list[Any]] = {}
    for row in await plant.rows("SELECT account, sequence, from_band, to_band FROM scoring.risk_changes ORDER BY account, sequence"):
        changes.setdefault(row["account"], []).append((row["sequence"], row["from_band"], row["to_band"]))
    accounts = (
        "account, partition, first_day, last_active, last_event_us, events_total, origin, habit, segment, band, score, coverage, closed_day"
    )
    return Known(
        closed=await table("SELECT account, day, band, score, coverage FROM scoring.score_history ORDER BY day, account"),
        state={
            "accounts": await table(f"SELECT {accounts} FROM scoring.accounts ORDER BY account"),
            "days": await table("SELECT account, day, counts FROM scoring.day_counts ORDER BY 1, 2"),
            "users": await table("SELECT account, user_id, block, mask FROM scoring.user_days ORDER BY 1, 2, 3"),
            "facts": await table("SELECT account, name, versions FROM scoring.facts ORDER BY 1, 2"),
            "links": await table("SELECT subject, account, known FROM scoring.users ORDER BY 1"),
            "records": await table("SELECT day, record - 'made_at' FROM scoring.day_records ORDER BY 1"),
        },
        changes=changes,
        published={(change.account.account, change.sequence) for change in await plant.changes()},
        applied=int(
            await plant.value(
                "SELECT sum(count) FROM scoring.v_outcomes WHERE outcome = 'applied' AND topic = ANY($1)", [USAGE_EVENTS, USAGE_HISTORY]
            )
        ),
        unaccounted=int(
            await plant.value(
                """SELECT (SELECT sum(next_offset - first_offset) FROM scoring.v_positions) - (SELECT sum(count) FROM scoring.v_outcomes)"""
            )
        ),
    )


@pytest.fixture
def worlds(stack: Stack, tmp_path: Path) -> Iterator[list[tuple[dict[str, str], Hands, Lives]]]:
    """Two deployments beside each other: one to be left alone, one to be killed."""
    made = []
    for name in ("calm", "killed"):
        url = stack.create_database("scoring")
        hands = Hands(tmp_path / f"{name}.json")
        hands.set(DAY)
        told = stack.env(
            url,
            f"{name}{os.getpid()}.",
            CHURNSIGNAL_CLOCK=hands.spec,
            # A static member is back at once; a dead dynamic one would be waited for.
            CHURNSIGNAL_INSTANCE=f"scoring-{name}",
            CHURNSIGNAL_BATCH_RECORDS="15",
        )
        stack.apply_topics(told)
        made.append((told, hands, Lives(told, tmp_path / f"{name}.log")))
    yield made
    for told, _, lives in made:
        lives.close()
        stack.drop_database(told["DATABASE_URL"])
        stack.drop_topics(told["CHURNSIGNAL_TOPIC_PREFIX"])


def test_every_crash_point_of_scoring_is_in_the_plan() -> None:
    planned = {plan.split(":")[0] for day in range(DAY, DAY + max(4, days())) for part in plans(day) for plan in part}

    assert planned == {name for name in crash.POINTS if name.startswith("scoring.")}


@pytest.mark.asyncio
@pytest.mark.timeout(120 + 15 * KILLS)
async def test_scoring_killed_at_every_step_knows_what_an_uninterrupted_run_knows(
    worlds: list[tuple[dict[str, str], Hands, Lives]],
) -> None:
    calm = await live_through(*worlds[0], kill=False)

    killed = await live_through(*worlds[1], kill=True)

    sent = {(call.source, call.id) for call in history()}
    chance = random.Random(SEED)
    sent |= {(call.source, call.id) for day in range(DAY, DAY + days()) for call in calls_of(day, chance)}
    assert killed.fired == [DIED] * killed.kills, "each planned kill fired"
    assert killed.kills >= KILLS
    assert killed.closed == calm.closed
    for name, rows in calm.state.items():
        assert killed.state[name] == rows, name
    assert killed.unaccounted == calm.unaccounted == 0
    parked = {row[0] for row in calm.state["links"]}
    assert parked
    assert [row for row in calm.state["days"] if row[0] == "a11"] == []
    assert {"x0", "x5", "x10"} <= parked
    assert killed.applied == calm.applied <= len(sent)
    for run in (calm, killed):
        for account, changes in run.changes.items():
            assert [sequence for sequence, _, _ in changes] == list(range(1, len(changes) + 1)), account
            assert all(before[2] == after[1] for before, after in itertools.pairwise(changes)), account
        assert run.published == {(account, sequence) for account, changes in run.changes.items() for sequence, _, _ in changes}
