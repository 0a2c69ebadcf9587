"""Pure. What became of handing a message over, and the port that every channel implements."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Protocol

from churnsignal_alerts.render.mail import MailBody
from churnsignal_alerts.render.slack import SlackBody


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider has it. `ref` finds it again: channel and timestamp in Slack, Message-ID in mail."""

    ref: str


@dataclass(frozen=True, slots=True)
class Retry:
    """The provider surely does not have it; try again, not before `after_s` if it said so."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It will never be taken on this channel at this address. `bounced`: there is nobody at the address."""

    reason: str
    bounced: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The provider may or may not have it: look before sending again."""

    reason: str


Outcome = Sent | Retry | Refused | Unknown


@dataclass(frozen=True, slots=True)
class Found:
    """The message is there."""

    ref: str


class Absent:
    """The message is surely not there."""


class CannotSay:
    """This channel cannot be asked."""


# Retry: it could be asked, but not now.
Sighting = Found | Absent | CannotSay | Retry


# Nobody keeps an alert waiting for longer, whatever they answer.
LONGEST_WAIT_S = 3600.0


def asked_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in Retry-After, within reason; None when there is no number in it."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    try:
        seconds = float(value)
    except ValueError:
        return None
    return min(LONGEST_WAIT_S, max(0.0, seconds)) if isfinite(seconds) else None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to hand over. `key` is the same at every attempt; `thread` and `edit` are refs of earlier messages.

    `since` is when it was first tried, and `conversation` where messages to its address are, for whoever looks it up.
    """

    key: str
    address: str
    name: str
    episodes: tuple[str, ...]
    slack: SlackBody | None = None
    mail: MailBody | None = None
    thread: str | None = None
    edit: str | None = None
    possible_duplicate: bool = False
    webhook: bytes | None = None
    since: datetime | None = None
    conversation: str | None = None


# Called right before the provider may take the message: writes that down, or raises, and then nothing may be handed over.
Mark = Callable[[], Awaitable[None]]


class Sender(Protocol):
    """A channel. Neither method raises for anything that the provider or the network does.

    `at_once`: how many messages may be with the provider and not yet in our log; as many may come twice if we die.
    """

    at_once: int

    async def send(self, message: Outgoing, mark: Mark) -> Outcome: ...

    async def look_up(self, message: Outgoing) -> Sighting:  # noqa: ARG002 mail and webhooks cannot be asked for
        return CannotSay()
