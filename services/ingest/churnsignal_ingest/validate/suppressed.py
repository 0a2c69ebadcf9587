"""Pure. Whose calls are dropped: users and accounts that asked to be left out, and whether a call speaks of one of them."""

from dataclasses import dataclass
from typing import Any

from churnsignal_ingest.validate.calls import Call
from churnsignal_ingest.validate.limits import decode_any
from churnsignal_ingest.validate.reasons import Refusal
from churnsignal_ingest.validate.subjects import Subject, normal_id

# Where a call that was refused may name whom it is about, CloudEvents' spellings included.
_USERS = ("userId", "anonymousId", "previousId", "userid", "user", "subject")
_ACCOUNTS = ("groupId", "accountid", "account", "groupid")
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
        """Tell whether a refused call names somebody on the list, as far as it can be read at all."""
        try:
            call = decode_any(raw)
        except Refusal:
            return False
        if not isinstance(call, dict):
            return False
        context = call.get("context")
        around = (batch_group_id, context.get("groupId") if isinstance(context, dict) else None)
        users = {_key(call.get(name)) for name in _USERS}
        accounts = {_key(value) for value in (*around, *(call.get(name) for name in _ACCOUNTS))}
        return not (self.users.isdisjoint(users) and self.accounts.isdisjoint(accounts))


NOBODY = Suppressed()


def _key(value: Any) -> bytes:
    """Return the id as it stands on the list; what is no id stands nowhere."""
    try:
        return (normal_id(value, _ANY_LENGTH) or "").encode()
    except Refusal:
        return b""
