"""Pure. The record on the usage topics: what ingest decided about a call, around the call's original bytes."""

import itertools
import re
import unicodedata
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec


class Format(StrEnum):
    """How to read `Envelope.call`."""

    SEGMENT = "segment"
    CLOUDEVENTS = "cloudevents"
    COMMAND = "command"


NULL = msgspec.Raw(b"null")


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One call. Times are UTC; scoring never decides these again.

    `id` identifies the call within `source`. `account` is null only on usage.unresolved.v1. `user` is the known user,
    `anonymous` the device's id. `occurred_at` is corrected for clock skew and clamped; `stamped_at` is the call's own
    timestamp as sent (a retry repeats it, so duplicates are looked for on its day), null when the call had none.
    `history` marks imported calls: the resolver sends them on to usage.history.v1, never to the live topic. `public` marks calls of a
    browser's key, which anybody can read: they count as use, but tell no facts of an account and link nobody to one.
    `batch_context` is the `context` that the SDK put on the batch beside items without one. `via` names, oldest first, the users
    (`user:...`) and accounts (`account:...`) under which the call lay before scoring sent it on.
    """

    v: int = 1
    id: str
    source: str
    account: str | None = None
    user: str | None = None
    anonymous: str | None = None
    occurred_at: datetime
    received_at: datetime
    stamped_at: datetime | None = None
    sent_at: datetime | None = None
    format: Format = Format.SEGMENT
    history: bool = False
    public: bool = False
    via: tuple[str, ...] = ()
    # Not `Raw | None`: msgspec reads only null for that. A factory, because a schema cannot show a Raw as default; and one
    # without Python code, because it is called for almost every record that is read.
    batch_context: msgspec.Raw = msgspec.field(default_factory=itertools.repeat(NULL).__next__)
    call: msgspec.Raw


class UserLinked(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="user.linked"):
    """Command on usage.unresolved.v1: `subject` (a user or anonymous id) belongs to `account` since the envelope's occurred_at, or has `left` it."""

    subject: str
    account: str
    left: bool = False


class UserAliased(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="user.aliased"):
    """Command on usage.unresolved.v1: `subject` is an older id of the user `into`."""

    subject: str
    into: str


OVERRIDE_LASTS = timedelta(days=3652)
"""The longest time that an override may be set for: ten years."""


class OverrideSet(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="override.set"):
    """Command: a person puts the account into `band` until `expires_at`, with a reason."""

    band: str
    reason: str
    author: str
    expires_at: datetime


class OverrideCleared(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="override.cleared"):
    """Command: the override ends now."""

    author: str


class OutcomeRecorded(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="outcome.recorded"):
    """Command: what became of the account: `churned`, `renewed`, `downgraded`, `expanded`."""

    outcome: str
    author: str
    note: str = ""


class ProfileEdited(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="profile.edited"):
    """Command: facts of the account set by API or import; null clears, absent keeps."""

    traits: dict[str, Any]
    author: str


class AccountMerged(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="account.merged"):
    """Command: the account is from now on a part of account `into`."""

    into: str
    author: str


class AccountAbsorbed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="account.absorbed"):
    """Command from the owner of account `absorbed`, merged into the envelope's: what was counted of it, or a part of that.

    Numbers add up, masks unite, of facts the latest holds; days are numbers in the deployment's day zone. `habit` is the mask of active days
    since `origin`, little endian. `days`: (day, counts). `users`: (user, block of 28 days, mask), spelled as scoring stores them. `facts`: (name, value, microseconds,
    event id, source, day). `lasts`: (day, microseconds, event id). `reported`: a family of signals and its last day.
    """

    absorbed: str
    first_day: int | None = None
    last_active: int | None = None
    last_event: datetime | None = None
    events: int = 0
    origin: int = 0
    habit: bytes = b""
    days: tuple[tuple[int, dict[str, int]], ...] = ()
    users: tuple[tuple[str, int, int], ...] = ()
    facts: tuple[tuple[str, Any, int, str, str, int], ...] = ()
    lasts: tuple[tuple[int, int, str], ...] = ()
    reported: dict[str, int] = {}


Command = UserLinked | UserAliased | OverrideSet | OverrideCleared | OutcomeRecorded | ProfileEdited | AccountMerged | AccountAbsorbed


class Around(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stood around a refused call, so that it can be judged again as it was: its key's scope, its path, its batch."""

    scope: str
    kind: str | None = None
    format: Format = Format.SEGMENT
    sent_at: datetime | None = None
    importing: bool = False
    historical: bool = False
    batch_context: msgspec.Raw = msgspec.field(default_factory=itertools.repeat(NULL).__next__)


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """The record on usage.rejected.v1: what was refused by `stage` and why, with the original bytes (base64) less the write key.

    `around` is ingest's; topic, partition and offset say where scoring met the record. `cut`: the bytes are only the beginning.
    """

    v: int = 1
    id: str
    source: str
    stage: str
    reason: str
    message: str
    rejected_at: datetime
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    around: Around | None = None
    cut: bool = False
    body: bytes


envelope_decoder = msgspec.json.Decoder(Envelope)
command_decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
rejected_decoder = msgspec.json.Decoder(Rejected)
encoder = msgspec.json.Encoder()


def id_text(value: str | float) -> str | None:
    """Return an id in the one spelling that all services compare: composed (NFC), without blanks around; whole numbers as text.

    None when nothing is left of it; raises ValueError for a number that is not whole.
    """
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value).strip() or None
    if not isinstance(value, int) and not value.is_integer():
        raise ValueError("an id that is a number must be whole")
    # 1001 and 1001.0 are one id, as they are for the SDKs that send strings.
    return str(int(value))


# An escape begins at an odd backslash; at an even one the text only looks like it.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def holds_nul(spelled: bytes) -> bool:
    """Say whether a string in this JSON holds the character U+0000, which Postgres does not store."""
    # Looking for one byte is ten times cheaper than for a word, and most calls have no backslash.
    return b"\\" in spelled and b"\\u0000" in spelled and _NUL.search(spelled) is not None


def subject(envelope: Envelope) -> str | None:
    """Return the key of usage.unresolved.v1: the user id, else the anonymous id."""
    return envelope.user or envelope.anonymous
