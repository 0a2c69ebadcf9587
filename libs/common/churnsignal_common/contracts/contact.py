"""Pure. The record on contacts.v1: a call told that somebody was in touch with an account."""

from datetime import datetime
from enum import StrEnum

import msgspec


class Way(StrEnum):
    """How an account was contacted."""

    CALL = "call"
    EMAIL = "email"
    MEETING = "meeting"
    NOTE = "note"


class Contacted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Person `by` was in touch with the account at `at`, as the call `id` of `source` says. It may come more than once: (source, id) tells."""

    account: str
    source: str
    id: str
    at: datetime
    way: Way
    by: str
    note: str = ""


contact_decoder = msgspec.json.Decoder(Contacted)
