"""Pure. What an evaluation may see of an account: nothing after the day it asks about, unless it asks for what came in since."""

from collections.abc import Callable, Hashable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from churnsignal_scoring.health import outages
from churnsignal_scoring.health.calendars import EVERY_DAY, Calendar
from churnsignal_scoring.health.days import from_date, to_date
from churnsignal_scoring.health.norms import Norms
from churnsignal_scoring.health.rows import Fact
from churnsignal_scoring.health.state import BLOCK_DAYS, RETENTION_DAYS, USERS, AccountState
from churnsignal_scoring.health.values import as_date

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
    seen), `silent_days` the complete days since the last use, or since `first` when there was none; `silent` says that the last four weeks
    saw no use at all. `lived` is the last day that says
    something of habits: that of the last use, so that they stay what they were while an account is silent.

    `asked` notes which counts were asked for, and whether users were: what is said stays while these are what they are on the newest day,
    and while nothing else changes.

    `outages` are cut out of all that is said of use (`days` are the counts of each day), as if the days before them had come later. Facts
    keep their dates.
    """

    __slots__ = (
        "active",
        "age",
        "as_of",
        "asked",
        "calendar",
        "days",
        "end",
        "first",
        "last",
        "live",
        "lived",
        "norms",
        "origin",
        "outages",
        "silent",
        "silent_days",
        "state",
    )

    def __init__(self, state: AccountState, as_of: int, norms: Norms | None, *, live: bool) -> None:
        self.state = state
        self.as_of = as_of
        self.live = live
        self.end = _FOREVER if live else as_of
        self.norms = norms
        self.origin = state.origin
        self.active = state.active if live else _bits_until(state.active, as_of - state.origin)
        self.days = state.days
        self.outages = outages.until(state.memory.outages, as_of) if state.memory.outages else ()
        if self.outages:
            self._cut_out()
        self.last = last = self._last_active()
        first = state.first_day
        self.first = first = self._place_of(first) if first is not None and first <= self.end else None
        self.age = 0 if first is None else as_of - first + 1 if first < as_of else 1
        since = first if last is None else last
        self.silent_days = as_of - since if since is not None and since < as_of else 0
        self.silent = self.silent_days >= WINDOW
        self.lived = as_of if last is None else last
        self.calendar: Calendar = EVERY_DAY
        self.asked: set[str] = set()

    def _last_active(self) -> int | None:
        if self.active:
            return self.origin + self.active.bit_length() - 1
        last = self.state.last_active
        return self._place_of(last) if last is not None and last <= self.end else None

    def _cut_out(self) -> None:
        gone = set(outages.within(self.outages, self.outages[0][0], self.as_of))
        self.days = {self._place_of(day): bucket for day, bucket in self.state.days.items() if day not in gone}
        self.active, self.origin = outages.lived(self.outages, self.active, self.origin)

    def _place_of(self, day: int) -> int:
        return outages.place_of(self.outages, day) if self.outages else day

    def day_at(self, place: int) -> int:
        """Return the day on the calendar."""
        return outages.day_at(self.outages, place) if self.outages else place

    def days_off(self, first: int, last: int) -> set[int]:
        """Return which days of the calendar from `first` to `last` cannot be held against the account: days off and outages."""
        return {*self.calendar.off(first, last), *outages.within(self.outages, first, last)}

    def working_days(self, first: int, last: int) -> int:
        """Return on how many of the days from `first` to `last` the account's people work."""
        first, last = self.day_at(first), self.day_at(last)
        return last - first + 1 - len(self.days_off(first, last))

    def forgets(self, days: int) -> bool:
        """Return whether the silence has lasted so long that counts of the last `days` days of use are not all known any more."""
        return self.silent_days > RETENTION_DAYS - days

    @property
    def tenure(self) -> int:
        """Return the days since the account began: as its profile says, else since it was first seen."""
        seen, created = self.state.first_day if self.first is not None else None, as_date(self.fact("created_on"))
        began = [day for day in (seen, None if created is None else from_date(created)) if day is not None]
        return max([self.age, *(self.as_of - day + 1 for day in began)])

    def active_days(self, days: int) -> int:
        """Return how many of the last `days` days saw use."""
        start = self.as_of - days + 1 - self.origin
        mask = self.active >> start if start > 0 else self.active
        return min(days, mask.bit_count())

    def base(self) -> tuple[int, int]:
        """Return first and last day of what the last four weeks are compared with: up to eight whole weeks before the last four *of use*.

        Silence lowers what is compared and leaves what it is compared with. Too young an account has an empty range.
        """
        end = self.lived - WINDOW
        weeks = max(0, min(BASE_WEEKS, (end - self.origin + 1) // 7)) if self.active else 0
        return end - weeks * 7 + 1, end

    def usual_active_days(self) -> int | None:
        """Return the account's usual number of active days in four weeks, in hundredths; None before it has two weeks of past."""
        start, end = self.base()
        weeks = (end - start + 1) // 7
        if weeks < 2:
            return None
        return _bits_until(self.active >> start - self.origin, end - start).bit_count() * 400 // weeks

    def remembered(self, name: str, work_out: Callable[[], T], *also: object) -> T:
        """Return what `work_out` says of the days before the last one of use; asked again only when one of them, or `also`, has changed."""
        key = (self.last, *also)
        found = self.state.memo.get(name)
        if found is None or found[0] != key:
            found = self.state.memo[name] = (key, work_out())
        answer: T = found[1]
        return answer

    def count(self, signal: str, first: int, last: int) -> int:
        """Return how often `signal` came from day `first` to day `last`, which is no later than the last use."""
        return self._count((signal, last - first), signal, first, last)

    def count_lately(self, signal: str, days: int) -> int:
        """Return how often `signal` came in the last `days` days."""
        return self._count((signal, days, "lately"), signal, self.as_of - days + 1, self.end)

    def count_in_use(self, signal: str, days: int) -> int:
        """Return how often `signal` came in the last `days` days of use and since: while an account is silent, that does not fade."""
        return self._count((signal, days, "in use"), signal, self.lived - days + 1, self.end)

    def _count(self, name: Hashable, signal: str, first: int, last: int) -> int:
        # What is remembered leaves out the day that grows with every call, and moves on with the days.
        top, days, memo = self.last, self.days, self.state.memo
        self.asked.add(signal)
        found = memo.get(name)
        if found is None or found[0] != top or not (0 <= first - found[1] <= 1 and 0 <= last - found[2] <= 1):
            if last - first < len(days):
                others = [bucket.get(signal, 0) for day in range(first, last + 1) if (bucket := days.get(day)) and day != top]
            else:
                others = [bucket.get(signal, 0) for day, bucket in days.items() if first <= day <= last and day != top]
            found = memo[name] = (top, first, last, sum(others))
        elif first != found[1] or last != found[2]:
            gone = days.get(found[1]) if first != found[1] != top else None
            come = days.get(last) if last != found[2] else None
            moved = found[3] - (gone.get(signal, 0) if gone else 0) + (come.get(signal, 0) if come else 0)
            found = memo[name] = (top, first, last, moved)
        count: int = found[3]
        today = days.get(top) if top is not None and first <= top <= last else None
        return count + today.get(signal, 0) if today else count

    def days_with(self, signal: str, days: dict[int, dict[str, int]]) -> list[int]:
        """Return on which of `days` (`days` or, with those of outages, the state's) `signal` came."""
        self.asked.add(signal)
        return [day for day, counts in days.items() if day <= self.end and signal in counts]

    def users(self, days: int) -> int:
        """Return the distinct users of the last `days` days."""
        if self.silent_days >= days:
            return 0
        self.asked.add(USERS)
        first, name, key = self.as_of - days + 1, (USERS, days), (self.last, self.state.noted)
        found = self.state.memo.get(name)
        if found is None or found[0] != key or (found[1][0] != first and self._used(found[1][0], first)):
            found = self.state.memo[name] = (key, (first, len(self.users_between(first, self.end))))
        users: int = found[1][1]
        return users

    def _used(self, before: int, first: int) -> bool:
        """Return whether somebody may have left a window that began with the day `before` and begins with `first` by now: not without use."""
        low, high = max(0, before - self.origin), max(0, first - self.origin)
        return first < before or bool(self.active & (1 << high) - (1 << low))

    def users_between(self, first: int, last: int, signal: str | None = None) -> set[str]:
        """Return the distinct users from day `first` to day `last`: of the product, or of a signal whose users are kept."""
        found: set[str] = set()
        for users, window in self._blocks(first, last, signal):
            found.update(users if window is None else [user for user, mask in users.items() if mask & window])
        return found

    def days_of_users(self, first: int, last: int) -> dict[str, int]:
        """Return on how many days each user was active from day `first` to day `last`."""
        found: dict[str, int] = {}
        for users, window in self._blocks(first, last, None):
            for user, mask in users.items():
                days = (mask if window is None else mask & window).bit_count()
                if days:
                    found[user] = found.get(user, 0) + days
        return found

    def last_day_of(self, user: str) -> int | None:
        """Return the last day the user was active on, as far back as users are known."""
        self.asked.add(USERS)
        seen = [(block * BLOCK_DAYS, users[user]) for block, users in self.state.blocks.items() if user in users]
        days = [self._place_of(base + mask.bit_length() - 1) for base, whole in seen if (mask := _bits_until(whole, self.end - base))]
        return max(days, default=None)

    def _blocks(self, first: int, last: int, signal: str | None) -> Iterator[tuple[dict[str, int], int | None]]:
        """Yield the users' masks of each block that the days touch, and the bits to look at (None: all of them)."""
        self.asked.add(USERS)
        first, last = self.day_at(first), self.day_at(last)
        blocks = self.state.blocks if signal is None else self.state.teams.get(signal, {})
        for block, users in blocks.items():
            base = block * BLOCK_DAYS
            if base > last or base + BLOCK_DAYS <= first:
                continue
            if not self.outages and base >= first and base + BLOCK_DAYS - 1 <= last:
                yield users, None
                continue
            window = (1 << min(BLOCK_DAYS, last - base + 1)) - (1 << max(0, first - base))
            for day in outages.within(self.outages, base, base + BLOCK_DAYS - 1):
                window &= ~(1 << day - base)
            yield users, window

    def has_users(self) -> bool:
        """Return whether calls name their users at all."""
        self.asked.add(USERS)
        return bool(self.state.blocks)

    def fact(self, name: str) -> Any:
        """Return the fact's value as of the end of the view; None when unknown or cleared."""
        for version in self.state.facts.get(name, ()):
            if version.day <= self.end:
                return version.value
        return None

    def version(self, name: str) -> Fact | None:
        """Return the version of a fact that was in force."""
        for version in self.state.facts.get(name, ()):
            if version.day <= self.end:
                return version
        return None

    def last_call(self) -> tuple[datetime, str] | None:
        """Return time and id of the latest use, when it is still known."""
        seen = [day for day in self.state.lasts if day <= self.end]
        return self.state.lasts[max(seen)] if seen else None

    def last_seen(self) -> Any:
        """Return the date of the last use."""
        return None if self.last is None else to_date(self.day_at(self.last))


def _bits_until(mask: int, offset: int) -> int:
    if offset < 0:
        return 0
    return mask if mask.bit_length() <= offset + 1 else mask & (2 << offset) - 1
