"""The inbox answers as Slack does: arguments, identities, threads, edits, modals and signed clicks."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from churnsignal_devstack.inbox.act import Alerts
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from tests.support.inbox import TOKEN, Inbox, listening_inbox, open_inbox

Json = dict[str, Any]
EPISODE: Json = {"event_type": "churnsignal_notice", "event_payload": {"episode_id": "ep-1"}}
BUTTONS: Json = {
    "type": "actions",
    "block_id": "acts",
    "elements": [{"type": "button", "action_id": "ack", "value": "ep-1", "text": {"type": "plain_text", "text": "Got it"}}],
}
MODAL: Json = {
    "type": "modal",
    "callback_id": "snooze",
    "title": {"type": "plain_text", "text": "Snooze"},
    "submit": {"type": "plain_text", "text": "Snooze"},
    "blocks": [
        {
            "type": "input",
            "block_id": "until",
            "label": {"type": "plain_text", "text": "Until"},
            "element": {"type": "datepicker", "action_id": "day"},
        }
    ],
}


@pytest.mark.parametrize(("headers", "error"), [({}, "not_authed"), ({"Authorization": "Bearer nonsense"}, "invalid_auth"), (TOKEN, None)])
@pytest.mark.asyncio
async def test_a_call_needs_the_token_of_a_bot(headers: dict[str, str], error: str | None) -> None:
    async with open_inbox() as inbox:
        answer = (await inbox.http.post("/slack/api/auth.test", headers=headers)).json()

    assert answer.get("error") == error


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"channel": "No Such Place", "text": "x"}, "channel_not_found"),
        ({"channel": "", "text": "x"}, "channel_not_found"),
        ({"channel": "#cs"}, "no_text"),
        ({"channel": "#cs", "text": "x", "blocks": "not json"}, "invalid_blocks_format"),
        ({"channel": "#cs", "text": "x", "metadata": {"event_payload": {}}}, "invalid_metadata_format"),
        ({"channel": "#cs", "text": "x", "thread_ts": "1.000001"}, "thread_not_found"),
    ],
)
@pytest.mark.asyncio
async def test_a_message_that_slack_would_refuse_is_refused_by_the_same_name(args: Json, error: str) -> None:
    async with open_inbox() as inbox:
        answer = await inbox.slack("chat.postMessage", **args)

    assert answer["error"] == error
    assert inbox.kept == []


@pytest.mark.asyncio
async def test_a_form_body_means_the_same_as_a_json_body() -> None:
    form = {"channel": "#cs", "text": "hello", "blocks": json.dumps([BUTTONS]), "metadata": json.dumps(EPISODE), "token": "xoxb-form"}

    async with open_inbox() as inbox:
        answer = (await inbox.http.post("/slack/api/chat.postMessage", data=form)).json()
        [kept] = (await inbox.http.get("/api/messages")).json()

    assert answer["ok"]
    assert (kept["text"], kept["episode_id"], kept["blocks"][0]["block_id"]) == ("hello", "ep-1", "acts")


@pytest.mark.asyncio
async def test_bodies_that_are_not_what_they_say_and_unknown_methods_are_refused() -> None:
    async with open_inbox() as inbox:
        broken = await inbox.http.post("/slack/api/chat.postMessage", content=b"{", headers={**TOKEN, "Content-Type": "application/json"})
        unknown = await inbox.slack("chat.sing")

    assert broken.json()["error"] == "invalid_json"
    assert unknown["error"] == "unknown_method"


@pytest.mark.asyncio
async def test_a_person_is_found_by_address_and_written_to_directly() -> None:
    async with open_inbox() as inbox:
        user = (await inbox.slack("users.lookupByEmail", email="Hanako.Sato@example.com"))["user"]
        direct = (await inbox.slack("conversations.open", users=user["id"]))["channel"]["id"]
        posted = await inbox.post(text="hi", channel=direct, metadata=EPISODE)
        by_user = await inbox.post(text="hi again", channel=user["id"])
        nobody = await inbox.slack("users.lookupByEmail", email="x@nobody.invalid")
        [first, _] = (await inbox.http.get("/api/messages?kind=slack")).json()

    assert (user["real_name"], user["profile"]["email"]) == ("Hanako Sato", "hanako.sato@example.com")
    assert posted["channel"] == by_user["channel"] == direct
    assert nobody["error"] == "users_not_found"
    assert (first["to"], first["channel"], first["ts"]) == ("hanako.sato@example.com", direct, posted["ts"])


@pytest.mark.asyncio
async def test_history_shows_metadata_only_when_asked_and_keeps_replies_in_their_thread() -> None:
    async with open_inbox() as inbox:
        root = await inbox.post(text="root", metadata=EPISODE)
        reply = await inbox.post(text="reply", thread_ts=root["ts"])
        bare = await inbox.slack("conversations.history", channel=root["channel"])
        full = await inbox.slack("conversations.history", channel=root["channel"], include_all_metadata=True)
        thread = await inbox.slack("conversations.replies", channel=root["channel"], ts=root["ts"])

    assert [message["text"] for message in bare["messages"]] == ["root"]
    assert "metadata" not in bare["messages"][0]
    assert full["messages"][0]["metadata"] == EPISODE
    assert [message["ts"] for message in thread["messages"]] == [root["ts"], reply["ts"]]


@pytest.mark.asyncio
async def test_history_is_paged_from_the_newest_and_bounded_by_time() -> None:
    async with open_inbox() as inbox:
        posts = [await inbox.post(text=str(number)) for number in range(5)]
        channel = posts[0]["channel"]
        first = await inbox.slack("conversations.history", channel=channel, limit=2)
        second = await inbox.slack("conversations.history", channel=channel, limit=2, cursor=first["response_metadata"]["next_cursor"])
        since = await inbox.slack("conversations.history", channel=channel, oldest=posts[3]["ts"])
        within = await inbox.slack("conversations.history", channel=channel, oldest=posts[3]["ts"], inclusive="true")

    assert [[message["text"] for message in page["messages"]] for page in (first, second)] == [["4", "3"], ["2", "1"]]
    assert first["has_more"]
    assert [message["text"] for message in since["messages"]] == ["4"]
    assert [message["text"] for message in within["messages"]] == ["4", "3"]


@pytest.mark.asyncio
async def test_an_edit_replaces_the_message_and_what_was_before_is_kept() -> None:
    async with open_inbox() as inbox:
        posted = await inbox.post(BUTTONS, text="red")
        edited = await inbox.slack("chat.update", channel=posted["channel"], ts=posted["ts"], text="acknowledged", blocks=[])
        missing = await inbox.slack("chat.update", channel=posted["channel"], ts="1.000001", text="x")
        [kept] = (await inbox.http.get("/api/messages")).json()

    assert edited["ok"]
    assert missing["error"] == "message_not_found"
    assert (kept["text"], kept["blocks"]) == ("acknowledged", [])
    assert [(edit["text"], edit["blocks"][0]["block_id"]) for edit in kept["edits"]] == [("red", "acts")]


@pytest.mark.asyncio
async def test_messages_are_filtered_by_kind_channel_episode_and_time_and_forgotten_on_request() -> None:
    async with open_inbox() as inbox:
        await inbox.post(text="one", channel="#one", metadata=EPISODE)
        await inbox.post(text="two", channel="#two")
        later = inbox.kept[1].received_at.isoformat()

        async def texts(**query: str) -> list[str]:
            return [message["text"] for message in (await inbox.http.get("/api/messages", params=query)).json()]

        found = [
            await texts(channel="#one"),
            await texts(since=later),
            await texts(episode="ep-1"),
            await texts(kind="email"),
            await texts(),
        ]
        wrong = await inbox.http.get("/api/messages?since=yesterday")
        await inbox.http.delete("/api/messages")

        assert found == [["one"], ["two"], ["one"], [], ["one", "two"]]
        assert wrong.status_code == 400
        assert await texts() == []


@pytest.mark.asyncio
async def test_the_real_sdk_posts_and_updates() -> None:
    async with listening_inbox() as inbox:
        client = AsyncWebClient(token="xoxb-real", base_url=f"{str(inbox.http.base_url).rstrip('/')}/slack/api/")
        posted = await client.chat_postMessage(channel="#cs", text="hi", blocks=[BUTTONS], metadata=EPISODE)
        await client.chat_update(channel=str(posted["channel"]), ts=str(posted["ts"]), text="hello")

    assert [message.text for message in inbox.kept] == ["hello"]


@asynccontextmanager
async def inbox_with_alerts(answer: httpx2.Response) -> AsyncIterator[tuple[Inbox, list[httpx2.Request]]]:
    """An inbox whose clicks reach an app that always gives `answer`."""
    seen: list[httpx2.Request] = []

    def app(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return answer

    async with (
        httpx2.AsyncClient(transport=httpx2.MockTransport(app), base_url="http://alerts") as client,
        open_inbox(Alerts(client, "s3cret")) as inbox,
    ):
        yield inbox, seen


def payload_of(request: httpx2.Request) -> Json:
    return dict(json.loads(parse_qs(request.content.decode())["payload"][0]))


@pytest.mark.asyncio
async def test_a_click_reaches_the_app_signed_as_slack_signs() -> None:
    async with inbox_with_alerts(httpx2.Response(200)) as (inbox, seen):
        user = (await inbox.slack("users.lookupByEmail", email="anna@example.com"))["user"]
        posted = await inbox.post(BUTTONS, channel=user["id"], metadata=EPISODE)
        answer = await inbox.http.post(
            "/act/click", json={"message": inbox.kept[0].id, "block_id": "acts", "action_id": "ack", "user": user["id"]}
        )

    assert answer.status_code == 200
    assert seen[0].url.path == "/slack/interactions"
    assert SignatureVerifier("s3cret").is_valid_request(seen[0].content, dict(seen[0].headers))
    payload = payload_of(seen[0])
    assert (payload["type"], payload["user"]["id"], payload["message"]["ts"]) == ("block_actions", user["id"], posted["ts"])
    assert {name: payload["actions"][0][name] for name in ("action_id", "block_id", "value")} == {
        "action_id": "ack",
        "block_id": "acts",
        "value": "ep-1",
    }
    assert payload["message"]["metadata"] == EPISODE


@pytest.mark.asyncio
async def test_a_trigger_opens_one_modal_and_its_submission_carries_what_was_filled_in() -> None:
    async with inbox_with_alerts(httpx2.Response(200)) as (inbox, seen):
        await inbox.post(BUTTONS)
        await inbox.http.post("/act/click", json={"message": inbox.kept[0].id, "block_id": "acts", "action_id": "ack"})
        trigger = payload_of(seen[0])["trigger_id"]
        opened = await inbox.slack("views.open", trigger_id=trigger, view=MODAL)
        again = await inbox.slack("views.open", trigger_id=trigger, view=MODAL)
        page = (await inbox.http.get("/")).text
        await inbox.http.post("/act/submit", json={"view": opened["view"]["id"], "values": {"until": {"day": "2026-12-01"}}})

    assert opened["ok"]
    assert again["error"] == "invalid_trigger_id"
    assert 'name="until|day"' in page
    submission = payload_of(seen[1])
    assert (submission["type"], submission["view"]["callback_id"]) == ("view_submission", "snooze")
    assert submission["view"]["state"]["values"]["until"]["day"] == {"type": "datepicker", "selected_date": "2026-12-01"}
    assert inbox.store.views == {}


@pytest.mark.asyncio
async def test_a_modal_with_errors_stays_open() -> None:
    errors = {"response_action": "errors", "errors": {"until": "That day is over"}}

    async with inbox_with_alerts(httpx2.Response(200, json=errors)) as (inbox, _):
        shown = inbox.store.show("U1", json.loads(json.dumps(MODAL)))
        answer = await inbox.http.post("/act/submit", json={"view": shown.id, "values": {}})

    assert answer.json() == errors
    assert shown.id in inbox.store.views


@pytest.mark.parametrize(("status", "told"), [(500, "The app answered 500."), (401, "The app answered 401.")])
@pytest.mark.asyncio
async def test_a_click_that_the_app_refuses_says_so(status: int, told: str) -> None:
    async with inbox_with_alerts(httpx2.Response(status)) as (inbox, _):
        await inbox.post(BUTTONS)
        answer = await inbox.http.post("/act/click", json={"message": 1, "block_id": "acts", "action_id": "ack"})

    assert (answer.status_code, answer.json()["message"]) == (502, told)


@pytest.mark.asyncio
async def test_without_an_app_a_click_says_what_is_missing() -> None:
    async with open_inbox() as inbox:
        await inbox.post(BUTTONS)
        answer = await inbox.http.post("/act/click", json={"message": 1, "block_id": "acts", "action_id": "ack"})

    assert answer.status_code == 409
    assert "SLACK_SIGNING_SECRET" in answer.json()["message"]


@pytest.mark.asyncio
async def test_the_oldest_messages_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_inbox() as inbox:
        monkeypatch.setattr("churnsignal_devstack.inbox.store.MAX_BYTES", 3000)
        for number in range(10):
            await inbox.post(text=f"{number}" * 500)

    assert [message.text[0] for message in inbox.kept] == ["8", "9"]


def test_our_signature_is_the_one_slack_documents() -> None:
    from churnsignal_devstack.inbox.clicks import signed

    body, headers = signed({"type": "block_actions"}, "secret", 1_700_000_000)

    expected = hmac.new(b"secret", b"v0:1700000000:" + body, hashlib.sha256).hexdigest()
    assert headers["X-Slack-Signature"] == f"v0={expected}"
