"""Kill alerts at every named step of its loops: no alert is lost, and a second message is marked as one."""

import uuid
from collections import Counter
from pathlib import Path

import pytest
from churnsignal_alerts import consume, deliver
from churnsignal_common.runtime import crash

from tests.support.alerts_world import World, open_world
from tests.support.stack import Service, Stack

# Every step on its first pass; test_senders_survive_kills strikes in the middle of bursts.
STEPS = sorted(point for point in crash.POINTS if point.startswith("alerts."))
KILLS = [f"{step}:1" for step in STEPS]
MARK = "may have received this message already"


def test_the_steps_are_all_there() -> None:
    assert consume.__name__
    assert deliver.__name__
    assert len(STEPS) == 9


def accounts_of(number: int) -> list[str]:
    """Return the accounts that turn red around the kill; each has a CSM of its own, so that nothing is merged."""
    return [f"kill-{number}-{n}" for n in range(3)]


def owner_of(account: str) -> str:
    return account.replace("-", "")


async def killed_at(world: World, point: str, home: Path, number: int) -> None:
    """Run alerts until it dies at `point`, with news to tell; it also picks up what the one before left."""
    process = Service("alerts", world.told | {"CHURNSIGNAL_CRASH_AT": point}, home / f"killed-{number}.log")
    process.launch()
    assert process.child is not None
    await world.publish(*(world.change(account, owner_of(account)) for account in accounts_of(number)))
    code = await world.until(lambda: process.child and process.child.poll(), 90)
    assert code == 137, f"{point} did not strike"


@pytest.mark.asyncio
@pytest.mark.timeout(420)
async def test_kills_at_every_step_lose_nothing(stack: Stack, tmp_path: Path) -> None:
    shorter = {"CHURNSIGNAL_LEASE_S": "7", "CHURNSIGNAL_SEND_TIMEOUT_S": "2", "CHURNSIGNAL_SESSION_TIMEOUT_S": "2"}
    async with open_world(stack, f"t{uuid.uuid4().hex[:8]}.", tmp_path, **shorter) as world:
        accounts = [account for number in range(len(KILLS)) for account in accounts_of(number)]
        for account in accounts:
            await world.csm(owner_of(account), channels=["slack", "email"])
        world.process.stop(20)

        for number, point in enumerate(KILLS):
            await killed_at(world, point, tmp_path, number)
        # Not start(): it would block the loop in which the inbox answers.
        world.process.launch()
        for account in accounts:
            await world.applied(account, 1)
        await world.quiet(90)

        episodes = await world.database.fetch("SELECT id, account FROM alerts.episodes")
        notices = await world.database.fetch("SELECT episode, channel, count(*) AS n FROM alerts.v_notices GROUP BY 1, 2")
        flagged = {row["e"] for row in await world.database.fetch(
            "SELECT unnest(episodes) AS e FROM alerts.deliveries WHERE possible_duplicate AND channel = 'email'")}  # fmt: skip
        slack = Counter(m.episode_id for m in world.inbox.kept if m.kind == "slack")
        mails = [m for m in world.inbox.kept if m.kind == "email"]

    everyone = {row["id"] for row in episodes}
    assert sorted(row["account"] for row in episodes) == sorted(accounts)
    assert {(row["episode"], row["channel"]): row["n"] for row in notices} == {
        (e, channel): 1 for e in everyone for channel in ("slack", "email")
    }
    # Slack can be asked, so nothing comes twice; mail cannot, so a second one is marked, in the mail and in the log.
    assert slack == Counter(everyone)
    assert {m.episode_id for m in mails} == everyone
    unmarked = Counter(m.episode_id for m in mails if MARK not in m.text)
    assert max(unmarked.values()) == 1
    assert {m.episode_id for m in mails if MARK in m.text} == flagged


@pytest.mark.asyncio
@pytest.mark.timeout(180)
async def test_two_replicas_send_nothing_twice_and_one_is_enough(stack: Stack, tmp_path: Path) -> None:
    async with open_world(stack, f"t{uuid.uuid4().hex[:8]}.", tmp_path, CHURNSIGNAL_SESSION_TIMEOUT_S="2") as world:
        second = Service(
            "alerts", world.told | {"CHURNSIGNAL_PORT_BASE": str(int(world.told["CHURNSIGNAL_PORT_BASE"]) + 20)}, tmp_path / "second.log"
        )
        second.start()
        try:
            for number in range(10):
                await world.csm(f"pair{number}")
            await world.publish(*(world.change(f"both-{n}", f"pair{n % 10}") for n in range(30)))
            for number in range(30):
                await world.applied(f"both-{number}", 1)
            await world.quiet()
            first = len(world.inbox.kept)
            world.process.kill()
            await world.publish(*(world.change(f"one-{n}", f"pair{n}") for n in range(10)))
            for number in range(10):
                await world.applied(f"one-{number}", 1)
            await world.quiet()
            told = await world.database.fetch("SELECT episode, count(*) AS n FROM alerts.v_notices GROUP BY episode")
            deliveries = await world.database.fetchval("SELECT count(*) FROM alerts.deliveries WHERE state = 'sent'")
        finally:
            second.stop(10)

    assert first >= 10
    assert [row["n"] for row in told] == [1] * 40
    assert len(world.inbox.kept) == deliveries
