"""Buttons, links and the API lead to the same state; forged, replayed and late ones to none."""

import json
import re
import time
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from churnsignal_devstack.inbox.clicks import signed
from churnsignal_devstack.inbox.store import Message

from tests.support.alerts_world import SECRET, World, form

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def alerted(world: World, name: str, **fields: object) -> str:
    """Return the episode of an account whose CSM was told by Slack and mail."""
    await world.csm(name, channels=["slack", "email"], **fields)
    await world.publish(world.change(name, name))
    await world.until(lambda: world.to(f"U0{name.upper()}"))
    await world.until(lambda: world.to(f"{name}@example.com"))
    await world.quiet()
    return str((await world.episode(name))["id"])


def links(world: World, name: str) -> list[str]:
    """Return the paths of the links in the person's mail: acknowledge, snooze, close."""
    mail = world.to(f"{name}@example.com", "email")[0]
    return [urlsplit(url).path for url in re.findall(r"http://alerts\.test/a/\S+", mail.text)]


async def acknowledge(world: World, name: str, episode: str, way: str) -> None:
    if way == "slack":
        assert (await world.click(world.to(f"U0{name.upper()}")[0], "acknowledge", f"U0{name.upper()}")).status_code == 200
    elif way == "link":
        assert (await world.http.post(links(world, name)[0])).status_code == 200
    else:
        assert (await world.act(episode, "acknowledge", by=name.title())).status_code == 200


@pytest.mark.parametrize("way", ["slack", "link", "api"])
async def test_all_ways_lead_to_the_same_state(world: World, way: str) -> None:
    name = f"ack{way}"
    episode = await alerted(world, name)

    await acknowledge(world, name, episode, way)

    seen = await world.episode(name)
    assert (seen["state"], seen["by"], seen["until"]) == ("acknowledged", name.title(), None)
    assert [(entry["what"], entry["actor"]) for entry in seen["timeline"]][-1] == ("acknowledge", name.title())
    message = world.to(f"U0{name.upper()}")[0]
    await world.until(lambda: f"{name.title()} has been on it since" in str(message.blocks))
    assert "I’m on it" not in str(message.blocks)


async def test_acknowledging_twice_by_two_ways_is_one_entry(world: World) -> None:
    episode = await alerted(world, "twice")

    for way in ("slack", "link", "api"):
        await acknowledge(world, "twice", episode, way)

    entries = [entry for entry in (await world.episode("twice"))["timeline"] if entry["what"] == "acknowledge"]
    assert len(entries) == 1


async def test_a_replayed_click_acts_once_even_after_the_episode_was_reopened(world: World) -> None:
    episode = await alerted(world, "replay")
    message = world.to("U0REPLAY")[0]
    await world.click(message, "acknowledge", "U0REPLAY")
    await world.act(episode, "reopen")
    assert (await world.episode("replay"))["state"] == "open"

    payload = {"type": "block_actions", "user": {"id": "U0REPLAY"}, "actions": [{"action_id": "acknowledge", "value": episode}]}
    body, headers = signed(payload, SECRET, int(time.time()))
    first = await world.http.post("/slack/interactions", content=body, headers=headers)
    await world.act(episode, "reopen")
    second = await world.http.post("/slack/interactions", content=body, headers=headers)

    assert (first.status_code, second.status_code) == (200, 200)
    assert (await world.episode("replay"))["state"] == "open"


async def test_unsigned_late_and_mangled_clicks_are_refused_and_never_an_error(world: World) -> None:
    episode = await alerted(world, "forged")
    payload = json.dumps({"type": "block_actions", "user": {"id": "U1"}, "actions": [{"action_id": "acknowledge", "value": episode}]})
    now = str(int(time.time()))
    _, good = signed(json.loads(payload), SECRET, int(time.time()))
    signature = next(value for name, value in good.items() if name.lower() == "x-slack-signature")

    answers = [
        await world.slack_post(form(payload), now, "v0=" + "0" * 64),
        await world.slack_post(form(payload), str(int(now) - 301), signature),
        await world.slack_post(form(payload), "abc", signature),
        await world.slack_post(b"payload=\xff\xfe", now, signature),
        await world.slack_post(form(payload), now, "v0=é"),
        await world.slack_post(form(payload), "", ""),
        await world.http.post("/slack/interactions", content=form(payload)),
    ]

    assert [answer.status_code for answer in answers] == [401] * 7
    assert (await world.episode("forged"))["state"] == "open"


@pytest.mark.parametrize("payload", ["[]", "1", "{}", '{"type":"block_actions"}', '{"type":"block_actions","actions":[1]}', '{"type":"view_submission"}',
                                     '{"type":"block_actions","actions":[{"action_id":"acknowledge","value":"ep_nobody"}]}'])  # fmt: skip
async def test_signed_payloads_that_mean_nothing_change_nothing(world: World, payload: str) -> None:
    body, headers = signed({}, SECRET, int(time.time()))
    import hashlib
    import hmac

    body = form(payload)
    stamp = next(value for name, value in headers.items() if name.lower() == "x-slack-request-timestamp")
    signature = "v0=" + hmac.new(SECRET.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()

    assert (await world.slack_post(body, stamp, signature)).status_code == 200


async def test_an_alert_is_closed_in_a_window_with_an_outcome_and_a_reason(world: World) -> None:
    episode = await alerted(world, "winclose")
    window = await world.open_window(world.to("U0WINCLOSE")[0], "close", "U0WINCLOSE")

    answer = await world.submit(window, outcome="saved", note="new contract <!channel>")

    seen = await world.episode("winclose")
    assert answer == {}
    assert (seen["id"], seen["state"], seen["outcome"], seen["note"], seen["by"]) == (
        episode,
        "closed",
        "saved",
        "new contract <!channel>",
        "Winclose",
    )
    await world.until(lambda: "closed by Winclose: saved" in str(world.to("U0WINCLOSE")[0].blocks))
    assert window.id not in world.inbox.store.views


async def test_a_snooze_in_a_window_lasts_as_long_as_was_said(world: World) -> None:
    await alerted(world, "winsnooze")
    message = world.to("U0WINSNOOZE")[0]

    await world.submit(await world.open_window(message, "snooze", "U0WINSNOOZE"), **{"for": "3"})
    three = (await world.episode("winsnooze"))["until"]
    ahead = world.now + timedelta(days=9)
    await world.submit(await world.open_window(message, "snooze", "U0WINSNOOZE"), **{"for": "1"}, date=str(int(ahead.timestamp())))
    dated = (await world.episode("winsnooze"))["until"]
    past = await world.submit(await world.open_window(message, "snooze", "U0WINSNOOZE"), **{"for": "1"}, date="1000000")
    await world.submit(await world.open_window(message, "snooze", "U0WINSNOOZE"), **{"for": "worse"})

    assert datetime.fromisoformat(three) == (world.now + timedelta(days=3)).replace(second=0, microsecond=0)
    assert datetime.fromisoformat(dated) == ahead
    assert past == {"response_action": "errors", "errors": {"date": "Choose a time that lies ahead."}}
    assert "or when it is worse" in str((await world.episode("winsnooze"))["timeline"][-1])


async def test_an_alert_is_handed_over_in_a_window_to_somebody_known_only_by_mail(world: World) -> None:
    await alerted(world, "winfrom")
    await world.csm("winto", slack=None)
    colleague = world.inbox.store.user("winto@example.com")
    message = world.to("U0WINFROM")[0]

    stranger = await world.submit(await world.open_window(message, "more", "U0WINFROM", menu(message, "reassign")), to="U0STRANGER")
    window = await world.open_window(message, "more", "U0WINFROM", menu(message, "reassign"))
    handed = await world.submit(window, to=colleague.id)

    assert stranger == {"response_action": "errors", "errors": {"to": "This person is not in the directory of CSMs."}}
    assert handed == {}
    assert (await world.episode("winfrom"))["csm"] == "winto"


async def test_notes_contacts_and_opinions_come_from_the_menu(world: World) -> None:
    episode = await alerted(world, "winmore", locale="ja")
    message = world.to("U0WINMORE")[0]

    noted = await world.open_window(message, "more", "U0WINMORE", menu(message, "note"))
    assert noted.view["title"] == {"type": "plain_text", "text": "メモ・コンタクトの記録", "emoji": False}
    await world.submit(noted, way="note", note="引継ぎ済み")
    await world.submit(await world.open_window(message, "more", "U0WINMORE", menu(message, "note")), way="call", note="CTO away")
    for _ in range(2):
        await world.click(message, "more", "U0WINMORE", menu(message, "feedback", "already_known"))

    timeline = [(entry["what"], entry["actor"], entry["why"]) for entry in (await world.episode("winmore"))["timeline"]]
    assert timeline[-3:] == [
        ("note", "Winmore", "引継ぎ済み"),
        ("contact", "Winmore", "call; CTO away"),
        ("feedback", "Winmore", "already_known"),
    ]
    contacts = (await world.http.get("/v1/accounts/winmore/contacts")).json()["items"]
    assert [(contact["way"], contact["note"]) for contact in contacts] == [("call", "CTO away")]
    assert (await world.episode("winmore"))["id"] == episode


def menu(message: Message, act: str, detail: str = "") -> str:
    """Return the value of an entry of the message's menu."""
    blocks: list[Any] = message.blocks
    options = [str(o["value"]) for b in blocks if b["type"] == "actions" for e in b["elements"] for o in e.get("options", [])]
    return next(value for value in options if value.startswith(f"{act}:") and value.endswith(detail))


async def test_a_click_that_cannot_be_done_in_time_is_not_done_and_says_so(world: World) -> None:
    episode = await alerted(world, "slowclick")
    async with world.database.transaction():
        await world.database.execute("SELECT 1 FROM alerts.episodes WHERE id = $1 FOR UPDATE", episode)

        answer = await world.click(world.to("U0SLOWCLICK")[0], "acknowledge", "U0SLOWCLICK")

    assert answer.status_code in (502, 504)
    assert (await world.episode("slowclick"))["state"] == "open"
    assert (await world.click(world.to("U0SLOWCLICK")[0], "acknowledge", "U0SLOWCLICK")).status_code == 200
    assert (await world.episode("slowclick"))["state"] == "acknowledged"


async def test_a_link_acts_once_even_after_the_episode_was_reopened(world: World) -> None:
    episode = await alerted(world, "linkonce")
    path = links(world, "linkonce")[0]
    await world.http.post(path)
    await world.act(episode, "reopen")

    again = await world.http.post(path)

    assert "This had been noted before" in again.text
    assert (await world.episode("linkonce"))["state"] == "open"


async def test_a_link_closes_with_what_came_of_it_and_why_and_asks_again_for_either(world: World) -> None:
    await alerted(world, "linkclose")
    path = links(world, "linkclose")[2]

    page = await world.http.get(path)
    halves = [await world.http.post(path, data=given) for given in ({}, {"outcome": "saved"}, {"outcome": "x", "note": "y"}, {"note": "y"})]
    still = (await world.episode("linkclose"))["state"]
    closed = await world.http.post(path, data={"outcome": "saved", "note": "new contract <b>"})

    assert [f'value="{outcome}"' in page.text for outcome in ("saved", "churned", "false_alarm", "no_action")] == [True] * 4
    assert [half.status_code for half in halves] == [200] * 4
    assert all("<textarea" in half.text for half in halves)
    assert still == "open"
    seen = await world.episode("linkclose")
    assert (seen["state"], seen["outcome"], seen["note"], seen["by"]) == ("closed", "saved", "new contract <b>", "Linkclose")
    assert "<b>" not in closed.text
    assert "<form" not in closed.text


async def test_opening_a_link_changes_nothing(world: World) -> None:
    episode = await alerted(world, "scanner")
    path = links(world, "scanner")[0]

    asked = await world.http.get(path)
    head = await world.http.request("HEAD", path)

    assert asked.status_code == 200
    assert "Start working on this account?" in asked.text
    assert head.status_code in (200, 405)
    assert (await world.episode("scanner"))["state"] == "open"
    assert episode in (await world.http.get("/v1/episodes", params={"state": "open", "csm": "scanner"})).text


async def test_a_mangled_or_expired_link_says_so_in_both_languages(world: World) -> None:
    await alerted(world, "expired")
    path = links(world, "expired")[0]

    mangled = await world.http.post(path[:-2] + "xx")
    world.advance(days=15)
    expired = await world.http.post(path)

    assert (mangled.status_code, expired.status_code) == (404, 404)
    assert "no longer valid" in expired.text
    assert "このリンクは無効です" in expired.text
    assert (await world.episode("expired"))["state"] == "open"


async def test_a_snooze_wakes_and_reminds(world: World) -> None:
    episode = await alerted(world, "sleepy")

    await world.act(episode, "snooze")
    asleep = await world.episode("sleepy")
    world.advance(hours=25)

    assert asleep["state"] == "snoozed"
    reminder = (await world.until(lambda: [m for m in world.to("U0SLEEPY") if "still at risk" in m.text]))[0]
    await world.until(lambda: world.database.fetchval("SELECT state = 'open' FROM alerts.episodes WHERE id = $1", episode))
    assert reminder.thread_ts == world.to("U0SLEEPY")[0].ts


async def test_an_acknowledged_snooze_does_not_remind(world: World) -> None:
    episode = await alerted(world, "calm")
    await world.act(episode, "snooze")
    await world.act(episode, "acknowledge")

    world.advance(hours=30)

    await world.quiet()
    assert not [m for m in world.to("U0CALM") if "still at risk" in m.text]


async def test_reassigning_tells_the_new_one_and_closing_counts_the_outcome(world: World) -> None:
    episode = await alerted(world, "giver")
    await world.csm("taker")

    moved = await world.act(episode, "reassign", to="taker@example.com")
    await world.until(lambda: world.to("U0TAKER"))
    closed = await world.act(episode, "close", outcome="saved", note="new contract")
    again = await world.act(episode, "close", outcome="churned")

    assert (moved.json()["csm"], closed.json()["state"], closed.json()["outcome"], again.status_code) == ("taker", "closed", "saved", 409)
    assert 'churnsignal_alerts_feedback_total{verdict="saved"}' in (await world.http.get("/metrics")).text


@pytest.mark.parametrize(
    ("act", "body", "status"),
    [
        ("acknowledge", {}, 404),
        ("snooze", {"until": "2026-11-20T10:00:00"}, 422),
        ("reassign", {"to": "nobody"}, 422),
        ("close", {"outcome": "won"}, 422),
    ],
)
async def test_what_cannot_be_done_is_said(world: World, act: str, body: dict[str, str], status: int) -> None:
    answer = await world.act("ep_nobody", act, **body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_readers_see_and_only_csms_act(world: World) -> None:
    reader = {"Authorization": "Bearer reader-token"}

    assert (await world.http.get("/v1/episodes", headers=reader)).status_code == 200
    assert (await world.http.post("/v1/episodes/x/acknowledge", json={}, headers=reader)).status_code == 403
    assert (await world.http.put("/v1/csms/x", json={"name": "X", "email": "x@y.z"}, headers=reader)).status_code == 403
    assert (await world.http.get("/v1/episodes", headers={"Authorization": "Bearer nonsense"})).status_code == 401


async def test_only_the_newest_episode_of_an_account_can_be_reopened(world: World) -> None:
    old = await alerted(world, "twolives")
    await world.act(old, "close", outcome="saved")
    await world.publish(world.change("twolives", "twolives"))
    await world.until(lambda: len(world.to("U0TWOLIVES")) == 2)
    new = (await world.episode("twolives"))["id"]

    answers = [await world.act(ident, "reopen") for ident in (old, new)]

    assert old != new
    assert [answer.status_code for answer in answers] == [409, 200]


async def test_the_link_of_somebody_who_is_gone_acts_no_more(world: World) -> None:
    await alerted(world, "leaver")
    link = links(world, "leaver")[0]
    here = await world.http.get(link)
    await world.csm("leaver", active=False)

    answers = [await world.http.get(link), await world.http.post(link)]

    assert here.status_code == 200
    assert [answer.status_code for answer in answers] == [404, 404]
    assert (await world.episode("leaver"))["state"] == "open"
