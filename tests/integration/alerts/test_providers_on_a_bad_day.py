"""Slack and mail that refuse, stall, or accept and say nothing: every alert arrives, none twice unless it is marked."""

import re
from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio

from tests.support.alerts_world import World
from tests.support.bad_days import DAYS, DOCUMENT, Day, Fate, document, live

pytestmark = pytest.mark.asyncio(loop_scope="package")


def struck(world: World) -> int:
    return sum(rule.struck for rule in world.inbox.faults.rules)


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def seen(running: World) -> dict[str, Fate]:
    """How every day ended; they are lived together."""
    return await live(running)


@pytest.mark.parametrize("day", DAYS, ids=str)
async def test_a_bad_day_ends_as_expected(seen: dict[str, Fate], day: Day) -> None:
    assert seen[str(day)] == day.expected


async def test_the_document_shows_what_was_seen(seen: dict[str, Fate]) -> None:
    assert DOCUMENT.read_text() == document(seen), "make providers"


async def test_a_burst_to_one_place_is_paced_and_others_are_not_held_up(world: World) -> None:
    await world.csm("bursty")
    await world.csm("single")
    await world.publish(*(world.change(f"burst-{n}", "bursty") for n in range(2)))
    await world.until(lambda: len(world.to("U0BURSTY")) == 2)

    await world.publish(*(world.change(f"more-{n}", "bursty") for n in range(12)), world.change("alone", "single"))

    await world.until(lambda: world.to("U0SINGLE"))
    await world.quiet()
    sent = await world.database.fetch(
        "SELECT extract(epoch FROM first_try)::float8 AS at FROM alerts.deliveries WHERE recipient = 'bursty' ORDER BY 1"
    )
    times = [row["at"] for row in sent]
    # One a second and two more in a burst; what waits meanwhile is merged.
    assert all(later - earlier > 0.9 for earlier, later in zip(times, times[3:], strict=False))
    assert await world.database.fetchval("SELECT count(*) FROM alerts.v_notices WHERE csm = 'bursty'") == 14
    assert len(times) < 14


async def test_six_hours_without_slack_and_mail_end_in_one_catch_up(world: World) -> None:
    async def an_hour_later() -> None:
        await world.database.execute(
            "UPDATE alerts.deliveries SET not_before = now(), first_try = first_try - interval '1 hour' WHERE state = 'retry';"
            "UPDATE alerts.pace SET next_at = least(next_at, now())"
        )
        await world.until(lambda: world.database.fetchval("SELECT count(*) = 0 FROM alerts.deliveries WHERE not_before <= now()"))

    await world.csm("outage")
    before = len(world.inbox.kept)
    world.inbox.fail("slack.*", "status", status=503)
    world.inbox.fail("smtp.connect", "status", status=421)
    await world.publish(*(world.change(f"out-{n}", "outage") for n in range(2)))
    await world.until(lambda: world.database.fetchval("SELECT count(*) > 0 FROM alerts.deliveries WHERE state = 'retry'"))
    for _ in range(3):
        await an_hour_later()
    await world.publish(*(world.change(f"out-{n}", "outage") for n in range(2, 10)))
    await world.applied("out-9", 1)
    for _ in range(3):
        await an_hour_later()
    assert world.inbox.kept[before:] == []

    world.inbox.faults.clear()
    await world.until(lambda: _caught_up(world, an_hour_later))

    told = await world.database.fetch("SELECT account, count(*) AS n FROM alerts.v_notices WHERE account LIKE 'out-%' GROUP BY account")
    kept = world.inbox.kept[before:]
    episodes = [set(re.findall(r"ep_\w+", f"{message.metadata} {message.headers}")) for message in kept]
    assert {row["account"]: row["n"] for row in told} == {f"out-{n}": 1 for n in range(10)}
    assert await world.database.fetchval("SELECT count(*) FROM alerts.notices WHERE state = 'failed'") == 0
    # Each of the first two may have arrived and stays what it was; whatever came afterwards is one message.
    assert max(len(names) for names in episodes) >= 8
    assert len(kept) <= 3
    assert not any("possible_duplicate" in str(message.metadata) for message in kept)


async def _caught_up(world: World, an_hour_later: Callable[[], Awaitable[None]]) -> bool:
    await an_hour_later()
    open_ = await world.database.fetchval("SELECT count(*) FROM alerts.notices WHERE state IN ('queued', 'sending')")
    return bool(open_ == 0)


async def test_a_mailbox_that_bounces_is_spared_and_the_operator_told_once(world: World) -> None:
    await world.csm("bounce", slack=None, channels=["email"])
    world.inbox.fail("smtp.rcpt", "status", status=550, match="bounce@example.com")

    for number in range(3):
        await world.publish(world.change(f"bounce-{number}", "bounce"))
        await world.applied(f"bounce-{number}", 1)
        await world.quiet()

    told = await world.until(lambda: [m for m in world.kept(kind="slack") if "Alerts no longer reach Bounce" in m.text])
    troubles = (await world.http.get("/v1/channels")).json()["troubles"]
    assert (len(told), struck(world)) == (1, 1)
    assert [(t["address"], t["reason"], t["bounced"]) for t in troubles if "bounce" in t["address"]] == [
        ("bounce@example.com", "relay answered 550", True)
    ]
    assert "spared: relay answered 550" in str(await world.episode("bounce-2"))

    world.inbox.faults.clear()
    await world.csm("bounce", slack=None, channels=["email"])
    await world.publish(world.change("bounce-3", "bounce"))
    await world.until(lambda: world.to("bounce@example.com"))


async def test_a_token_that_was_revoked_is_told_once_by_the_other_channel(world: World) -> None:
    before = len(world.inbox.kept)
    world.inbox.fail("chat.postMessage", "error", error="token_revoked", match="#Revoked")
    for number in range(3):
        await world.csm(f"revoked{number}")
    await world.publish(*(world.change(f"revoked-{n}", f"revoked{n}") for n in range(3)))

    await world.until(lambda: all(world.to(f"revoked{n}@example.com") for n in range(3)))
    await world.quiet()

    told = [m for m in world.inbox.kept[before:] if m.to == "customer-success@example.com" and m.subject == "Alerts no longer reach slack"]
    assert len(told) == 1
    assert "token_revoked" in told[0].text
    assert await world.database.fetchval("SELECT count(*) FROM alerts.troubles WHERE channel = 'slack' AND address = '*'") == 1
    await world.csm("healed")
    await world.publish(world.change("healed", "healed"))
    await world.until(lambda: world.to("U0HEALED"))
    await world.quiet()
    assert await world.database.fetchval("SELECT count(*) FROM alerts.troubles WHERE channel = 'slack' AND address = '*'") == 0


async def test_an_answer_that_is_lost_in_a_channel_is_looked_up_there(world: World) -> None:
    await world.publish(world.change("channel-first", None))
    await world.until(lambda: [m for m in world.inbox.kept if "Channel-First" in m.text])
    await world.quiet()
    world.inbox.fail("chat.postMessage", "cut_after", match="customer-success", count=1)

    await world.publish(world.change("channel-second", None))
    await world.applied("channel-second", 1)
    await world.quiet()

    assert struck(world) == 1
    copies = [m for m in world.inbox.kept if "Channel-Second" in m.text]
    assert [("possible_duplicate" in str(m.metadata)) for m in copies] == [False]
    world.inbox.faults.clear()
