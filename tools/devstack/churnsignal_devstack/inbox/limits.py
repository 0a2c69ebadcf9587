"""Pure. What Slack refuses in a message or a modal, in Slack's own words: one table of shapes and limits."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
# Yields what is wrong with a value at a JSON pointer.
Check: TypeAlias = "Callable[[Json, str], Iterator[str]]"

MAX_TEXT = 40_000
MAX_MESSAGE_BLOCKS = 50
MAX_VIEW_BLOCKS = 100
# Slack documents no limit for the whole; about 13,200 characters is where it answers msg_blocks_too_long,
# and every block costs some characters beside its text.
MAX_BLOCKS_TOTAL = 13_200
BLOCK_COST = 30
_TWICE = {"action_id": "`action_id`: {} already exists for another element", "block_id": "block_id must be unique"}


def _said(what: str, at: str) -> str:
    return f"{what} [json-pointer:{at}]"


def string(limit: int, least: int = 1) -> Check:
    """Slack counts from 1: an empty text is as wrong as a long one, nearly everywhere."""

    def check(value: Json, at: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield _said("must be a string", at)
        elif len(value) < least:
            yield _said("must be more than 0 characters", at)
        elif len(value) > limit:
            yield _said(f"must be less than {limit + 1} characters", at)

    return check


def one_of(*words: str) -> Check:
    def check(value: Json, at: str) -> Iterator[str]:
        if value not in words:
            yield _said("must be a valid enum value", at)

    return check


def many(limit: int, each: Check, unique: str = "") -> Check:
    """Return the check of a list of 1 to `limit` objects, of which no two have the same id `unique`."""

    def check(value: Json, at: str) -> Iterator[str]:
        if not isinstance(value, list) or not value:
            yield _said("no fewer than 1 items allowed", at)
            return
        if len(value) > limit:
            yield _said(f"no more than {limit} items allowed", at)
        seen: set[Json] = set()
        for index, item in enumerate(value[:limit]):
            yield from each(item, f"{at}/{index}")
            name = item.get(unique) if isinstance(item, dict) else None
            if isinstance(name, str) and name in seen:
                yield _said(_TWICE[unique].format(name), f"{at}/{index}/{unique}")
            seen.add(name if isinstance(name, str) else None)

    return check


def shape(must: dict[str, Check], may: dict[str, Check] | None = None) -> Check:
    """Return the check of an object; fields that are in neither table are fine."""

    def check(value: Json, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield _said("must provide an object", at)
            return
        for name, one in must.items():
            yield from one(value.get(name), f"{at}/{name}")
        for name, one in (may or {}).items():
            if name in value:
                yield from one(value[name], f"{at}/{name}")

    return check


def kinds(table: dict[str, Check]) -> Check:
    """Return the check of an object whose `type` says what it must be like."""

    def check(value: Json, at: str) -> Iterator[str]:
        kind = value.get("type") if isinstance(value, dict) else None
        if isinstance(value, dict) and str(kind) not in table:
            yield _said(f"unsupported type: {kind}", f"{at}/type")
        else:
            yield from table.get(str(kind), shape({}))(value, at)

    return check


def text(limit: int, *allowed: str) -> Check:
    return shape({"type": one_of(*(allowed or ("plain_text", "mrkdwn"))), "text": string(limit)})


def plain(limit: int) -> Check:
    return text(limit, "plain_text")


def _section(value: Json, at: str) -> Iterator[str]:
    if isinstance(value, dict) and "text" not in value and "fields" not in value:
        yield _said("must define either `text` or `fields`", at)


def _both(*checks: Check) -> Check:
    def check(value: Json, at: str) -> Iterator[str]:
        for one in checks:
            yield from one(value, at)

    return check


_CONFIRM = shape({"title": plain(100), "text": text(300)}, {"confirm": plain(30), "deny": plain(30)})
_COMMON: dict[str, Check] = {"action_id": string(255), "placeholder": plain(150), "confirm": _CONFIRM}
_OPTION = shape({"text": text(75), "value": string(150)})
_ANY = shape({}, _COMMON)
_IMAGE = {"alt_text": string(2000), "image_url": string(3000)}


def _choice(most: int) -> Check:
    return shape({"options": many(most, _OPTION)}, _COMMON)


_BUTTONS = {
    "button": shape({"text": plain(75)}, {**_COMMON, "value": string(2000), "url": string(3000), "style": one_of("primary", "danger")}),
    "overflow": _choice(5),
}
_INPUTS = {
    "static_select": _choice(100),
    "radio_buttons": _choice(10),
    "checkboxes": _choice(10),
    **dict.fromkeys(("plain_text_input", "number_input", "users_select", "datepicker", "timepicker", "datetimepicker"), _ANY),
}
_ELEMENT = kinds({**_BUTTONS, **_INPUTS})
_ID = {"block_id": string(255)}
_BLOCKS = {
    "section": _both(
        _section, shape({}, {**_ID, "text": text(3000), "fields": many(10, text(2000)), "accessory": kinds({**_BUTTONS, **_INPUTS, "image": shape(_IMAGE)})})
    ),
    "header": shape({"text": plain(150)}, _ID),
    "context": shape({"elements": many(10, kinds({"image": shape(_IMAGE), "plain_text": text(3000), "mrkdwn": text(3000)}))}, _ID),
    "actions": shape({"elements": many(25, _ELEMENT, unique="action_id")}, _ID),
    "image": shape(_IMAGE, {**_ID, "title": plain(2000)}),
    "input": shape({"label": plain(2000), "element": kinds(_INPUTS)}, _ID),
    "divider": shape({}, _ID),
}  # fmt: skip
_VIEW = shape(
    {"title": plain(24), "type": one_of("modal")},
    {"submit": plain(24), "close": plain(24), "private_metadata": string(3000, 0), "callback_id": string(255)},
)


def check_blocks(blocks: Json, most: int = MAX_MESSAGE_BLOCKS) -> list[str]:
    """Return what Slack would list under `response_metadata.messages`; nothing if it would accept."""
    if not isinstance(blocks, list):
        return [_said("must provide an array", "/blocks")]
    if len(blocks) > most:
        return [_said(f"no more than {most} items allowed", "/blocks")]
    return list(many(most, kinds(_BLOCKS), unique="block_id")(blocks, "/blocks")) if blocks else []


def check_view(view: Json) -> list[str]:
    """Return what Slack would list for a modal."""
    found = list(_VIEW(view, "/view"))
    if not isinstance(view, dict):
        return found
    blocks = view.get("blocks")
    found += check_blocks(blocks, MAX_VIEW_BLOCKS)
    asks = isinstance(blocks, list) and any(isinstance(block, dict) and block.get("type") == "input" for block in blocks)
    return [*found, _said("missing required field: submit", "/view")] if asks and "submit" not in view else found


def blocks_size(blocks: list[Json]) -> int:
    """Return what the blocks cost of the undocumented total."""
    return sum(len(part) for part in _texts(blocks)) + BLOCK_COST * len(blocks)


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name == "text" and isinstance(item, str):
                yield item
            else:
                yield from _texts(item)
