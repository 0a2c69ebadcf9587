"""Pure. What a person did on the page -> the interaction that Slack would send to the app."""

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

from churnsignal_devstack.inbox.limits import Json
from churnsignal_devstack.inbox.shapes import APP, BOT_USER, TEAM, view_json
from churnsignal_devstack.inbox.store import Message, OpenView, User

# What an element says it now holds, by its type.
STATES = {
    "static_select": "selected_option", "users_select": "selected_user", "datepicker": "selected_date", "timepicker": "selected_time",
    "datetimepicker": "selected_date_time", "radio_buttons": "selected_option", "checkboxes": "selected_options", "overflow": "selected_option",
}  # fmt: skip


def find_element(blocks: list[Json], block_id: str, action_id: str) -> dict[str, Json] | None:
    """Return the button or menu that was used."""
    for block in blocks:
        if isinstance(block, dict) and block.get("block_id") == block_id:
            elements = block.get("elements")
            for element in [*(elements if isinstance(elements, list) else []), block.get("accessory"), block.get("element")]:
                if isinstance(element, dict) and element.get("action_id") == action_id:
                    return element
    return None


def block_action(message: Message, user: User, block_id: str, element: dict[str, Json], chosen: Json) -> dict[str, Any]:
    """Return the payload of a click on a message, but for what only the sender knows: trigger, response address and time."""
    action: dict[str, Any] = {name: element[name] for name in ("type", "action_id", "text", "value", "style") if name in element}
    action |= {"block_id": block_id, **state_of(element, chosen)}
    original = {"type": "message", "user": BOT_USER, "ts": message.ts, "text": message.text, "blocks": message.blocks}
    extra = {"thread_ts": message.thread_ts, "metadata": message.metadata}
    return {
        "type": "block_actions",
        **_common(user),
        "container": {"type": "message", "channel_id": message.channel, "message_ts": message.ts, "is_ephemeral": False},
        "channel": {"id": message.channel, "name": message.channel_name},
        "message": original | {name: value for name, value in extra.items() if value is not None},
        "state": {"values": {}},
        "actions": [action],
    }


def view_submission(shown: OpenView, user: User, values: dict[str, dict[str, Json]]) -> dict[str, Any]:
    """Return the payload of a submitted modal."""
    blocks = shown.view.get("blocks")
    state: dict[str, dict[str, Any]] = {}
    for block in blocks if isinstance(blocks, list) else []:
        element = block.get("element") if isinstance(block, dict) else None
        if isinstance(block, dict) and isinstance(element, dict):
            block_id, action_id = str(block["block_id"]), str(element["action_id"])
            chosen = values.get(block_id, {}).get(action_id)
            state[block_id] = {action_id: {"type": element["type"], **state_of(element, chosen)}}
    return {
        "type": "view_submission",
        **_common(user),
        "view": {**view_json(shown), "state": {"values": state}},
        "response_urls": [],
    }


def view_closed(shown: OpenView, user: User) -> dict[str, Any]:
    """Return the payload of a modal that was closed without submitting."""
    return {"type": "view_closed", **_common(user), "view": view_json(shown), "is_cleared": False}


def state_of(element: dict[str, Json], chosen: Json) -> dict[str, Json]:
    """Return the value of an element as Slack names it; options come back whole, not by value alone."""
    kind = str(element.get("type"))
    if kind == "button":
        return {}
    name = STATES.get(kind, "value")
    options = element.get("options")
    if isinstance(options, list):
        wanted = chosen if isinstance(chosen, list) else [chosen]
        picked: list[Json] = [option for option in options if isinstance(option, dict) and option.get("value") in wanted]
        return {name: picked if name == "selected_options" else next(iter(picked), None)}
    if kind == "datetimepicker":
        return {name: int(str(chosen)) if str(chosen).isdigit() else None}
    return {name: chosen or None}


def signed(payload: dict[str, Any], secret: str, now_s: int) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of an interaction, signed as Slack signs."""
    body = urlencode({"payload": json.dumps(payload, ensure_ascii=False)}).encode()
    signature = hmac.new(secret.encode(), f"v0:{now_s}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": str(now_s),
        "X-Slack-Signature": f"v0={signature}",
        "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
    }
    return body, headers


def _common(user: User) -> dict[str, Any]:
    return {
        "team": {"id": TEAM, "domain": "devstack"},
        "user": {"id": user.id, "username": user.email or user.id, "name": user.name, "team_id": TEAM},
        "api_app_id": APP,
        "token": "verification-tokens-are-deprecated",
    }
