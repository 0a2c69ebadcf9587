"""Pure. Whose account a call belongs to when it does not say: the user's last known one, or park it until a link arrives."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from churnsignal_common.contracts.envelope import Envelope, Format, UserLinked, encoder, subject
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY

from churnsignal_scoring.effects import Link
from churnsignal_scoring.health.days import to_us

LINKS_KEPT = 200_000


class Move(NamedTuple):
    """The call goes to `topic` under `account`."""

    topic: str
    account: str


class Park(NamedTuple):
    """Nobody knows the user yet."""

    subject: str


class Linked(NamedTuple):
    """The link is the newest of its subject: remember it, and credit what was parked."""

    subject: str
    link: Link


class Stale(NamedTuple):
    """A link that a later one has overtaken."""

    subject: str


@dataclass(slots=True)
class Links:
    """Links by subject, as committed; `None` means that nobody has linked the subject. The least recently used leave first."""

    known: OrderedDict[str, Link | None] = field(default_factory=OrderedDict)

    def missing(self, subjects: set[str]) -> list[str]:
        return sorted(subjects - self.known.keys())

    def learn(self, links: dict[str, Link | None]) -> None:
        self.known.update(links)

    def trim(self) -> None:
        while len(self.known) > LINKS_KEPT:
            self.known.popitem(last=False)


def route(envelope: Envelope, known: Link | None) -> Move | Park:
    """Decide where a call without an account goes, given its user's link as of now."""
    if known is None or known.account is None:
        return Park(subject(envelope) or "")
    return Move(lane_topic(envelope), known.account)


def link(envelope: Envelope, command: UserLinked, known: Link | None) -> Linked | Stale:
    """Decide whether a link is news, whatever order links arrive in."""
    fresh = Link(command.account, to_us(envelope.occurred_at), envelope.id)
    newer = known is None or (fresh.occurred_us, fresh.event_id) > (known.occurred_us, known.event_id)
    return Linked(command.subject, fresh) if newer else Stale(command.subject)


def lane_topic(envelope: Envelope) -> str:
    """Return where the call goes once its account is known."""
    return USAGE_HISTORY if envelope.history else USAGE_EVENTS


def moved(envelope: Envelope, value: bytes, account: str) -> bytes:
    """Return the record `value`, which decodes to `envelope`, with its account filled in; every other byte stays as it was."""
    if b'"account"' in value:
        # It says `null`, or the call speaks of accounts itself: rare, so the slow way.
        return encoder.encode(msgspec.structs.replace(envelope, account=account))
    return b'{"account":' + encoder.encode(account) + b"," + value.lstrip()[1:]


def link_envelope(cause: Envelope, linked: str, account: str) -> Envelope:
    """Return the `user.linked` command that follows from `cause`, a call that names both. A repeat has the same id."""
    return Envelope(
        id=f"{cause.id}:link:{linked}",
        source=cause.source,
        user=linked,
        occurred_at=cause.occurred_at,
        received_at=cause.received_at,
        stamped_at=cause.stamped_at,
        format=Format.COMMAND,
        history=cause.history,
        call=msgspec.Raw(encoder.encode(UserLinked(subject=linked, account=account))),
    )
