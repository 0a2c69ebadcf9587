"""Pure. What Slack refuses in a message or a modal, in Slack's own words."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_TEXT = 40_000
MAX_MESSAGE_BLOCKS = 50
MAX_VIEW_BLOCKS = 100
# Slack documents no limit for the whole; about 13,200 characters is where it answers msg_blocks_too_long,
# and every block costs some characters beside its text.
MAX_BLOCKS_TOTAL = 13_200
BLOCK_COST = 30

SECTION_TEXT = 3000
SECTION_FIELDS = 10
SECTION_FIELD = 2000
HEADER_TEXT = 150
BUTTON_TEXT = 75
BUTTON_VALUE = 2000
URL = 3000
ACTIONS = 25
CONTEXT = 10
IDENTIFIER = 255
ALT_TEXT = 2000
OPTIONS = 100
OPTION_TEXT = 75
OPTION_VALUE = 150
PLACEHOLDER = 150
LABEL = 2000
VIEW_TITLE = 24
PRIVATE_METADATA = 3000

INPUTS = frozenset(
    {
        "plain_text_input",
        "static_select",
        "users_select",
        "datepicker",
        "timepicker",
        "datetimepicker",
        "radio_buttons",
        "checkboxes",
        "number_input",
    }
)
BUTTONS = frozenset({"button", "overflow"})


@dataclass(slots=True)
class Findings:
    """What is wrong, each with the JSON pointer that Slack would name."""

    messages: list[str] = field(default_factory=list)

    def say(self, what: str, at: str) -> None:
        self.messages.append(f"{what} [json-pointer:{at}]")

    def longer_than(self, value: Json, limit: int, at: str) -> None:
        """Slack counts from 1: an empty text is as wrong as a long one."""
        if not isinstance(value, str):
            self.say("must be a string", at)
        elif not value:
            self.say("must be more than 0 characters", at)
        elif len(value) > limit:
            self.say(f"must be less than {limit + 1} characters", at)

    def optional(self, item: dict[str, Json], name: str, limit: int, at: str) -> None:
        if name in item:
            self.longer_than(item[name], limit, f"{at}/{name}")

    def text(self, value: Json, limit: int, at: str, *kinds: str) -> None:
        """Check a text object of one of `kinds`; without kinds, both are fine."""
        if not isinstance(value, dict):
            self.say("must provide an object", at)
            return
        if value.get("type") not in (kinds or ("plain_text", "mrkdwn")):
            self.say("must be a valid enum value", f"{at}/type")
        self.longer_than(value.get("text"), limit, f"{at}/text")

    def items(self, value: Json, limit: int, at: str) -> Iterator[tuple[dict[str, Json], str]]:
        """Yield each object of a list with its pointer, after checking the list itself."""
        if not isinstance(value, list) or not value:
            self.say("no fewer than 1 items allowed", at)
            return
        if len(value) > limit:
            self.say(f"no more than {limit} items allowed", at)
        for index, item in enumerate(value[:limit]):
            if isinstance(item, dict):
                yield item, f"{at}/{index}"
            else:
                self.say("must provide an object", f"{at}/{index}")


def check_blocks(blocks: Json, most: int = MAX_MESSAGE_BLOCKS) -> list[str]:
    """Return what Slack would list under `response_metadata.messages`; nothing if it would accept."""
    found = Findings()
    if not isinstance(blocks, list):
        return ["must provide an array [json-pointer:/blocks]"]
    if len(blocks) > most:
        return [f"no more than {most} items allowed [json-pointer:/blocks]"]
    seen: set[Json] = set()
    for block, at in found.items(blocks or [{"type": "divider"}], most, "/blocks"):
        block_id = block.get("block_id")
        found.optional(block, "block_id", IDENTIFIER, at)
        if isinstance(block_id, str) and block_id in seen:
            found.say("block_id must be unique", f"{at}/block_id")
        seen.add(block_id if isinstance(block_id, str) else None)
        check = BLOCKS.get(str(block.get("type")))
        if check is None:
            found.say(f"unsupported type: {block.get('type')}", f"{at}/type")
        else:
            check(found, block, at)
    return found.messages


def check_view(view: Json) -> list[str]:
    """Return what is wrong with a modal."""
    found = Findings()
    if not isinstance(view, dict) or view.get("type") != "modal":
        return ["must be a modal [json-pointer:/view/type]"]
    found.text(view.get("title"), VIEW_TITLE, "/view/title", "plain_text")
    for name in ("submit", "close"):
        if name in view:
            found.text(view[name], VIEW_TITLE, f"/view/{name}", "plain_text")
    found.optional(view, "callback_id", IDENTIFIER, "/view")
    if view.get("private_metadata"):
        found.longer_than(view["private_metadata"], PRIVATE_METADATA, "/view/private_metadata")
    blocks = view.get("blocks")
    found.messages += check_blocks(blocks, MAX_VIEW_BLOCKS)
    if (
        isinstance(blocks, list)
        and any(isinstance(block, dict) and block.get("type") == "input" for block in blocks)
        and "submit" not in view
    ):
        found.say("missing required field: submit", "/view")
    return found.messages


def blocks_size(blocks: list[Json]) -> int:
    """Return what the blocks cost of the undocumented total."""
    return sum(len(text) for text in _texts(blocks)) + BLOCK_COST * len(blocks)


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


def _section(found: Findings, block: dict[str, Json], at: str) -> None:
    if "text" not in block and "fields" not in block:
        found.say("must define either `text` or `fields`", at)
    if "text" in block:
        found.text(block["text"], SECTION_TEXT, f"{at}/text")
    if "fields" in block:
        for item, where in found.items(block["fields"], SECTION_FIELDS, f"{at}/fields"):
            found.text(item, SECTION_FIELD, where)
    accessory = block.get("accessory")
    if isinstance(accessory, dict):
        _element(found, accessory, f"{at}/accessory", BUTTONS | INPUTS | {"image"})


def _header(found: Findings, block: dict[str, Json], at: str) -> None:
    found.text(block.get("text"), HEADER_TEXT, f"{at}/text", "plain_text")


def _context(found: Findings, block: dict[str, Json], at: str) -> None:
    for item, where in found.items(block.get("elements"), CONTEXT, f"{at}/elements"):
        if item.get("type") == "image":
            _image(found, item, where)
        else:
            found.text(item, SECTION_TEXT, where)


def _actions(found: Findings, block: dict[str, Json], at: str) -> None:
    seen: set[str] = set()
    for item, where in found.items(block.get("elements"), ACTIONS, f"{at}/elements"):
        _element(found, item, where, BUTTONS | INPUTS)
        action = item.get("action_id")
        if isinstance(action, str) and action in seen:
            found.say(f"`action_id`: {action} already exists for another element", f"{where}/action_id")
        seen.add(str(action))


def _image(found: Findings, block: dict[str, Json], at: str) -> None:
    if not isinstance(block.get("slack_file"), dict):
        found.longer_than(block.get("image_url"), URL, f"{at}/image_url")
    found.longer_than(block.get("alt_text"), ALT_TEXT, f"{at}/alt_text")
    if "title" in block:
        found.text(block["title"], LABEL, f"{at}/title", "plain_text")


def _input(found: Findings, block: dict[str, Json], at: str) -> None:
    found.text(block.get("label"), LABEL, f"{at}/label", "plain_text")
    element = block.get("element")
    if isinstance(element, dict):
        _element(found, element, f"{at}/element", INPUTS)
    else:
        found.say("missing required field: element", at)


def _element(found: Findings, item: dict[str, Json], at: str, allowed: frozenset[str]) -> None:
    kind = item.get("type")
    if kind not in allowed:
        found.say(f"unsupported type: {kind}", f"{at}/type")
        return
    found.optional(item, "action_id", IDENTIFIER, at)
    if kind == "button":
        _button(found, item, at)
    if kind == "image":
        _image(found, item, at)
    if "placeholder" in item:
        found.text(item["placeholder"], PLACEHOLDER, f"{at}/placeholder", "plain_text")
    if kind in ("static_select", "overflow", "radio_buttons", "checkboxes"):
        most = {"overflow": 5, "radio_buttons": 10, "checkboxes": 10}.get(kind, OPTIONS)
        for option, where in found.items(item.get("options"), most, f"{at}/options"):
            found.text(option.get("text"), OPTION_TEXT, f"{where}/text")
            found.longer_than(option.get("value"), OPTION_VALUE, f"{where}/value")
    if "confirm" in item:
        _confirm(found, item["confirm"], f"{at}/confirm")


def _button(found: Findings, item: dict[str, Json], at: str) -> None:
    found.text(item.get("text"), BUTTON_TEXT, f"{at}/text", "plain_text")
    found.optional(item, "value", BUTTON_VALUE, at)
    found.optional(item, "url", URL, at)
    if item.get("style", "primary") not in ("primary", "danger"):
        found.say("must be a valid enum value", f"{at}/style")


def _confirm(found: Findings, confirm: Json, at: str) -> None:
    if not isinstance(confirm, dict):
        found.say("must provide an object", at)
        return
    found.text(confirm.get("title"), 100, f"{at}/title", "plain_text")
    found.text(confirm.get("text"), 300, f"{at}/text")
    for name in ("confirm", "deny"):
        if name in confirm:
            found.text(confirm[name], 30, f"{at}/{name}", "plain_text")


def _nothing(found: Findings, block: dict[str, Json], at: str) -> None:
    """A divider has nothing to be wrong about."""


BLOCKS: dict[str, Callable[[Findings, dict[str, Json], str], None]] = {
    "section": _section,
    "header": _header,
    "context": _context,
    "actions": _actions,
    "image": _image,
    "input": _input,
    "divider": _nothing,
}
