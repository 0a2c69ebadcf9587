"""Pure. What a call means for an account's state."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from churnsignal_common.contracts.contact import Way
from churnsignal_common.contracts.envelope import Command

USE = "use"
"""Every call that counts as use of the product adds one to this signal."""
SOURCE_PREFIX = "@"
"""`@web`: calls of source `web` on the day; the source guard asks which sources feed an account."""
FEATURE_PREFIX = "feature_used:"


class Touch(NamedTuple):
    """A contact with the account that a call tells of. `by` None: it does not say whose."""

    way: Way
    by: str | None
    note: str


@dataclass(frozen=True, slots=True)
class Usage:
    """`active` calls count as use; `signals` are what to count; `facts` are what to remember (None clears); `command` came from our own API.

    `by_user` are the signals whose distinct users are kept; `amounts` are signals that one call counts more or less than once.
    `contact` is what it adds to the account's contact log. `ignored` is the reason why the call changes nothing; everything else is empty then.
    """

    active: bool
    signals: tuple[str, ...]
    facts: tuple[tuple[str, Any], ...] = ()
    command: Command | None = None
    ignored: str | None = None
    by_user: tuple[str, ...] = ()
    amounts: tuple[tuple[str, int], ...] = ()
    contact: Touch | None = None
