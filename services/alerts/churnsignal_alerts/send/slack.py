"""Door. Slack's Web API: post, thread, edit, and look a message up again by its metadata."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar, assert_never

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from churnsignal_alerts.outcome import Absent, CannotSay, Found, Mark, Outcome, Outgoing, Refused, Retry, Sent, Sighting, Unknown, asked_s

log = structlog.get_logger()
_T = TypeVar("_T")

EVENT_TYPE = "churnsignal_alert"
# Slack says of these that something may have happened on its side.
_MAYBE = frozenset({"internal_error", "fatal_error", "request_timeout"})
_LATER = frozenset({"ratelimited", "rate_limited", "service_unavailable", "team_added_to_org"})
_LOOK_BACK = 200
# By how much Slack's clock may be behind ours.
_CLOCKS = timedelta(minutes=1)
_MOST_USERS = 5_000


class SlackSender:
    """One workspace. Retries, pauses and fallbacks are the caller's: the SDK's own handlers are off."""

    at_once = 8

    def __init__(self, token: str, base_url: str, session: aiohttp.ClientSession, timeout_s: int) -> None:
        self._client = AsyncWebClient(token=token, base_url=base_url, timeout=timeout_s, session=session, retry_handlers=[])
        self._channels: dict[str, str] = {}
        self._emails: dict[str, str] = {}

    async def send(self, message: Outgoing, mark: Mark) -> Outcome:
        """Post, reply or edit; one request unless a direct message has to be opened first."""
        assert message.slack is not None
        opened = await self._call(self._channel(message))
        if not isinstance(opened, str):
            return opened if not isinstance(opened, Unknown) else Retry(opened.reason)
        await mark()
        answer = await self._call(self._deliver(message, opened))
        if not isinstance(answer, str):
            return answer
        return Sent(answer)

    async def _deliver(self, message: Outgoing, channel: str) -> str:
        assert message.slack is not None
        body: dict[str, Any] = {"text": message.slack.text, "blocks": message.slack.blocks}
        if message.edit:
            place, ts = message.edit.split(":", 1)
            await self._client.chat_update(channel=place, ts=ts, **body)
            return message.edit
        answer = await self._client.chat_postMessage(
            channel=channel, thread_ts=message.thread.split(":", 1)[1] if message.thread else None, reply_broadcast=bool(message.thread) or None,
            metadata={"event_type": EVENT_TYPE, "event_payload": _payload(message)}, unfurl_links=False, unfurl_media=False, parse="none", **body,
        )  # fmt: skip
        return f"{answer['channel']}:{answer['ts']}"

    async def _channel(self, message: Outgoing) -> str:
        """Return the id to post to: a user's direct message is opened once and remembered."""
        if message.thread:
            return message.thread.split(":", 1)[0]
        address = message.address
        if not address.startswith(("U", "W")):
            return address
        if address not in self._channels:
            answer = await self._client.conversations_open(users=address)
            channel: dict[str, Any] = answer["channel"]
            self._channels[address] = channel["id"]
        return self._channels[address]

    async def open_view(self, trigger: str, view: dict[str, Any]) -> str | None:
        """Open a window for the person whose click gave the trigger; return why it was not opened."""
        opened = await self._call(self._view(trigger, view))
        return None if isinstance(opened, str) else opened.reason

    async def _view(self, trigger: str, view: dict[str, Any]) -> str:
        await self._client.views_open(trigger_id=trigger, view=view)
        return ""

    async def email_of(self, user: str) -> str | None:
        """Return the e-mail address of a user of the workspace, remembered; None when Slack does not say."""
        if user not in self._emails:
            found = await self._call(self._profile(user))
            if not isinstance(found, str):
                log.warning("slack_user_unknown", reason=found.reason)
                return None
            self._emails = {**dict(list(self._emails.items())[-_MOST_USERS:]), user: found}
        return self._emails[user] or None

    async def _profile(self, user: str) -> str:
        answer = await self._client.users_info(user=user)
        found: dict[str, Any] = answer["user"]
        return str((found.get("profile") or {}).get("email") or "")

    async def look_up(self, message: Outgoing) -> Sighting:
        """Look for the message among those that its channel or thread got since it was first tried."""
        opened = message.conversation or await self._call(self._channel(message))
        found = await self._call(self._history(message, opened)) if isinstance(opened, str) else opened
        match found:
            case None:
                return CannotSay()
            case str():
                return Found(f"{opened}:{found}") if found else Absent()
            case Retry():
                return found
            case Unknown(reason):
                return Retry(reason)
            case Refused():
                return CannotSay()
            case _:
                assert_never(found)

    async def _history(self, message: Outgoing, channel: str) -> str | None:
        """Return when the message was posted; nothing if it was not, None when there is more than one page to look through."""
        where: dict[str, Any] = {"channel": channel, "include_all_metadata": True, "limit": _LOOK_BACK}
        if message.since:
            where["oldest"] = f"{(message.since - _CLOCKS).timestamp():.6f}"
        if message.thread:
            answer = await self._client.conversations_replies(ts=message.thread.split(":", 1)[1], **where)
        else:
            answer = await self._client.conversations_history(**where)
        messages: list[dict[str, Any]] = answer["messages"]
        found = next((str(m["ts"]) for m in messages if _key(m) == message.key), "")
        return found or (None if answer.get("has_more") else "")

    async def _call(self, work: Awaitable[_T]) -> _T | Retry | Refused | Unknown:
        """Return what `work` returns, or what its failure means."""
        try:
            result = await work
        except SlackApiError as error:
            return _meaning(error)
        except (aiohttp.ClientConnectorError, ConnectionRefusedError) as error:
            return Retry(f"cannot connect: {type(error).__name__}")
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            return Unknown(f"no answer: {type(error).__name__}")
        return result


def _payload(message: Outgoing) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "episode_id": (message.episodes or ("",))[0],
        "episodes": ",".join(message.episodes[:50]),
        "delivery": message.key,
    }
    return payload | ({"possible_duplicate": True} if message.possible_duplicate else {})


def _key(message: dict[str, Any]) -> str:
    metadata = message.get("metadata") or {}
    return str((metadata.get("event_payload") or {}).get("delivery", ""))


def _meaning(error: SlackApiError) -> Retry | Refused | Unknown:
    """Return what Slack's refusal means for the message."""
    status = getattr(error.response, "status_code", 0)
    data = getattr(error.response, "data", None)
    code = str(data.get("error", "")) if isinstance(data, dict) else ""
    if status == 429 or code in _LATER:
        return Retry(code or "ratelimited", asked_s({str(k): str(v) for k, v in dict(getattr(error.response, "headers", {})).items()}))
    if status >= 500 or code in _MAYBE or not code:
        return Unknown(code or f"status {status}")
    return Refused(code)
