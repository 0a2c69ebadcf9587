"""Root. `churnsignal-scoring explain`: why an account is what it is, or was at a moment of the past."""

import json as json_module
from datetime import UTC, date, datetime
from typing import Any

from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.sentences import say
from churnsignal_common.runtime.cli import give_up

from churnsignal_scoring.config_cli import Desk, at_desk
from churnsignal_scoring.why import NothingKnown, Reader


def explain(account: str, *, at: str | None = None, locale: Locale = Locale.EN, json: bool = False) -> None:
    """Say why an account is in its band, what would make it better, and how it was on the days before.

    Example: churnsignal-scoring explain acme --at 2026-03-03 --locale ja

    Parameters
    ----------
    account
        The account's id.
    at
        A moment of the past, or a day: then as that day closed.
    locale
        The language of the sentences.
    json
        Print everything as JSON, in both languages.
    """

    async def work(desk: Desk) -> dict[str, Any]:
        reader = Reader(desk.queries, desk.load, desk.configs, await desk.engine())
        return await reader.explain(account, reader.moment(_moment(at)), desk.clock.now())

    try:
        found = at_desk(work)
    except (NothingKnown, ValueError) as error:
        give_up(error)
    print(json_module.dumps(found, indent=1) if json else "\n".join(_lines(found, locale)))


def _moment(at: str | None) -> date | datetime | None:
    if at is None:
        return None
    if len(at) == len("2026-03-03"):
        return date.fromisoformat(at)
    found = datetime.fromisoformat(at)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _lines(found: dict[str, Any], locale: Locale) -> list[str]:
    text = found["text"][locale.value]
    lines = [text["headline"]]
    for key, sentences in (("label.why", text["why"]), ("label.better", text["better"]), ("", text["notes"])):
        if sentences:
            lines += ["", *([say(locale, key)] if key else []), *(f"  {sentence}" for sentence in sentences)]
    days = [f"  {day['on']}  {day['band']:<6} {_score(day['score'])}  {day['why'][locale.value]}" for day in found["days"]]
    return [*lines, "", *days]


def _score(score: int | None) -> str:
    return "  -" if score is None else f"{score / 100:3.0f}"
