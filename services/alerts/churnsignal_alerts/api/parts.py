"""Flow. What the routes are built on."""

from dataclasses import dataclass
from typing import Annotated

from churnsignal_common.clock import Clock
from churnsignal_common.runtime.health import Readiness
from churnsignal_common.runtime.paging import BadCursor, decode_cursor
from churnsignal_common.runtime.tokens import Tokens
from fastapi import HTTPException, Query

from churnsignal_alerts.commands import Desk
from churnsignal_alerts.links import Links
from churnsignal_alerts.people import People
from churnsignal_alerts.read import Reader
from churnsignal_alerts.send.slack import SlackSender
from churnsignal_alerts.settings import AlertsSettings

Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=500)]


@dataclass(frozen=True, slots=True)
class Parts:
    """The doors and flows behind the API."""

    settings: AlertsSettings
    readiness: Readiness
    desk: Desk
    reader: Reader
    people: People
    links: Links
    clock: Clock
    tokens: Tokens
    slack: SlackSender | None = None


def after(cursor: str | None, length: int) -> list[str] | None:
    """Return the sort key in a cursor, or answer 400."""
    if cursor is None:
        return None
    try:
        return decode_cursor(cursor, length)
    except BadCursor as error:
        raise HTTPException(400, str(error)) from error
