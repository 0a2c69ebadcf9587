"""Slack and mail that refuse, stall, or accept and say nothing: every alert arrives, none twice unless it is marked."""

import pytest

from tests.support.alerts_world import World

pytestmark = pytest.mark.asyncio(loop_scope="package")


def outcomes(episode: dict[str, object]) -> list[str]:
    """Return the outcome of every attempt, in order."""
    deliveries = sorted(episode["deliveries"], key=lambda delivery: delivery["id"])  # type: ignore[call-overload]
    return [attempt["outcome"] for delivery in deliveries for attempt in delivery["attempt_log"]]


# The inbox calls the user U0BUSY "Busy", and so the conversation with them "#Busy".


def struck(world: World) -> int:
    return sum(rule.struck for rule in world.inbox.faults.rules)


async def test_a_busy_slack_is_asked_again_when_it_said(world: World) -> None:
    await world.csm("busy")
    world.inbox.fail("chat.postMessage", "status", status=429, retry_after=1, match="#Busy", count=1)

    await world.publish(world.change("busy", "busy"))

    await world.until(lambda: world.to("U0BUSY"))
    await world.quiet()
    assert struck(world) == 1
    assert outcomes(await world.episode("busy")) == ["retry", "sent"]


@pytest.mark.parametrize(
    "error", ["channel_not_found", "is_archived", "account_inactive", "user_not_found", "token_revoked", "invalid_blocks"]
)
async def test_a_permanent_refusal_goes_by_mail(world: World, error: str) -> None:
    who = "p" + error.replace("_", "")[:9]
    await world.csm(who)
    world.inbox.fail("chat.postMessage", "error", error=error, match=f"#{who.title()}", count=1)

    await world.publish(world.change(who, who))

    mail = (await world.until(lambda: world.to(f"{who}@example.com")))[0]
    await world.quiet()
    episode = await world.episode(who)
    assert struck(world) == 1
    assert outcomes(episode) == ["moved", "sent"]
    assert mail.episode_id == episode["id"]
    assert world.to(f"U0{who.upper()}") == []


@pytest.mark.parametrize(("name", "kind", "more"), [("cutafter", "cut_after", {}), ("hangafter", "hang_after", {"seconds": 6})])
async def test_a_message_that_slack_took_silently_is_found_and_not_sent_again(
    world: World, name: str, kind: str, more: dict[str, int]
) -> None:
    await world.csm(name)
    world.inbox.fail("chat.postMessage", kind, match=f"#{name.title()}", count=1, **more)

    await world.publish(world.change(name, name))

    await world.until(lambda: struck(world) == 1)
    await world.quiet()
    episode = await world.episode(name)
    assert outcomes(episode) == ["unknown", "sent"]
    assert len(world.to(f"U0{name.upper()}")) == 1
    assert not any(delivery["possible_duplicate"] for delivery in episode["deliveries"])


async def test_a_message_that_slack_did_not_take_is_sent_again(world: World) -> None:
    await world.csm("cut")
    world.inbox.fail("chat.postMessage", "cut", match="#Cut", count=1)

    await world.publish(world.change("cut", "cut"))

    await world.until(lambda: world.to("U0CUT"))
    await world.quiet()
    assert struck(world) == 1
    assert outcomes(await world.episode("cut")) == ["unknown", "sent"]
    assert len(world.to("U0CUT")) == 1


async def test_when_slack_cannot_be_asked_the_second_message_is_marked(world: World) -> None:
    await world.csm("blind")
    world.inbox.fail("chat.postMessage", "cut_after", match="#Blind", count=1)
    world.inbox.fail("conversations.history", "error", error="missing_scope", count=1)

    await world.publish(world.change("blind", "blind"))

    await world.until(lambda: len(world.to("U0BLIND")) == 2)
    await world.quiet()
    episode = await world.episode("blind")
    assert struck(world) == 2
    assert outcomes(episode) == ["unknown", "sent possible_duplicate"]
    assert {message.episode_id for message in world.to("U0BLIND")} == {episode["id"]}
    assert ["possible_duplicate" in str(m.metadata) for m in sorted(world.to("U0BLIND"), key=lambda m: m.id)] == [False, True]


async def test_a_mail_whose_answer_is_lost_is_sent_again_marked_and_with_the_same_id(world: World) -> None:
    await world.csm("lostmail", slack=None, channels=["email"])
    world.inbox.fail("smtp.data", "cut_after", match="lostmail", count=1)

    await world.publish(world.change("lostmail", "lostmail"))

    await world.until(lambda: len(world.to("lostmail@example.com")) == 2)
    await world.quiet()
    first, second = sorted(world.to("lostmail@example.com"), key=lambda m: m.id)
    assert struck(world) == 1
    assert first.headers["Message-ID"] == second.headers["Message-ID"]
    assert ["may have received this message already" in mail.text for mail in (first, second)] == [False, True]
    assert outcomes(await world.episode("lostmail")) == ["unknown", "sent possible_duplicate"]


async def test_an_address_that_mail_refuses_for_good_goes_to_the_catch_all(world: World) -> None:
    await world.csm("gone", slack=None, channels=["email"])
    world.inbox.fail("smtp.rcpt", "status", status=550, match="gone@example.com")

    await world.publish(world.change("gone", "gone"))

    await world.until(lambda: "Gone is at risk" in str([m.text for m in world.to("#customer-success")]))
    episode = await world.episode("gone")
    assert struck(world) == 1
    assert outcomes(episode) == ["moved", "sent"]


async def test_a_greylisting_relay_is_asked_again_later(world: World) -> None:
    await world.csm("grey", slack=None, channels=["email"])
    world.inbox.fail("smtp.rcpt", "status", status=451, match="grey@example.com", count=1)

    await world.publish(world.change("grey", "grey"))

    await world.until(lambda: struck(world) == 1)
    row = await world.until(lambda: world.database.fetchrow(
        "SELECT state, attempts, extract(epoch FROM not_before - now())::float8 AS wait FROM alerts.deliveries WHERE recipient = 'grey' AND state = 'retry'"))  # fmt: skip
    assert (row["state"], row["attempts"]) == ("retry", 1)
    assert 50 < row["wait"] <= 60
    await world.database.execute("UPDATE alerts.deliveries SET not_before = now() WHERE recipient = 'grey'")
    await world.until(lambda: world.to("grey@example.com"))
    await world.quiet()


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


async def test_a_long_outage_ends_in_one_message_to_each_person(world: World) -> None:
    await world.csm("outage")
    world.inbox.fail("chat.postMessage", "status", status=429, match="#Outage")
    await world.publish(*(world.change(f"out-{n}", "outage") for n in range(2)))
    await world.until(
        lambda: world.database.fetchval("SELECT count(*) > 0 FROM alerts.deliveries WHERE recipient = 'outage' AND attempts >= 4")
    )

    await world.publish(*(world.change(f"out-{n}", "outage") for n in range(2, 12)))
    await world.applied("out-11", 1)
    world.inbox.faults.clear()
    await world.database.execute("UPDATE alerts.deliveries SET not_before = now() WHERE recipient = 'outage' AND state = 'retry'")
    await world.quiet()

    assert await world.database.fetchval("SELECT count(*) FROM alerts.v_notices WHERE csm = 'outage'") == 12
    assert len(world.to("U0OUTAGE")) <= 2
    assert max(len(str(message.metadata).split(",")) for message in world.to("U0OUTAGE")) >= 11


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
