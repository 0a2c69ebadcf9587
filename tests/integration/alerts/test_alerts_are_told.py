"""A change on the topic becomes a message, once, in the reader's language, whatever the providers do."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from churnsignal_alerts.hours import holiday_calendar, next_opening, parse_hours
from churnsignal_alerts.policy_file import default_text
from churnsignal_common.contracts.risk import Band, Cause, Finding, FindingKind, risk_event
from churnsignal_common.contracts.topics import RISK_CHANGES

from tests.support.alerts_world import World

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_change_becomes_a_slack_message_and_an_e_mail(world: World) -> None:
    await world.csm("hanako", locale="ja", zone="Asia/Tokyo", channels=["slack", "email"])

    await world.publish(world.change("acme", "hanako"))

    slack = (await world.until(lambda: world.to("U0HANAKO", "slack")))[0]
    mail = (await world.until(lambda: world.to("hanako@example.com", "email")))[0]
    episode = await world.episode("acme")
    assert (slack.episode_id, mail.episode_id) == (episode["id"], episode["id"])
    assert slack.text.startswith("Acme 様に解約予兆 · ¥1,200,000 /年・40席")
    assert "19日間ご利用がありません" in mail.text
    assert [delivery["state"] for delivery in episode["deliveries"]] == ["sent", "sent"]
    assert episode["timeline"][0]["what"] == "opened"


async def test_duplicates_of_a_change_are_told_once(world: World) -> None:
    await world.csm("dora")
    change, after = world.change("dup", "dora"), world.change("dup-after", "dora")

    await world.publish(change, change)
    await world.publish(change, after)

    await world.applied("dup-after", 1)
    await world.quiet()
    assert sorted(m.text.split(" is ")[0] for m in world.to("U0DORA")) == ["Dup", "Dup-After"]


async def test_a_gap_holds_later_changes_until_it_closes(world: World) -> None:
    await world.csm("greta")
    first, second, third = (world.change("gap", "greta", to=band) for band in (Band.RED, Band.YELLOW, Band.GREEN))

    await world.publish(first, third)
    await world.until(lambda: world.to("U0GRETA"))
    assert await world.database.fetchval("SELECT count(*) FROM alerts.held WHERE account = 'gap'") == 1
    await world.publish(second)

    await world.applied("gap", 3)
    await world.until(lambda: len(world.to("U0GRETA")) == 2)
    assert (await world.episode("gap"))["state"] == "recovered"


async def test_a_gap_that_never_closes_is_given_up_and_counted(world: World) -> None:
    await world.csm("gil")
    await world.publish(world.change("lost", "gil", to=Band.YELLOW))
    await world.applied("lost", 1)

    await world.publish(world.change("lost", "gil", sequence=3))

    await world.until(lambda: world.to("U0GIL"))
    assert "churnsignal_alerts_sequence_gaps_total 1.0" in (await world.http.get("/metrics")).text


async def test_what_cannot_be_read_is_dead_and_the_partition_goes_on(world: World) -> None:
    await world.csm("petra")

    # A time without a zone and a number beyond Postgres can be read, and neither our arithmetic nor the tables can bear them.
    naive = msgspec.json.encode(risk_event(world.change("poison", "petra", as_of=world.now.replace(tzinfo=None))))

    await world.raw(RISK_CHANGES, "poison", b"\xff{not json")
    await world.raw(RISK_CHANGES, "poison", naive)
    await world.publish(world.change("poison", "petra", sequence=2**63))
    await world.publish(world.change("poison", "petra"))

    await world.until(lambda: world.to("U0PETRA"))
    assert await world.database.fetchval(
        'SELECT array_agg(reason ORDER BY "offset") FROM alerts.dead WHERE topic LIKE $1', f"%{RISK_CHANGES}"
    ) == [
        "DecodeError",
        "handler: TypeError",
        "handler: DBAPIError",
    ]
    rows = await world.database.fetch("SELECT * FROM alerts.v_positions JOIN (SELECT topic, partition, sum(count) AS done FROM alerts.v_outcomes "
                                      "GROUP BY 1, 2) o USING (topic, partition)")  # fmt: skip
    assert rows
    assert all(row["next_offset"] - row["first_offset"] == row["done"] for row in rows)


async def test_silent_causes_make_one_ranked_summary(world: World) -> None:
    await world.csm("sumi", locale="ja", zone="Asia/Tokyo")

    await world.publish(*(world.change(f"quiet-{n}", "sumi", cause=Cause.HISTORY, profile_arr=n * 1e6) for n in (1, 3, 2)))
    await world.applied("quiet-2", 1)
    assert world.to("U0SUMI") == []
    world.advance(minutes=11)

    message = (await world.until(lambda: world.to("U0SUMI")))[0]
    await world.quiet()
    lines = [block["text"]["text"].split("\n")[0] for block in message.blocks if "accessory" in block]
    assert lines == ["1. Quiet-3", "2. Quiet-2", "3. Quiet-1"]
    assert message.text == "解約予兆のあるお客様 3社 · 契約額の合計 ¥6,000,000 /年"
    assert len(world.to("U0SUMI")) == 1


async def test_recovery_is_told_once_in_the_thread_with_its_duration(world: World) -> None:
    await world.csm("rika", channels=["slack", "email"])
    await world.publish(world.change("better", "rika"))
    first = (await world.until(lambda: world.to("U0RIKA", "slack")))[0]
    mail = (await world.until(lambda: world.to("rika@example.com")))[0]
    world.advance(days=3)

    await world.publish(world.change("better", "rika", to=Band.GREEN, from_band=Band.RED, score_before=2310, score_after=7000))

    second = (await world.until(lambda: world.to("U0RIKA", "slack")[1:]))[0]
    answer = (await world.until(lambda: world.to("rika@example.com")[1:]))[0]
    assert second.thread_ts == first.ts
    assert "It was red for 3 days" in second.text
    assert answer.headers["In-Reply-To"] == mail.headers["Message-ID"]
    await world.until(lambda: "recovered on" in str(first.blocks))


async def test_a_flap_goes_on_in_the_same_thread_and_episode(world: World) -> None:
    await world.csm("flo")
    await world.publish(world.change("flap", "flo"))
    first = (await world.until(lambda: world.to("U0FLO")))[0]
    world.advance(days=1)
    await world.publish(world.change("flap", "flo", to=Band.YELLOW))
    await world.until(lambda: len(world.to("U0FLO")) == 2)
    world.advance(days=1)
    await world.publish(world.change("flap", "flo"))
    await world.until(lambda: len(world.to("U0FLO")) == 3)

    messages = sorted(world.to("U0FLO"), key=lambda m: m.id)
    assert [m.thread_ts for m in messages] == [None, first.ts, first.ts]
    assert {m.episode_id for m in messages} == {first.episode_id}
    assert "at risk again" in messages[-1].text


async def test_an_episode_that_ends_before_its_first_notice_is_a_line_of_the_digest(world: World) -> None:
    await world.csm("nina", hours="09:00-18:00", workdays="mon-fri", zone="America/New_York")
    world.advance(days=1)  # a Saturday
    await world.publish(world.change("brief", "nina"), world.change("brief", "nina", to=Band.GREEN))
    await world.applied("brief", 2)
    await world.quiet()
    assert world.to("U0NINA") == []

    world.advance(days=2, hours=2, minutes=1)  # Monday, when New York opens or has just opened

    message = (await world.until(lambda: world.to("U0NINA")))[0]
    assert "recovered before you were told" in str(message.blocks)
    assert [notice["kind"] for notice in (await world.episode("brief"))["notices"] if notice["state"] == "sent"] == ["digest"]


async def test_outside_working_hours_an_alert_waits_for_the_opening(world: World) -> None:
    await world.csm("wakako", hours="09:00-18:00", workdays="mon-fri", zone="Asia/Tokyo", country="JP")
    opening = next_opening(world.now, parse_hours("09:00-18:00", "mon-fri"), ZoneInfo("Asia/Tokyo"), holiday_calendar("JP"))
    assert opening > world.now + timedelta(days=2)  # It is Friday, 21:00 in Tokyo.

    await world.publish(world.change("night", "wakako"))
    await world.applied("night", 1)
    queue = await world.database.fetch("SELECT * FROM alerts.v_queue WHERE due_at > $1", world.now)
    assert [(row["state"], row["due_at"], row["count"]) for row in queue] == [("queued", opening, 1)]
    world.set_clock(opening - timedelta(minutes=1))
    await world.quiet()
    assert world.to("U0WAKAKO") == []
    world.set_clock(opening)

    await world.until(lambda: world.to("U0WAKAKO"))


async def test_many_at_once_become_one_message(world: World) -> None:
    await world.csm("maya", hours="09:00-18:00", zone="UTC")
    world.advance(days=1)  # a Saturday
    await world.publish(*(world.change(f"many-{n}", "maya") for n in range(25)))
    for number in range(25):
        await world.applied(f"many-{number}", 1)

    world.advance(days=1, hours=21)

    message = (await world.until(lambda: world.to("U0MAYA")))[0]
    await world.quiet()
    assert len(world.to("U0MAYA")) == 1
    assert message.text.startswith("25 accounts at risk")
    assert await world.database.fetchval("SELECT count(*) FROM alerts.v_notices WHERE csm = 'maya' AND kind = 'risk'") == 25


async def test_what_is_over_the_budget_of_the_day_is_in_the_next_morning_s_digest_with_what_was_found(world: World) -> None:
    await world.csm("bud", hours="09:00-18:00", zone="UTC")
    text = default_text().replace("budget: 10", "budget: 1").replace("opportunity: false", "opportunity: {digest: true}")
    assert (await world.http.put("/v1/routing", json={"document": text})).status_code == 200
    world.advance(days=3, hours=22)  # a Tuesday
    tuesday = world.now
    seats = Finding(kind=FindingKind.OPPORTUNITY, code="seats_full", since=world.now.date(), value=95.0, unit="percent")

    await world.publish(world.change("within", "bud"))
    await world.until(lambda: world.to("U0BUD"))
    await world.publish(world.change("beyond", "bud"), world.change("grows", "bud", to=Band.GREEN, from_band=Band.GREEN, findings=(seats,)))
    for account in ("beyond", "grows"):
        await world.applied(account, 1)
    await world.quiet()
    assert len(world.to("U0BUD")) == 1
    world.advance(hours=23)

    digest = (await world.until(lambda: world.to("U0BUD")[1:]))[0]
    await world.http.put("/v1/routing", json={"document": default_text()})
    assert digest.text.startswith(f"Your digest for {tuesday:%a, %b} {tuesday.day}: 2 accounts")
    assert [entry["what"] for entry in (await world.episode("beyond"))["timeline"]][:2] == ["opened", "digested"]


async def test_a_new_owner_is_told_of_the_open_episode(world: World) -> None:
    await world.csm("old")
    await world.csm("new")
    change = world.change("moving", "old")
    await world.publish(change)
    await world.until(lambda: world.to("U0OLD"))

    await world.publish_profile(world.change("moving", "new", sequence=0).account)

    message = (await world.until(lambda: world.to("U0NEW")))[0]
    assert message.text.startswith("Moving is at risk, and now yours")
    assert (await world.episode("moving"))["csm"] == "new"
