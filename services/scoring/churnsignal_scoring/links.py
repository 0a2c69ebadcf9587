"""Pure. What is known of a user: the accounts they belong to or have left, and the newer id they go by; and which calls say so."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from churnsignal_common.contracts.envelope import Envelope, Format, UserAliased, UserLinked, id_text

TIES_KEPT = 16
"""Accounts remembered of one user, the newest first: nobody works in more at a time, and a script that joins all must not fill a row."""
USER, ACCOUNT = "user:", "account:"


class Tie(NamedTuple):
    """That a user belongs to an account or has left it; of two about one account the later by (time, id) is true."""

    account: str
    occurred_us: int
    event_id: str
    left: bool = False

    @property
    def stamp(self) -> tuple[int, str, str]:
        return (self.occurred_us, self.event_id, self.account)


class Alias(NamedTuple):
    """The newer id of a user; the later one by (time, id) is true."""

    into: str
    occurred_us: int
    event_id: str

    @property
    def stamp(self) -> tuple[int, str]:
        return (self.occurred_us, self.event_id)


class Known(NamedTuple):
    """All that is known of one user or anonymous id. `ties` are the newest per account, newest first."""

    ties: tuple[Tie, ...] = ()
    alias: Alias | None = None

    @property
    def account(self) -> str | None:
        """Return the last known account: the one joined last of those not left."""
        return next((tie.account for tie in self.ties if not tie.left), None)


NOBODY = Known()


def tied(known: Known, tie: Tie) -> Known:
    """Return what is known after `tie`; the same when it is no news. Any order of ties ends alike."""
    same = next((old for old in known.ties if old.account == tie.account), None)
    if same is not None and same.stamp >= tie.stamp:
        return known
    ties = [tie, *(old for old in known.ties if old is not same)]
    kept = tuple(sorted(ties, key=lambda one: one.stamp, reverse=True)[:TIES_KEPT])
    return known if kept == known.ties else known._replace(ties=kept)


def aliased(known: Known, alias: Alias) -> Known:
    """Return what is known after `alias`; the same when a later one is known."""
    return known if known.alias is not None and known.alias.stamp >= alias.stamp else known._replace(alias=alias)


class _Head(msgspec.Struct, rename="camel"):
    type: str = ""
    previous_id: Any = None
    traits: msgspec.Raw = msgspec.Raw(b"null")


_head = msgspec.json.Decoder(_Head)


def ties(envelope: Envelope) -> Iterator[UserLinked | UserAliased]:
    """Yield what a call of an account says about users: who belongs to it, who left it, and which older id was theirs.

    A call of a public key is no evidence, neither of whose user somebody is nor of whose device it was.
    """
    if envelope.format is not Format.SEGMENT or envelope.account is None or envelope.public:
        return
    head = _head.decode(envelope.call)
    if head.type not in ("group", "identify", "alias"):
        return
    left = head.type == "group" and _says_left(head.traits)
    # Whoever leaves an account that was merged into another may have joined it under either name.
    accounts = [envelope.account, *(step.removeprefix(ACCOUNT) for step in envelope.via if left and step.startswith(ACCOUNT))]
    for subject in _subjects(envelope):
        for account in accounts:
            yield UserLinked(subject=subject, account=account, left=left)
    if not _is_resolved(envelope):
        yield from aliases(envelope)


def aliases(envelope: Envelope) -> Iterator[UserAliased]:
    """Yield what an alias call says of the older id."""
    if envelope.format is not Format.SEGMENT or b'"previousId"' not in bytes(envelope.call) or envelope.user is None:
        return
    head = _head.decode(envelope.call)
    if head.type != "alias" or isinstance(head.previous_id, bool) or not isinstance(head.previous_id, (str, int, float)):
        return
    try:
        older = id_text(head.previous_id)
    except ValueError:
        return
    if older is not None and older != envelope.user:
        yield UserAliased(subject=older, into=envelope.user)


def _subjects(envelope: Envelope) -> Iterator[str]:
    # A call that got its account from its user's link is no evidence for that link: it would undo a leave that came meanwhile.
    if envelope.user and not _is_resolved(envelope):
        yield envelope.user
    if envelope.anonymous and envelope.anonymous != envelope.user:
        yield envelope.anonymous


def _is_resolved(envelope: Envelope) -> bool:
    return any(step.startswith(USER) for step in envelope.via)


def _says_left(traits: msgspec.Raw) -> bool:
    if b'"left"' not in bytes(traits):
        return False
    said = msgspec.json.decode(traits)
    return isinstance(said, dict) and said.get("left") is True
