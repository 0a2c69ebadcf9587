"""Flow. Give refused records another chance: read a page, judge each by today's rules, publish what passes now."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from churnsignal_ingest.rejected.wanted import Page, Wanted
from churnsignal_ingest.validate.judge import Record, Scope
from churnsignal_ingest.validate.rejudge import Rules, rejudge

_TOGETHER = 100
REPLAYED = "replayed"


class Pages(Protocol):
    """Where refused records lie."""

    async def page(self, wanted: Wanted, begin: tuple[int, int], limit: int) -> Page: ...


class Marked(Protocol):
    """Which refused calls, by source and id, were published again."""

    async def among(self, names: set[tuple[str, str]]) -> set[tuple[str, str]]: ...

    def marking(self, names: set[tuple[str, str]]) -> AbstractAsyncContextManager[set[tuple[str, str]]]: ...


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a page: matched = published + the sum of refused."""

    matched: int
    published: int
    refused: dict[str, int]
    next: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Replay:
    """May be asked for the same records again: each is published once, as a mark says for as long as it is kept.

    If we die between the brokers' ack and the mark, a second one has the id and times of the first, so that scoring knows it as a duplicate.
    """

    pages: Pages
    marks: Marked
    publish: Callable[[Iterable[Record]], Awaitable[None]]
    rules: Callable[[Scope | None], Rules]

    async def run(self, wanted: Wanted, begin: tuple[int, int], limit: int, scope: Scope | None, *, dry_run: bool) -> Replayed:
        """Return after the brokers' ack. `dry_run` publishes nothing and tells what would be."""
        page = await self.pages.page(wanted, begin, limit)
        rules = self.rules(scope)
        refused: Counter[str] = Counter()
        passed: dict[tuple[str, str], Record] = {}
        done = await self.marks.among({(found.rejected.source, found.rejected.id) for found in page.items})
        for found in page.items:
            name = (found.rejected.source, found.rejected.id)
            verdict = REPLAYED if name in done or name in passed else rejudge(found.rejected, rules)
            if isinstance(verdict, str):
                refused[verdict] += 1
            else:
                passed[name] = verdict
        published = len(passed) if dry_run else await self._publish(passed)
        refused[REPLAYED] += len(passed) - published
        return Replayed(len(page.items), published, dict(+refused), page.next)

    async def _publish(self, passed: dict[tuple[str, str], Record]) -> int:
        """Return how many were published; the others were by somebody else since we looked."""
        names, published = iter(passed), 0
        while some := set(islice(names, _TOGETHER)):
            async with self.marks.marking(some) as new:
                if new:
                    await self.publish([passed[name] for name in passed if name in new])
            published += len(new)
        return published
