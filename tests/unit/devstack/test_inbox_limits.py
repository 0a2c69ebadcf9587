"""Each limit of Slack: accepted at it, refused one over it, with Slack's own word."""

from typing import Any

import pytest
from churnsignal_devstack.inbox.limits import check_blocks, check_view

from tests.support.inbox import open_inbox

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def section(text: str) -> Json:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def actions(*elements: Json) -> Json:
    return {"type": "actions", "elements": list(elements)}


def button(**rest: Any) -> Json:
    return {"type": "button", "text": plain("Go"), **rest}


def select(**rest: Any) -> Json:
    return {"type": "static_select", "options": [{"text": plain("One"), "value": "1"}], **rest}


def confirm(**rest: Any) -> Json:
    return {"title": plain("t"), "text": plain("t"), "confirm": plain("c"), "deny": plain("d"), **rest}


# name, how to make a block of size n, the largest n, the pointer that Slack names
BLOCK_LIMITS = [
    ("section text", lambda n: section("x" * n), 3000, "/blocks/0/text/text"),
    ("section fields", lambda n: {"type": "section", "fields": [plain("f")] * n}, 10, "/blocks/0/fields"),
    ("section field", lambda n: {"type": "section", "fields": [plain("f" * n)]}, 2000, "/blocks/0/fields/0/text"),
    ("header", lambda n: {"type": "header", "text": plain("x" * n)}, 150, "/blocks/0/text/text"),
    ("block id", lambda n: {"type": "divider", "block_id": "i" * n}, 255, "/blocks/0/block_id"),
    ("actions", lambda n: actions(*[button(action_id=str(i)) for i in range(n)]), 25, "/blocks/0/elements"),
    ("context", lambda n: {"type": "context", "elements": [plain("c")] * n}, 10, "/blocks/0/elements"),
    ("button text", lambda n: actions({"type": "button", "text": plain("b" * n)}), 75, "/blocks/0/elements/0/text/text"),
    ("button value", lambda n: actions(button(value="v" * n)), 2000, "/blocks/0/elements/0/value"),
    ("button url", lambda n: actions(button(url="u" * n)), 3000, "/blocks/0/elements/0/url"),
    ("action id", lambda n: actions(button(action_id="a" * n)), 255, "/blocks/0/elements/0/action_id"),
    ("confirm title", lambda n: actions(button(confirm=confirm(title=plain("t" * n)))), 100, "/blocks/0/elements/0/confirm/title/text"),
    ("confirm text", lambda n: actions(button(confirm=confirm(text=plain("t" * n)))), 300, "/blocks/0/elements/0/confirm/text/text"),
    ("confirm deny", lambda n: actions(button(confirm=confirm(deny=plain("t" * n)))), 30, "/blocks/0/elements/0/confirm/deny/text"),
    ("options", lambda n: actions(select(options=[{"text": plain("o"), "value": "v"}] * n)), 100, "/blocks/0/elements/0/options"),
    (
        "option text",
        lambda n: actions(select(options=[{"text": plain("o" * n), "value": "v"}])),
        75,
        "/blocks/0/elements/0/options/0/text/text",
    ),
    ("placeholder", lambda n: actions(select(placeholder=plain("p" * n))), 150, "/blocks/0/elements/0/placeholder/text"),
    ("image url", lambda n: {"type": "image", "image_url": "u" * n, "alt_text": "a"}, 3000, "/blocks/0/image_url"),
    ("alt text", lambda n: {"type": "image", "image_url": "u", "alt_text": "a" * n}, 2000, "/blocks/0/alt_text"),
]


@pytest.mark.parametrize(("make", "most", "pointer"), [row[1:] for row in BLOCK_LIMITS], ids=[row[0] for row in BLOCK_LIMITS])
def test_a_block_is_accepted_at_its_limit_and_refused_one_over(make: Any, most: int, pointer: str) -> None:
    assert check_blocks([make(most)]) == []
    assert any(pointer in message for message in check_blocks([make(most + 1)]))


@pytest.mark.asyncio
async def test_fifty_blocks_are_a_message_and_fifty_one_are_not() -> None:
    async with open_inbox() as inbox:
        fits = await inbox.post(*[{"type": "divider"}] * 50)
        over = await inbox.post(*[{"type": "divider"}] * 51)

    assert fits["ok"]
    assert (over["error"], over["errors"]) == ("invalid_blocks", ["no more than 50 items allowed [json-pointer:/blocks]"])


@pytest.mark.asyncio
async def test_a_text_of_40000_characters_is_the_longest() -> None:
    async with open_inbox() as inbox:
        fits = await inbox.post(text="x" * 40_000)
        over = await inbox.post(text="x" * 40_001)

    assert fits["ok"]
    assert over == {"ok": False, "error": "msg_too_long"}


@pytest.mark.asyncio
async def test_blocks_that_each_fit_can_be_too_long_together() -> None:
    room = 13_200 - 4 * 3000 - 5 * 30

    async with open_inbox() as inbox:
        fits = await inbox.post(*[section("x" * 3000)] * 4, section("x" * room))
        over = await inbox.post(*[section("x" * 3000)] * 4, section("x" * (room + 1)))

    assert fits["ok"]
    assert over == {"ok": False, "error": "msg_blocks_too_long"}


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (section(""), "must be more than 0 characters"),
        ({"type": "section"}, "must define either `text` or `fields`"),
        ({"type": "header", "text": {"type": "mrkdwn", "text": "x"}}, "must be a valid enum value"),
        ({"type": "actions", "elements": []}, "no fewer than 1 items allowed"),
        (actions(button(action_id="a"), button(action_id="a")), "already exists for another element"),
        (actions(button(style="loud")), "must be a valid enum value"),
        (actions({"type": "image", "image_url": "u", "alt_text": "a"}), "unsupported type: image"),
        ({"type": "poem"}, "unsupported type: poem"),
        ({"type": "section", "text": "bare"}, "must provide an object"),
    ],
)
def test_a_malformed_block_is_refused_with_its_reason(block: Json, reason: str) -> None:
    assert reason in check_blocks([block])[0]


@pytest.mark.asyncio
async def test_what_is_malformed_is_listed_as_slack_lists_it_and_not_kept() -> None:
    async with open_inbox() as inbox:
        answer = await inbox.post({"type": "poem"})

    assert (answer["error"], answer["errors"]) == ("invalid_blocks", ["unsupported type: poem [json-pointer:/blocks/0/type]"])
    assert answer["response_metadata"]["messages"] == [f"[ERROR] {answer['errors'][0]}"]
    assert inbox.kept == []


def test_two_blocks_cannot_share_an_id() -> None:
    assert "block_id must be unique" in check_blocks([{"type": "divider", "block_id": "x"}, {"type": "divider", "block_id": "x"}])[0]


MODAL: Json = {
    "type": "modal",
    "title": plain("Snooze"),
    "submit": plain("Go"),
    "blocks": [{"type": "input", "label": plain("Until"), "element": {"type": "datepicker"}}],
}


@pytest.mark.parametrize(
    ("at", "over"),
    [
        ({"title": plain("t" * 24)}, {"title": plain("t" * 25)}),
        ({"private_metadata": "m" * 3000}, {"private_metadata": "m" * 3001}),
        ({"callback_id": "c" * 255}, {"callback_id": "c" * 256}),
        ({"blocks": [{"type": "divider"}] * 100}, {"blocks": [{"type": "divider"}] * 101}),
        ({}, {"submit": plain("s" * 25)}),
    ],
    ids=["title", "private metadata", "callback id", "blocks", "submit"],
)
def test_a_modal_is_accepted_at_its_limit_and_refused_one_over(at: Json, over: Json) -> None:
    assert check_view({**MODAL, **at}) == []
    assert check_view({**MODAL, **over}) != []


def test_a_modal_with_inputs_needs_a_submit_button() -> None:
    assert check_view({name: value for name, value in MODAL.items() if name != "submit"}) == [
        "missing required field: submit [json-pointer:/view]"
    ]
