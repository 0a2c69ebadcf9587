"""Pure. Accounts and users by one normalisation: JSON numbers become text, blanks around are cut, Unicode is composed (NFC)."""

from typing import Any

import msgspec
from churnsignal_common.contracts.envelope import id_text
from churnsignal_common.contracts.partitions import partition_of

from churnsignal_ingest.validate.reasons import Reason, Refusal

_encode = msgspec.json.Encoder().encode


def normal_id(value: Any, limit: int) -> str | None:
    """Return the id as text, None when it is absent or empty; refuse what is no id."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Refusal(Reason.BAD_ID)
    try:
        text = id_text(value)
    except ValueError:
        raise Refusal(Reason.BAD_ID) from None
    if text is None:
        return None
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise Refusal(Reason.ID_TOO_LONG)
    if "\x00" in text:
        raise Refusal(Reason.NUL)
    return text


def message_id_of(value: Any, limit: int) -> str | None:
    """Return the id of a call exactly as it was sent (a retry repeats it), numbers as text; None when absent or empty."""
    if type(value) is str:
        if len(value) * 4 > limit and len(value.encode()) > limit:
            raise Refusal(Reason.ID_TOO_LONG)
        return value or None
    return normal_id(value, limit)


class Subject:
    """One account or user in the shapes the hot path needs: members of an envelope, Kafka key, partition."""

    __slots__ = ("as_account", "as_anonymous", "as_user", "key", "partition")

    def __init__(self, text: str, partitions: int) -> None:
        spelled = _encode(text)
        self.as_account = b',"account":' + spelled
        self.as_user = b',"user":' + spelled
        self.as_anonymous = b',"anonymous":' + spelled
        self.key = text.encode()
        self.partition = partition_of(text, partitions)


class Subjects:
    """The subjects seen lately, so that an id is normalised and hashed once. Forgets all when full: memory stays flat.

    Only texts are remembered: 1, 1.0 and True would find each other.
    """

    def __init__(self, partitions: int, id_bytes: int, capacity: int = 50_000) -> None:
        self._partitions = partitions
        self._id_bytes = id_bytes
        self._capacity = capacity
        self.known: dict[Any, Subject] = {}

    def learn(self, value: Any) -> Subject | None:
        """Return the subject that `value` names; None when it names none. For what is not in `known`."""
        if value is None:
            return None
        text = normal_id(value, self._id_bytes)
        if text is None:
            return None
        subject = Subject(text, self._partitions)
        if isinstance(value, str):
            if len(self.known) >= self._capacity:
                self.known.clear()
            self.known[value] = subject
        return subject
