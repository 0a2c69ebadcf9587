"""Pure. A card as Slack blocks, within every limit that Slack has at any input."""

from dataclasses import dataclass
from typing import Any

from churnsignal_common.catalog import formats
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.sentences import say

from churnsignal_alerts.act import Act
from churnsignal_alerts.episodes import Feedback
from churnsignal_alerts.inert import mrkdwn
from churnsignal_alerts.render.card import Card, Tone

Block = dict[str, Any]

_MARKS = {Tone.BAD: "🔴", Tone.WARN: "🟡", Tone.GOOD: "🟢", Tone.CALM: "⚪"}
_STYLES = {Act.ACKNOWLEDGE: "primary"}
# The accounts of a summary that have a button each; the rest are named.
_LINES = 20
# Slack's own limits, less a little: a header 150, a field 2,000, a section 3,000, the text of a context element 2,000, and about
# 13,200 characters in all (undocumented).
_HEADER, _FIELD, _SECTION = 149, 500, 2_900
_TOTAL, _NAMED = 12_000, 2_000
# The one button that only opens an address; Slack tells of the click all the same.
OPEN = "open"


@dataclass(frozen=True, slots=True)
class SlackBody:
    """What chat.postMessage gets. `text` is what notifications show."""

    text: str
    blocks: list[Block]


def slack_body(card: Card, locale: Locale, duplicate: str = "") -> SlackBody:
    """Return the message; `duplicate` is a note that it may have come before."""
    blocks: list[Block] = [{"type": "header", "text": _plain(f"{_MARKS[card.tone]} {card.headline}", _HEADER)}]
    if card.facts:
        fields = [{"type": "mrkdwn", "text": _cut(f"*{mrkdwn(label)}*\n{mrkdwn(value)}", _FIELD)} for label, value in card.facts]
        blocks.append({"type": "section", "fields": fields[:10]})
    if card.history:
        blocks.append(_section(card.history.title, (card.history.line,)))
    blocks += [_section(title, sentences) for title, sentences in card.sections if sentences]
    blocks += _lines(card, locale, _TOTAL - _NAMED - sum(map(_size, blocks)) - 1_000)
    notes = [note for note in (f"{say(locale, 'label.state')}: {card.state}" if card.state else "", *card.notes, duplicate) if note]
    if notes:
        blocks.append({"type": "context", "elements": [_plain(note, _FIELD) for note in notes[:10]]})
    buttons = [_button(act, card.episodes[0], locale) for act in card.acts if not card.lines]
    if buttons:
        buttons.append(_menu(card.episodes[0], locale))
    if card.url:
        buttons.append({"type": "button", "action_id": OPEN, "text": _plain(say(locale, "button.open"), 75), "url": card.url})
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    return SlackBody(_cut(mrkdwn(card.summary), _SECTION), _within(blocks))


def _section(title: str, sentences: tuple[str, ...]) -> Block:
    bullet = "• " if title and len(sentences) > 1 else ""
    text = "\n".join([*([f"*{mrkdwn(title)}*"] if title else []), *(bullet + mrkdwn(sentence) for sentence in sentences)])
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text, _SECTION)}}


def _lines(card: Card, locale: Locale, room: int) -> list[Block]:
    """Return the accounts of a summary, ranked: the first in full, as many as there is room for, and the names of the others."""
    blocks: list[Block] = []
    for place, line in enumerate(card.lines[:_LINES], 1):
        # Names stand in plain text: nothing in them is parsed.
        block: Block = {"type": "section", "text": _plain(f"{place}. {line.title}\n{line.facts}\n{line.reason}", _SECTION)}
        if line.open:
            block["accessory"] = _button(Act.ACKNOWLEDGE, line.episode, locale)
        room -= _size(block)
        if room < 0:
            break
        blocks.append(block)
    rest = [line.title for line in card.lines[len(blocks) :]]
    more = say(locale, "summary.more", count=str(len(rest)), names=formats.listed(locale, rest))
    return [*blocks, {"type": "section", "text": _plain(more, _NAMED)}] if rest else blocks


def _button(act: Act, episode: str, locale: Locale) -> Block:
    # Here, other than in mail, a window asks for the rest.
    key = {Act.SNOOZE: "button.later", Act.CLOSE: "button.close"}.get(act, f"button.{act}")
    button: Block = {"type": "button", "action_id": act.value, "text": _plain(say(locale, key), 75), "value": episode}
    return button | ({"style": _STYLES[act]} if act in _STYLES else {})


def _menu(episode: str, locale: Locale) -> Block:
    """Return what is done less often: two windows, and what the person thinks of the alert."""
    words = [(act, f"button.{act}", "") for act in (Act.REASSIGN, Act.NOTE)]
    words += [(Act.FEEDBACK, f"feedback.{verdict}", f":{verdict}") for verdict in Feedback]
    options = [{"text": _plain(say(locale, key), 75), "value": f"{act}:{episode}{detail}"} for act, key, detail in words]
    return {"type": "overflow", "action_id": "more", "options": options}


def _plain(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": _cut(text, limit) or " ", "emoji": False}


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    # Never in the middle of an entity such as &amp;.
    return text[: limit - 1].rsplit("&", 1)[0] + "…" if "&" in text[limit - 6 : limit] else text[: limit - 1] + "…"


def _within(blocks: list[Block]) -> list[Block]:
    """Return the blocks without the last lines that would make the message too large; the buttons stay."""
    kept = list(blocks)
    while len(kept) > 3 and sum(_size(block) for block in kept) > _TOTAL:
        del kept[-3]
    return kept


def _size(block: Any) -> int:
    if isinstance(block, dict):
        return sum(_size(value) for value in block.values())
    if isinstance(block, list):
        return sum(_size(value) for value in block)
    return len(block) if isinstance(block, str) else 0
