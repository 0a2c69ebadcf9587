"""Pure. Whose calls are dropped: users and accounts that asked to be left out, and whether a call speaks of one of them."""

from dataclasses import dataclass
from typing import Any

import msgspec
from churnsignal_common.contracts.envelope import NULL
from msgspec import Raw

from churnsignal_ingest.validate.calls import BROKEN, Call
from churnsignal_ingest.validate.reasons import Refusal
from churnsignal_ingest.validate.subjects import Subject, normal_id


class _Names(msgspec.Struct):
    """Where a call that was refused may name whom it is about, CloudEvents' spellings included; whatever else it holds is passed over."""

    user_id: Raw = msgspec.field(default=NULL, name="userId")
    anonymous_id: Raw = msgspec.field(default=NULL, name="anonymousId")
    previous_id: Raw = msgspec.field(default=NULL, name="previousId")
    userid: Raw = NULL
    user: Raw = NULL
    subject: Raw = NULL
    group_id: Raw = msgspec.field(default=NULL, name="groupId")
    accountid: Raw = NULL
    account: Raw = NULL
    groupid: Raw = NULL
    context: Raw = NULL


_decode_names = msgspec.json.Decoder(_Names).decode
_decode_id = msgspec.json.Decoder(str | int | float | None).decode
_ANY_LENGTH = 1 << 30


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Ids as Kafka's keys spell them. `revision` names this state of the list."""

    users: frozenset[bytes] = frozenset()
    accounts: frozenset[bytes] = frozenset()
    revision: tuple[int, int] = (0, 0)

    def __bool__(self) -> bool:
        return bool(self.users or self.accounts)

    def covers(self, call: Call, account: Subject | None, *people: Subject | None) -> bool:
        """Tell whether a call that could be read is about somebody on the list."""
        if account is not None and account.key in self.accounts:
            return True
        if any(person is not None and person.key in self.users for person in people):
            return True
        return call.type == "alias" and _key(call.previous_id) in self.users

    def named_in(self, raw: bytes, batch_group_id: Any) -> bool:
        """Tell whether a refused call names somebody on the list, as far as it can be read at all. Cheap: floods of bad calls pass here."""
        try:
            named = _decode_names(raw)
        except BROKEN:
            return False
        people = (named.user_id, named.anonymous_id, named.previous_id, named.userid, named.user, named.subject)
        companies = (named.group_id, named.accountid, named.account, named.groupid, _group_in(named.context))
        return (
            any(person is not NULL and _spelled(person) in self.users for person in people)
            or any(company is not NULL and _spelled(company) in self.accounts for company in companies)
            or (batch_group_id is not None and _key(batch_group_id) in self.accounts)
        )


NOBODY = Suppressed()


def _group_in(context: Raw) -> Raw:
    try:
        return NULL if context is NULL else _decode_names(context).group_id
    except BROKEN:
        return NULL


def _spelled(value: Raw) -> bytes:
    """Return the id that this JSON holds as it stands on the list."""
    try:
        return _key(_decode_id(value))
    except BROKEN:
        return b""


def _key(value: Any) -> bytes:
    """Return the id as it stands on the list; what is no id stands nowhere."""
    try:
        return (normal_id(value, _ANY_LENGTH) or "").encode()
    except Refusal:
        return b""
