"""Pure. The windows that buttons in Slack open, and what was filled in: snooze, close, reassign, and a note or contact."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.sentences import say
from churnsignal_common.contracts.contact import Way

from churnsignal_alerts.act import Act, Command
from churnsignal_alerts.episodes import Outcome
from churnsignal_alerts.inert import clean

View = dict[str, Any]
MODALS = (Act.SNOOZE, Act.CLOSE, Act.REASSIGN, Act.NOTE)
# Days that a snooze lasts; `worse` waits for a worse score instead.
_SNOOZES = ("1", "3", "7", "14", "worse")
_LONGEST_NOTE = 500
_VALUES = {"static_select": "selected_option", "users_select": "selected_user", "datetimepicker": "selected_date_time"}


@dataclass(frozen=True, slots=True)
class Filled:
    """A submitted window: what was asked for, about which episode, and what each field holds (by its block)."""

    act: Act
    episode: str
    values: dict[str, str]

    @property
    def way(self) -> Way | None:
        """Return how the account was contacted, None for a mere note."""
        return None if self.values.get("way", Way.NOTE) == Way.NOTE else Way(self.values["way"])


def modal(act: Act, episode: str, account: str, locale: Locale) -> View:
    """Return the window for an act on an episode."""
    fields = {
        Act.SNOOZE: lambda: [_choice("for", _SNOOZES, "snooze", locale), _input("date", {"type": "datetimepicker"}, locale, optional=True)],
        Act.CLOSE: lambda: [_choice("outcome", tuple(Outcome), "outcome", locale), _note(locale)],
        Act.REASSIGN: lambda: [_input("to", {"type": "users_select"}, locale), _note(locale, optional=True)],
        Act.NOTE: lambda: [_choice("way", tuple(Way)[::-1], "way", locale), _note(locale)],
    }[act]()
    about = {"type": "section", "block_id": "about", "text": _plain(clean(account, 90) or "–")}
    return {
        "type": "modal", "callback_id": act.value, "private_metadata": episode, "title": _plain(say(locale, f"modal.{act}")),
        "submit": _plain(say(locale, "modal.submit")), "close": _plain(say(locale, "modal.cancel")), "blocks": [about, *fields],
    }  # fmt: skip


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _input(block: str, element: dict[str, Any], locale: Locale, *, optional: bool = False) -> dict[str, Any]:
    label = _plain(say(locale, f"modal.label.{block}"))
    return {"type": "input", "block_id": block, "label": label, "optional": optional, "element": {"action_id": block, **element}}


def _choice(block: str, values: tuple[str, ...], words: str, locale: Locale) -> dict[str, Any]:
    options = [{"text": _plain(say(locale, f"{words}.{value}")), "value": str(value)} for value in values]
    return _input(block, {"type": "static_select", "options": options, "initial_option": options[0]}, locale)


def _note(locale: Locale, *, optional: bool = False) -> dict[str, Any]:
    return _input("note", {"type": "plain_text_input", "multiline": True, "max_length": _LONGEST_NOTE}, locale, optional=optional)


def filled(payload: dict[str, Any]) -> Filled | None:
    """Return what a `view_submission` says; None for a window that is not ours or holds nonsense."""
    view = payload.get("view")
    if not isinstance(view, dict) or view.get("callback_id") not in MODALS:
        return None
    state = view.get("state")
    blocks = state.get("values") if isinstance(state, dict) else None
    if not isinstance(blocks, dict):
        return None
    values = {str(block): value for block, elements in blocks.items() if (value := _value(elements, block))}
    return Filled(Act(view["callback_id"]), str(view.get("private_metadata", "")), values)


def _value(elements: Any, block: Any) -> str:
    element = elements.get(block) if isinstance(elements, dict) else None
    if not isinstance(element, dict):
        return ""
    value = element.get(_VALUES.get(str(element.get("type")), "value"))
    if isinstance(value, dict):
        value = value.get("value")
    return "" if value is None else str(value).replace("\0", "")[:_LONGEST_NOTE]


def command_of(given: Filled, by: str, now: datetime) -> Command | None:
    """Return the command of a window, None when what it holds cannot be meant; whom it is reassigned to is put in by the caller."""
    note = given.values.get("note", "")
    try:
        match given.act:
            case Act.SNOOZE:
                return Command(Act.SNOOZE, by, until=_until(given.values, now), worse_only=given.values.get("for") == "worse")
            case Act.CLOSE:
                return Command(Act.CLOSE, by, outcome=Outcome(given.values.get("outcome", "")), note=note)
            case Act.REASSIGN | Act.NOTE:
                return Command(given.act, by, note=note)
            case _:
                return None
    except (ValueError, OverflowError, OSError):
        return None


def _until(values: dict[str, str], now: datetime) -> datetime | None:
    """Return when to tell again; None leaves it to the deployment's snooze, as for "until it is worse"."""
    if "date" in values:
        return datetime.fromtimestamp(int(values["date"]), UTC)
    days = values.get("for", "worse")
    # To the minute, so that the same choice twice is the same command.
    return None if days == "worse" else (now + timedelta(days=int(days))).replace(second=0, microsecond=0)
