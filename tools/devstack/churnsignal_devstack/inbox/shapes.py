"""Pure. Messages, people, channels and modals in the JSON of Slack's answers."""

from typing import Any

from churnsignal_devstack.inbox.limits import Json
from churnsignal_devstack.inbox.store import Channel, Message, OpenView, User

Args = dict[str, Json]
Answer = dict[str, Any]

TEAM = "T0DEVSTACK"
APP = "A0CHURNSIG"
BOT = "B0CHURNSIG"
BOT_USER = "U0CHURNSIG"
PAGE_LIMIT = 200


def word(args: Args, name: str) -> str:
    """Return an argument as text; absent is empty, as in a form."""
    value = args.get(name)
    return value if isinstance(value, str) else "" if value is None else str(value)


def between(message: Message, args: Args) -> bool:
    oldest, latest, inclusive = (
        _stamp(args, "oldest", 0.0),
        _stamp(args, "latest", float("inf")),
        str(args.get("inclusive")).lower() in ("true", "1"),
    )
    ts = float(message.ts or 0)
    return oldest <= ts <= latest if inclusive else oldest < ts < latest


def _stamp(args: Args, name: str, absent: float) -> float:
    try:
        return float(word(args, name) or absent)
    except ValueError:
        return absent


def page_json(messages: list[Message], args: Args) -> Answer:
    limit, start = _number(args, "limit", 100), _number(args, "cursor", 0)
    limit = min(max(limit, 1), PAGE_LIMIT)
    with_metadata = str(args.get("include_all_metadata")).lower() in ("true", "1")
    more = len(messages) > start + limit
    return {
        "ok": True,
        "messages": [message_json(message, with_metadata=with_metadata) for message in messages[start : start + limit]],
        "has_more": more,
        "response_metadata": {"next_cursor": str(start + limit) if more else ""},
    }


def _number(args: Args, name: str, absent: int) -> int:
    value = word(args, name)
    return int(value) if value.isdigit() and len(value) < 10 else absent


def message_json(message: Message, *, with_metadata: bool) -> Answer:
    shown: Answer = {
        "type": "message",
        "user": BOT_USER,
        "bot_id": BOT,
        "app_id": APP,
        "ts": message.ts,
        "text": message.text,
        "blocks": message.blocks,
    }
    if message.thread_ts:
        shown["thread_ts"] = message.thread_ts
    if message.edits:
        shown["edited"] = {"user": BOT_USER, "ts": f"{message.edits[-1].at.timestamp():.6f}"}
    if with_metadata and message.metadata is not None:
        shown["metadata"] = message.metadata
    return shown


def user_json(user: User) -> Answer:
    profile = {"email": user.email, "real_name": user.name, "display_name": user.name}
    return {
        "id": user.id,
        "team_id": TEAM,
        "name": user.email or user.id,
        "real_name": user.name,
        "deleted": False,
        "is_bot": False,
        "profile": profile,
    }


def channel_json(channel: Channel) -> Answer:
    return {
        "id": channel.id,
        "name": channel.name,
        "is_channel": channel.user is None,
        "is_im": channel.user is not None,
        "is_archived": False,
        "is_member": True,
    }


def view_json(shown: OpenView) -> Answer:
    """Return an open modal as Slack describes it to the app."""
    return {"id": shown.id, "team_id": TEAM, "app_id": APP, "bot_id": BOT, "hash": shown.id, "state": {"values": {}}, **shown.view}
