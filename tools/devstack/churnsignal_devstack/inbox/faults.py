"""Pure. Bad days on demand: which call fails, how, and how often."""

from collections.abc import Iterable
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec

MAX_RULES = 100
MAX_SECONDS = 600.0


class FaultKind(StrEnum):
    """What happens instead of, or beside, the normal answer."""

    STATUS = "status"  # an HTTP status (429, 5xx), or an SMTP reply code (421, 451, 550)
    ERROR = "error"  # Slack: 200 with ok:false and `error`
    SLOW = "slow"  # accepted and answered, `seconds` late
    HANG = "hang"  # silence for `seconds`, then the connection is cut; nothing was accepted
    HANG_AFTER = "hang_after"  # accepted, then silence for `seconds`, then cut
    CUT = "cut"  # the connection is cut; nothing was accepted
    CUT_AFTER = "cut_after"  # accepted, then cut without an answer


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One rule.

    `on` is `slack.<method>` or `smtp.<connect|ehlo|starttls|auth|mail|rcpt|data>`, with `*` as a wildcard; a Slack method may stand
    alone. `match` narrows it to calls whose channel, user or recipient contains it. `count` is how often it strikes; none: until cleared.
    """

    on: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    kind: FaultKind
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503
    error: Annotated[str, msgspec.Meta(max_length=100)] = "internal_error"
    retry_after: Annotated[int, msgspec.Meta(ge=0)] | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)] = 60.0
    match: Annotated[str, msgspec.Meta(max_length=400)] = ""
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    struck: int = 0

    def fits(self, point: str, subject: str) -> bool:
        if self.count is not None and self.struck >= self.count:
            return False
        return self.match in subject and any(fnmatchcase(point, pattern) for pattern in (self.on, f"slack.{self.on}"))


class Faults:
    """The rules in force, in the order they came; the first that fits strikes."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []

    def add(self, rules: Iterable[Fault]) -> None:
        fresh = [*self.rules, *rules]
        if len(fresh) > MAX_RULES:
            raise ValueError(f"no more than {MAX_RULES} rules: DELETE /api/faults first")
        self.rules = fresh

    def clear(self) -> None:
        self.rules = []

    def planned(self, point: str) -> bool:
        """Say whether a rule waits at `point`, without using it up."""
        return any(rule.fits(point, rule.match) for rule in self.rules)

    def strike(self, point: str, subject: str = "") -> Fault | None:
        """Return the fault that this call meets, and count it."""
        for rule in self.rules:
            if rule.fits(point, subject):
                rule.struck += 1
                return rule
        return None
