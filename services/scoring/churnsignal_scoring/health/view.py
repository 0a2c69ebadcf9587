"""Pure. What an evaluation may see of an account: nothing after the day it asks about, unless it asks for what came in since."""

from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Any, TypeVar

from churnsignal_common.mapping.usage import USE

from churnsignal_scoring.health.days import to_date
from churnsignal_scoring.health.norms import Norms
from churnsignal_scoring.health.rows import Fact
from churnsignal_scoring.health.state import BLOCK_DAYS, AccountState

WINDOW = 28
"""The window of most measures: four whole weeks, so that weekends weigh the same at every evaluation."""
BASE_WEEKS = 8
_FOREVER = 1 << 40
T = TypeVar("T")


class View:
    """The account as of the end of `as_of`.

    At a close only days up to `as_of` are seen. Between closes (`live`) later days are added to each window and no complete day of
    silence is: until the next close nothing gets worse by the clock.

    `first` is the first day the account was seen, `last` the last day of use; `age` counts the days since `first`, both included (0: never
    seen), `silent_days` the complete days since the last use, or since `first` when there was none.
    """

    __slots__ = ("_users", "active", "age", "as_of", "end", "first", "last", "norms", "origin", "silent_days", "state")

    def __init__(self, state: AccountState, as_of: int, norms: Norms | None, *, live: bool) -> None:
        self.state = state
        self.as_of = as_of
        self.end = _FOREVER if live else as_of
        self.norms = norms
        self.origin = state.origin
        self.active = state.active if live else _bits_until(state.active, as_of - state.origin)
        self.last = self._last_active()
        first = state.first_day
        self.first = first if first is not None and first <= self.end else None
        self.age = 0 if self.first is None else max(1, as_of - self.first + 1)
        since = self.first if self.last is None else self.last
        self.silent_days = 0 if since is None else max(0, as_of - since)
        self._users: dict[int, int] = {}

    def _last_active(self) -> int | None:
        if self.active:
            return self.origin + self.active.bit_length() - 1
        last = self.state.last_active
        return last if last is not None and last <= self.end else None

    @property
    def silent(self) -> bool:
        """Return whether the last four weeks saw no use at all."""
        return self.silent_days >= 28

    def active_days(self, days: int) -> int:
        """Return how many of the last `days` days saw use."""
        start = self.as_of - days + 1 - self.origin
        mask = self.active >> start if start > 0 else self.active
        return min(days, mask.bit_count())

    def base(self) -> tuple[int, int]:
        """Return first and last day of what the last four weeks are compared with: up to eight whole weeks before the last four *of use*.

        Silence lowers what is compared and leaves what it is compared with. Too young an account has an empty range.
        """
        end = (self.as_of if self.last is None else self.last) - WINDOW
        weeks = max(0, min(BASE_WEEKS, (end - self.origin + 1) // 7)) if self.active else 0
        return end - weeks * 7 + 1, end

    def usual_active_days(self) -> int | None:
        """Return the account's usual number of active days in four weeks, in hundredths; None before it has two weeks of past."""
        start, end = self.base()
        weeks = (end - start + 1) // 7
        if weeks < 2:
            return None
        return _bits_until(self.active >> start - self.origin, end - start).bit_count() * 400 // weeks

    def remembered(self, name: Hashable, work_out: Callable[[], T], *also: int) -> T:
        """Return what `work_out` says of the days before the last one of use; asked again only when one of them, or `also`, has changed."""
        key = (self.last, self.state.past, *also)
        found = self.state.memo.get(name)
        if found is None or found[0] != key:
            found = self.state.memo[name] = (key, work_out())
        answer: T = found[1]
        return answer

    def uses(self, first: int, last: int) -> int:
        """Return the calls that count as use from day `first` to day `last`."""
        return self.count(USE, first, last)

    def count(self, signal: str, first: int, last: int) -> int:
        """Return how often `signal` came from day `first` to day `last`."""
        last, top = min(last, self.end), self.last
        if top is None or not first <= top <= last:
            return self.remembered((signal, last - first), lambda: self._sum(signal, first, last, None), first)
        # The day that grows with every call apart from those that stand still.
        before = self.remembered((signal, last - first), lambda: self._sum(signal, first, last, top), first)
        bucket = self.state.days.get(top)
        return before if bucket is None else before + bucket.get(signal, 0)

    def _sum(self, signal: str, first: int, last: int, but: int | None) -> int:
        days = self.state.days
        if last - first < len(days):
            return sum([days[day].get(signal, 0) for day in range(first, last + 1) if day in days and day != but])
        return sum([bucket.get(signal, 0) for day, bucket in days.items() if first <= day <= last and day != but])

    def users(self, days: int) -> int:
        """Return the distinct users of the last `days` days."""
        known = self._users.get(days)
        if known is None:
            known = self._users[days] = len(self._users_since(self.as_of - days + 1))
        return known

    def _users_since(self, start: int) -> set[str]:
        found: set[str] = set()
        for block, users in self.state.blocks.items():
            base = block * BLOCK_DAYS
            if base > self.end or base + BLOCK_DAYS <= start:
                continue
            if base >= start and base + BLOCK_DAYS - 1 <= self.end:
                found.update(users)
                continue
            top = 1 << min(BLOCK_DAYS, self.end - base + 1)
            window = top - (1 << max(0, start - base))
            found.update([user for user, mask in users.items() if mask & window])
        return found

    def has_users(self) -> bool:
        """Return whether calls name their users at all."""
        return bool(self.state.blocks)

    def fact(self, name: str) -> Any:
        """Return the fact's value as of the end of the view; None when unknown or cleared."""
        found = self.version(name)
        return None if found is None else found.value

    def version(self, name: str) -> Fact | None:
        """Return the version of a fact that was in force."""
        versions = self.state.facts.get(name)
        return None if versions is None else next((version for version in versions if version.day <= self.end), None)

    def last_call(self) -> tuple[datetime, str] | None:
        """Return time and id of the latest use, when it is still known."""
        seen = [day for day in self.state.lasts if day <= self.end]
        return self.state.lasts[max(seen)] if seen else None

    def last_seen(self) -> Any:
        """Return the date of the last use."""
        return None if self.last is None else to_date(self.last)


def _bits_until(mask: int, offset: int) -> int:
    if offset < 0:
        return 0
    return mask if mask.bit_length() <= offset + 1 else mask & (2 << offset) - 1
