"""Flow. Slack's Web API methods over the store: what is accepted, what is refused, and with which word."""

import secrets
import time
from collections.abc import Callable
from typing import cast

from churnsignal_devstack.inbox.limits import MAX_BLOCKS_TOTAL, MAX_TEXT, Json, blocks_size, check_blocks, check_view
from churnsignal_devstack.inbox.shapes import (
    BOT,
    BOT_USER,
    TEAM,
    Answer,
    Args,
    between,
    channel_json,
    message_json,
    page_json,
    user_json,
    view_json,
    word,
)
from churnsignal_devstack.inbox.store import Store

# Slack forgets a trigger after three seconds.
TRIGGER_S = 3.0
MAX_TRIGGERS = 100


def refused(error: str, reasons: list[str] | None = None) -> Answer:
    """Return Slack's way of saying no; `reasons` as it lists them for blocks."""
    if not reasons:
        return {"ok": False, "error": error}
    return {"ok": False, "error": error, "errors": reasons, "response_metadata": {"messages": [f"[ERROR] {reason}" for reason in reasons]}}


class SlackMethods:
    """Each method takes the arguments of a call and returns the JSON that Slack would."""

    def __init__(self, store: Store, public_url: str) -> None:
        self._store = store
        self._url = public_url
        self._triggers: dict[str, tuple[float, str]] = {}
        self.table: dict[str, Callable[[Args], Answer]] = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post_message,
            "chat.update": self._update,
            "conversations.open": self._open,
            "conversations.info": self._channel_info,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "users.lookupByEmail": self._lookup,
            "users.info": self._user_info,
            "views.open": self._views_open,
            "views.update": self._views_update,
        }

    def trigger(self, user: str) -> str:
        """Return an id that lets the app open one modal for `user` in the next three seconds."""
        trigger = f"{TEAM}.{secrets.token_hex(12)}"
        self._triggers[trigger] = (time.monotonic() + TRIGGER_S, user)
        while len(self._triggers) > MAX_TRIGGERS:
            self._triggers.pop(next(iter(self._triggers)))
        return trigger

    def _auth_test(self, _: Args) -> Answer:
        return {
            "ok": True,
            "url": f"{self._url}/",
            "team": "Devstack",
            "user": "churnsignal",
            "team_id": TEAM,
            "user_id": BOT_USER,
            "bot_id": BOT,
        }

    def _post_message(self, args: Args) -> Answer:
        channel = self._store.channel(word(args, "channel"))
        if channel is None:
            return refused("channel_not_found")
        problem = _check_message(args)
        if problem is not None:
            return problem
        thread = word(args, "thread_ts") or None
        if thread and self._store.find(channel.id, thread) is None:
            return refused("thread_not_found")
        metadata = args.get("metadata")
        message = self._store.post(
            channel, word(args, "text"), _size(args), thread_ts=thread, blocks=_list(args.get("blocks")),
            metadata=metadata if isinstance(metadata, dict) else None, episode_id=_episode(metadata),
        )  # fmt: skip
        return {"ok": True, "channel": channel.id, "ts": message.ts, "message": message_json(message, with_metadata=True)}

    def _update(self, args: Args) -> Answer:
        message = self._store.find(word(args, "channel"), word(args, "ts"))
        if message is None:
            return refused("message_not_found" if word(args, "channel") in self._store.channels else "channel_not_found")
        problem = _check_message({"blocks": message.blocks or None, **args})
        if problem is not None:
            return problem
        metadata = args.get("metadata")
        # As in Slack: blocks that are not sent stay; an empty list removes them.
        blocks = _list(args["blocks"]) if "blocks" in args else message.blocks
        self._store.edit(message, word(args, "text"), blocks, metadata if isinstance(metadata, dict) else None, _size(args))
        return {
            "ok": True,
            "channel": message.channel,
            "ts": message.ts,
            "text": message.text,
            "message": message_json(message, with_metadata=True),
        }

    def _open(self, args: Args) -> Answer:
        if known := self._store.channels.get(word(args, "channel")):
            return {"ok": True, "channel": {"id": known.id}}
        first = word(args, "users").split(",")[0].strip()
        if first not in self._store.users and self._store.channel(first) is None:
            return refused("user_not_found")
        channel = self._store.direct(self._store.user_by_id(first))
        return {"ok": True, "no_op": False, "already_open": True, "channel": {"id": channel.id}}

    def _channel_info(self, args: Args) -> Answer:
        channel = self._store.channel(word(args, "channel"))
        return refused("channel_not_found") if channel is None else {"ok": True, "channel": channel_json(channel)}

    def _history(self, args: Args) -> Answer:
        channel = self._store.channels.get(word(args, "channel"))
        if channel is None:
            return refused("channel_not_found")
        roots = (message for message in self._store.of(channel.id) if message.thread_ts is None)
        return page_json([message for message in roots if between(message, args)], args)

    def _replies(self, args: Args) -> Answer:
        root = self._store.find(word(args, "channel"), word(args, "ts"))
        if root is None:
            return refused("thread_not_found")
        found = [message for message in self._store.of(root.channel) if message is root or message.thread_ts == root.ts]
        return page_json([message for message in reversed(found) if message is root or between(message, args)], args)

    def _lookup(self, args: Args) -> Answer:
        email = word(args, "email")
        # RFC 2606 keeps .invalid free of real people, so it serves as the address of nobody.
        if "@" not in email or email.endswith(".invalid"):
            return refused("users_not_found")
        return {"ok": True, "user": user_json(self._store.user(email))}

    def _user_info(self, args: Args) -> Answer:
        user = self._store.users.get(word(args, "user"))
        return refused("user_not_found") if user is None else {"ok": True, "user": user_json(user)}

    def _views_open(self, args: Args) -> Answer:
        expires, user = self._triggers.pop(word(args, "trigger_id"), (None, ""))
        if expires is None:
            return refused("invalid_trigger_id")
        if time.monotonic() > expires:
            return refused("expired_trigger_id")
        problems = check_view(args.get("view"))
        if problems:
            return refused("invalid_arguments", problems)
        return {"ok": True, "view": view_json(self._store.show(user, cast("dict[str, Json]", args["view"])))}

    def _views_update(self, args: Args) -> Answer:
        shown = self._store.views.get(word(args, "view_id"))
        if shown is None:
            return refused("not_found")
        problems = check_view(args.get("view"))
        if problems:
            return refused("invalid_arguments", problems)
        return {"ok": True, "view": view_json(self._store.show(shown.user, cast("dict[str, Json]", args["view"]), shown.id))}


def _check_message(args: Args) -> Answer | None:
    text, blocks, metadata = word(args, "text"), args.get("blocks"), args.get("metadata")
    if not text and not blocks and not args.get("attachments"):
        return refused("no_text")
    if len(text) > MAX_TEXT:
        return refused("msg_too_long")
    if blocks is not None and not isinstance(blocks, list):
        return refused("invalid_blocks_format")
    if problems := check_blocks(blocks or []):
        return refused("invalid_blocks", problems)
    if blocks_size(blocks or []) > MAX_BLOCKS_TOTAL:
        return refused("msg_blocks_too_long")
    return refused("invalid_metadata_format") if metadata is not None and not _is_metadata(metadata) else None


def _is_metadata(metadata: Json) -> bool:
    return isinstance(metadata, dict) and isinstance(metadata.get("event_type"), str) and isinstance(metadata.get("event_payload"), dict)


def _episode(metadata: Json) -> str | None:
    payload = metadata.get("event_payload") if isinstance(metadata, dict) else None
    found = payload.get("episode_id") if isinstance(payload, dict) else None
    return None if found is None else str(found)


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _size(args: Args) -> int:
    return 500 + len(repr(args))
