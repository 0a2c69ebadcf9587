"""Silences, contacts, leave and timers in the running service."""

import asyncio
import os
from datetime import timedelta

import msgspec
import pytest
from churnsignal_alerts.mute import Matcher
from churnsignal_alerts.store import COVERED, DUE, prune
from churnsignal_common.contracts.contact import Contacted, Way
from churnsignal_common.contracts.topics import CONTACTS
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support.alerts_world import World

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_silence_shows_what_it_covers_mutes_it_and_its_end_tells_it(world: World) -> None:
    await world.csm("sil")
    body = {"owner": "sil", "reason": "migration", "ends_at": (world.now + timedelta(hours=6)).isoformat()}
    made = (await world.http.post("/v1/silences", json=body)).json()
    await world.publish(world.change("silenced", "sil"))
    await world.applied("silenced", 1)
    preview = (await world.http.post("/v1/silences", json=body | {"preview": True})).json()
    muted = await world.episode("silenced")

    ended = await world.http.delete(f"/v1/silences/{made['id']}")
    await world.until(lambda: timelines(world, "silenced", "told"))
    world.advance(minutes=11)
    await world.until(lambda: world.to("U0SIL"))

    assert (made["episodes"], made["author"], ended.status_code) == ([], "admin", 204)
    assert (preview["count"], [e["account"] for e in preview["episodes"]]) == (1, ["silenced"])
    assert [e["what"] for e in muted["timeline"]] == ["opened", "muted"]
    assert muted["notices"] == []
    assert made["id"] not in [s["id"] for s in (await world.http.get("/v1/silences")).json()["items"]]
    assert (await world.http.delete(f"/v1/silences/{made['id']}")).status_code == 404


async def timelines(world: World, account: str, what: str) -> list[dict[str, object]]:
    """Return the entries of a kind on the newest episode's timeline."""
    return [entry for entry in (await world.episode(account))["timeline"] if entry["what"] == what]


async def test_a_silence_voids_what_is_queued_and_leaves_alone_what_somebody_works_on(world: World) -> None:
    await world.csm("night", hours="09:00-10:00", workdays="mon", zone="Asia/Tokyo")
    await world.publish(*(world.change(account, "night") for account in ("queued", "queue-at-work")))
    for account in ("queued", "queue-at-work"):
        await world.applied(account, 1)
    await world.act((await world.episode("queue-at-work"))["id"], "acknowledge")
    body = {"account": "queu*", "reason": "known", "ends_at": (world.now + timedelta(days=1)).isoformat()}

    made = (await world.http.post("/v1/silences", json=body)).json()

    queued, at_work = await world.episode("queued"), await world.episode("queue-at-work")
    assert {e["account"] for e in made["episodes"]} == {"queued", "queue-at-work"}
    assert [n["state"] for n in queued["notices"]] == ["cancelled"]
    assert [e["what"] for e in queued["timeline"]] == ["opened", "muted"]
    assert queued["timeline"][1]["why"].startswith("silenced by admin until ")
    assert [e["what"] for e in at_work["timeline"]] == ["opened", "acknowledge"]
    await world.http.delete(f"/v1/silences/{made['id']}")


async def test_a_contact_that_a_call_tells_of_is_in_the_log_once_and_on_the_timeline(world: World) -> None:
    await world.csm("crm")
    await world.publish(world.change("phoned", "crm"))
    await world.until(lambda: world.to("U0CRM"))
    told = Contacted(account="phoned", source="crm", id="m-9", at=world.now, way=Way.CALL, by="Hanako", note="they test it")

    for one in (told, msgspec.structs.replace(told, by="\0"), told, msgspec.structs.replace(told, id="m-10", way=Way.EMAIL)):
        await world.raw(CONTACTS, "phoned", msgspec.json.encode(one))
    await world.until(lambda: world.database.fetchval("SELECT count(*) > 0 FROM alerts.contacts WHERE event = 'crm:m-10'"))

    log = (await world.http.get("/v1/accounts/phoned/contacts")).json()["items"]
    assert [(c["way"], c["person"], c["note"], c["author"], c["event"]) for c in reversed(log)] == [
        ("call", "Hanako", "they test it", "crm", "crm:m-9"),
        ("email", "Hanako", "they test it", "crm", "crm:m-10"),
    ]
    assert [(e["actor"], e["why"]) for e in await timelines(world, "phoned", "contact")] == [
        ("Hanako", "call; they test it"),
        ("Hanako", "email; they test it"),
    ]


@pytest.mark.parametrize(
    "body", [{}, {"account": "x"}, {"reason": "r", "ends_at": "2027-01-01T00:00:00Z"}, {"account": "x", "reason": "r", "ends_at": "2020-01-01T00:00:00Z"},
             {"account": "x", "reason": "r", "ends_at": "2027-01-01T00:00:00"}, {"account": "x\0", "reason": "r", "ends_at": "2027-01-01T00:00:00Z"}],
)  # fmt: skip
async def test_a_silence_without_a_reason_an_end_or_a_target_is_refused(world: World, body: dict[str, str]) -> None:
    assert (await world.http.post("/v1/silences", json=body)).status_code == 422


async def test_a_red_parent_mutes_its_child_until_it_recovers(world: World) -> None:
    await world.csm("par")
    await world.publish(world.change("holding", "par"))
    await world.applied("holding", 1)
    await world.publish(world.change("daughter", "par", profile_parent="holding"))
    await world.applied("daughter", 1)
    muted = await world.episode("daughter")

    await world.publish(world.change("holding", "par", to="green", from_band="red"))
    await world.until(lambda: timelines(world, "daughter", "told"))

    assert [e["what"] for e in muted["timeline"]] == ["opened", "muted"]


async def test_leave_moves_open_episodes_and_tells_each_side_once(world: World) -> None:
    await world.csm("stand")
    await world.csm("owner")
    await world.publish(world.change("onleave", "owner"))
    await world.until(lambda: world.to("U0OWNER"))
    await world.quiet()
    today = world.now.date().isoformat()

    await world.csm("owner", delegate="stand", away_from=today, away_until=today)
    await world.until(lambda: world.to("U0STAND"))
    world.advance(hours=13)
    await world.until(lambda: timelines(world, "onleave", "moved"))
    await world.quiet()
    await world.csm("owner")

    moved = await world.episode("onleave")
    told = [(n["recipient"], n["kind"]) for n in moved["notices"] if n["kind"] != "state"]
    assert told[:3] == [("owner", "risk"), ("stand", "moved"), ("owner", "handed")]


async def test_a_contact_is_shared_on_the_timeline_and_in_the_log(world: World) -> None:
    await world.csm("con")
    await world.publish(world.change("called", "con"))
    await world.until(lambda: world.to("U0CON"))

    noted = await world.http.post("/v1/accounts/called/contacts", json={"way": "call", "by": "Con", "note": "they are on holiday"})
    future = {"way": "call", "at": (world.now + timedelta(days=1)).isoformat()}
    refused = await world.http.post("/v1/accounts/called/contacts", json=future)
    first = (await world.http.get("/v1/accounts/called/contacts", params={"limit": 1})).json()
    await world.http.post("/v1/accounts/called/contacts", json={"way": "email", "by": "Con"})
    page = (await world.http.get("/v1/accounts/called/contacts", params={"limit": 1})).json()
    older = (await world.http.get("/v1/accounts/called/contacts", params={"limit": 1, "cursor": page["next_cursor"]})).json()

    assert (noted.status_code, refused.status_code) == (201, 422)
    assert [(c["person"], c["author"], c["way"]) for c in first["items"]] == [("Con", "admin", "call")]
    assert [c["way"] for c in page["items"] + older["items"]] == ["email", "call"]
    assert older["next_cursor"] is None
    assert [(e["actor"], e["why"]) for e in await timelines(world, "called", "contact")] == [
        ("Con", "call; they are on holiday"),
        ("Con", "email"),
    ]


async def test_nobody_acting_is_told_up_the_line_and_closing_ends_it(world: World) -> None:
    await world.csm("chief")
    await world.csm("idle", manager="chief")
    await world.publish(world.change("ignored", "idle"))
    await world.until(lambda: world.to("U0IDLE"))
    await world.quiet()

    world.advance(hours=10)
    await world.until(lambda: timelines(world, "ignored", "reminded"))
    await world.quiet()
    world.advance(hours=10)
    await world.until(lambda: world.to("U0CHIEF"))
    await world.act((await world.episode("ignored"))["id"], "close", outcome="saved", note="renewed")
    world.advance(days=9)
    await world.quiet()

    seen = await world.episode("ignored")
    kinds = [(n["recipient"], n["kind"]) for n in seen["notices"] if n["kind"] != "state"]
    assert kinds == [("idle", "risk"), ("idle", "nudge"), ("chief", "escalated")]
    assert (seen["outcome"], seen["note"], seen["next_at"]) == ("saved", "renewed", None)


async def test_notes_feedback_and_snoozes_until_worse_are_commands_like_all(world: World) -> None:
    await world.csm("fed")
    await world.publish(world.change("feedback", "fed"))
    await world.until(lambda: world.to("U0FED"))
    episode = (await world.episode("feedback"))["id"]

    noted = await world.act(episode, "note", note="see the ticket")
    useful = await world.act(episode, "feedback", verdict="useful")
    again = await world.act(episode, "feedback", verdict="useful")
    unknown = await world.act(episode, "feedback", verdict="lovely")
    asleep = await world.act(episode, "snooze", or_worse=True)
    no_task = await world.http.post(f"/v1/episodes/{episode}/tasks/1/done", json={})
    metrics = (await world.http.get("/metrics")).text

    assert (noted.json()["note"], useful.json()["feedback"], again.json()["answer"]) == ("see the ticket", "useful", "already")
    assert (unknown.status_code, no_task.status_code) == (422, 404)
    assert asleep.json()["state"] == "snoozed"
    assert asleep.json()["until"][:10] == (world.now + timedelta(days=14)).date().isoformat()
    tally = (await world.http.get("/v1/feedback")).json()["items"]
    advice = (await world.http.get("/v1/recommendations")).json()["items"]

    assert 'churnsignal_alerts_feedback_total{verdict="useful"} 1.0' in metrics
    assert 'churnsignal_alerts_lessons_total{kind="risk",reason="active_days",verdict="useful"} 1.0' in metrics
    assert [row["said"]["useful"] for row in tally if row["reason"] == "active_days"] == [1]
    assert advice == []


async def test_what_was_handed_over_and_back_and_over_again_at_once_is_still_told(world: World) -> None:
    closed = {"hours": "09:00-10:00", "workdays": "mon", "zone": "Asia/Tokyo"}
    await world.csm("left", **closed)
    await world.csm("right", **closed)
    await world.publish(world.change("tossed", "left"))
    await world.applied("tossed", 1)

    for owner in ("right", "left", "right"):
        profile = world.change("tossed", owner, sequence=9).account
        await world.publish_profile(profile)
        await world.until(lambda owner=owner: csm_is(world, "tossed", owner))  # type: ignore[misc]  # bound at once

    waiting = [(n["recipient"], n["state"]) for n in (await world.episode("tossed"))["notices"] if n["state"] == "queued"]
    assert waiting == [("right", "queued")]


async def csm_is(world: World, account: str, csm: str) -> bool:
    return bool((await world.episode(account))["csm"] == csm)


async def test_what_is_due_or_silenced_among_a_hundred_thousand_open_episodes_is_found_by_its_index(world: World) -> None:
    await world.csm("many")
    await world.publish(world.change("original", "many"))
    await world.applied("original", 1)
    names = "state, opened_at, since, flips, csm, pinned, note, change, fall, priority, rung, worse_only, muted, tasks, owner_key"
    async with world.database.transaction():
        await world.database.execute(
            f"INSERT INTO alerts.episodes (id, account, account_key, segment_key, kind, next_at, {names}) "
            f"SELECT 'copy' || i, 'copy' || i, 'copy' || i, 'segment' || i % 50, kind, timestamptz '2040-01-01' + i * interval '1 s', {names} "
            "FROM alerts.episodes, generate_series(1, $1::int) i WHERE account = 'original'",
            int(os.environ.get("ALERTS_OPEN", "20000")),
        )
        await world.database.execute("ANALYZE alerts.episodes")
        plan = await world.database.fetch("EXPLAIN " + str(DUE.text).replace(":now", "$1").replace(":most", "$2"), world.now, 200)
        likes = list(Matcher(segment="segment7").likes().items())
        covered = str(COVERED.text)
        for number, (name, _) in enumerate(likes, 1):
            covered = covered.replace(f":{name}", f"${number}")
        silenced = await world.database.fetch("EXPLAIN " + covered, *(like for _, like in likes))
        await world.database.execute("DELETE FROM alerts.episodes WHERE id LIKE 'copy%'")

    lines = "\n".join(str(row[0]) for row in plan)
    assert "episodes_due" in lines
    assert "Seq Scan" not in lines
    assert "Sort" not in lines
    assert "episodes_to_silence" in str(silenced)
    assert "Seq Scan" not in str(silenced)


async def test_what_ended_long_ago_is_forgotten_with_all_that_hung_on_it_and_nothing_else(world: World) -> None:
    await world.csm("past")
    await world.publish(world.change("bygone", "past"), world.change("present", "past"))
    await world.until(lambda: len(world.to("U0PAST")) >= 2)
    await world.quiet()
    old = (await world.episode("bygone"))["id"]
    await world.act(old, "close", outcome="churned")
    await world.quiet()
    engine = create_async_engine(world.told["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"))

    async with engine.begin() as connection:
        too_soon = await prune(connection, world.now - timedelta(days=400), 100)
    async with engine.begin() as connection:
        # First tries are stamped by the machine's clock, which this test does not move.
        await connection.execute(text("UPDATE alerts.deliveries SET first_try = '2020-01-01'"))
        gone = await prune(connection, world.now + timedelta(days=1), 10_000)
    await engine.dispose()

    assert too_soon == 0
    assert gone >= 2
    assert (await world.http.get(f"/v1/episodes/{old}")).status_code == 404
    assert (await world.episode("present"))["deliveries"]


async def test_when_500_accounts_turn_red_each_csm_gets_one_message_at_the_opening_and_every_episode_is_in_the_log(world: World) -> None:
    team, opened = [f"storm{n}" for n in range(5)], world.now + timedelta(days=2, hours=12, minutes=1)  # Monday, 09:01 in Tokyo
    for who in team:
        await world.csm(who, hours="09:00-18:00", workdays="mon", zone="Asia/Tokyo")
    changes = [world.change(f"storm-{n}", team[n % len(team)]) for n in range(500)]

    await asyncio.gather(*(world.publish(one) for one in changes))
    for one in changes:
        await world.applied(one.account.account, 1)
    world.set_clock(opened)
    await world.until(lambda: all(world.to(f"U0{who.upper()}") for who in team))
    await world.quiet()

    assert [len(world.to(f"U0{who.upper()}", "slack")) for who in team] == [1] * len(team)
    found = await world.database.fetchval(
        "SELECT count(DISTINCT n.episode) FROM alerts.notices n JOIN alerts.episodes e ON e.id = n.episode "
        "WHERE e.account LIKE 'storm-%' AND n.state = 'sent'"
    )
    assert found == 500


async def test_every_message_about_an_episode_shows_what_became_of_it(world: World) -> None:
    await world.csm("both")
    await world.publish(world.change("two-messages", "both"))
    await world.until(lambda: world.to("U0BOTH"))
    await world.quiet()
    episode = (await world.episode("two-messages"))["id"]
    await world.act(episode, "snooze", until=(world.now + timedelta(hours=1)).isoformat())
    world.advance(hours=1, minutes=1)
    await world.until(lambda: len(world.to("U0BOTH")) == 2)
    await world.quiet()

    await world.act(episode, "close", outcome="saved")

    await world.until(lambda: all("closed by" in str(message.blocks) for message in world.to("U0BOTH")))


async def test_an_account_that_has_left_is_spoken_of_no_more(world: World) -> None:
    await world.csm("left")
    gone = world.change("has-left", "left")
    await world.publish(gone)
    await world.until(lambda: world.to("U0LEFT"))

    await world.publish_profile(msgspec.structs.replace(gone.account, lifecycle="churned"))

    await world.until(lambda: timelines(world, "has-left", "ended"))
    seen = await world.episode("has-left")
    assert (seen["state"], seen["outcome"], seen["note"]) == ("closed", "churned", "the account is churned")
