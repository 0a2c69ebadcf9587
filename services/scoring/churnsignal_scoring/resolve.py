"""Pure. Whose account a call belongs to when it does not say: the user's last known one, or park it until a link arrives."""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import msgspec
from churnsignal_common.contracts.envelope import AccountAbsorbed, Envelope, Format, UserAliased, UserLinked, encoder
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED

from churnsignal_scoring.links import USER, Known

LINKS_KEPT = 200_000


class Move(NamedTuple):
    """The call goes to `topic` under the key `to`: its account, or the newer id of its user."""

    topic: str
    to: str


class Park(NamedTuple):
    """Nobody knows the user yet."""

    subject: str


@dataclass(slots=True)
class Links:
    """What is known of users by their ids, as committed. The least recently used leave first."""

    known: OrderedDict[str, Known] = field(default_factory=OrderedDict)

    def missing(self, subjects: set[str]) -> list[str]:
        return sorted(subjects - self.known.keys())

    def learn(self, links: dict[str, Known]) -> None:
        self.known.update(links)

    def trim(self) -> None:
        while len(self.known) > LINKS_KEPT:
            self.known.popitem(last=False)


def route(envelope: Envelope, subject: str, known: Known) -> Move | Park:
    """Decide where a call without an account goes, given what is known of its user as of now."""
    if known.alias is not None:
        return Move(USAGE_UNRESOLVED, known.alias.into)
    account = known.account
    return Park(subject) if account is None else Move(lane_topic(envelope), account)


def closes_a_circle(envelope: Envelope, known: Known) -> bool:
    """Return whether the newer id has sent the record here: two ids were each said to be the older one. It stays with the last of them."""
    return known.alias is not None and USER + known.alias.into in envelope.via


def lane_topic(envelope: Envelope) -> str:
    """Return where the call goes once its account is known."""
    return USAGE_HISTORY if envelope.history else USAGE_EVENTS


def moved(envelope: Envelope, value: bytes, subject: str, account: str) -> bytes:
    """Return the record `value`, which decodes to `envelope`, with the account of its `subject`; every other byte stays as it was."""
    step = USER + subject
    if b'"account"' in value or b'"via"' in value:
        # It says `null`, or came a long way, or the call speaks of accounts itself: rare, so the slow way.
        return encoder.encode(msgspec.structs.replace(envelope, account=account, via=(*envelope.via, step)))
    return b'{"account":' + encoder.encode(account) + b',"via":[' + encoder.encode(step) + b"]," + value.lstrip()[1:]


def renamed(envelope: Envelope, subject: str, into: str) -> bytes:
    """Return the record of `subject` as one of the user `into`."""
    return encoder.encode(msgspec.structs.replace(envelope, user=into, via=(*envelope.via, USER + subject)))


def absorbed(cause: Envelope, part: AccountAbsorbed, number: int) -> Envelope:
    """Return a part of the account that the merge `cause` hands over, in the shape of a call of that account. A repeat has the same id."""
    return msgspec.structs.replace(cause, id=f"{cause.id}:{number}", call=msgspec.Raw(encoder.encode(part)))


def told(cause: Envelope, command: UserLinked | UserAliased, occurred_at: datetime | None = None, via: tuple[str, ...] = ()) -> Envelope:
    """Return the command that follows from `cause`, as it goes to the owner of its subject. A repeat has the same id."""
    about = command.account if isinstance(command, UserLinked) else command.into
    return Envelope(
        id=f"{cause.id}:{command.__struct_config__.tag}:{command.subject}:{about}",
        source=cause.source,
        user=command.subject,
        occurred_at=occurred_at or cause.occurred_at,
        received_at=cause.received_at,
        stamped_at=cause.stamped_at,
        format=Format.COMMAND,
        history=cause.history,
        via=via,
        call=msgspec.Raw(encoder.encode(command)),
    )
