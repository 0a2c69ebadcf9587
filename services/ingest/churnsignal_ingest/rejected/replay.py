"""Flow. Give refused records another chance: read a page, judge each by today's rules, publish what passes now."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from churnsignal_ingest.rejected.wanted import Page, Wanted
from churnsignal_ingest.validate.judge import Record, Scope
from churnsignal_ingest.validate.rejudge import Rules, rejudge

_TOGETHER = 100


class Pages(Protocol):
    """Where refused records lie."""

    async def page(self, wanted: Wanted, begin: tuple[int, int], limit: int) -> Page: ...


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a page: matched = published + the sum of refused."""

    matched: int
    published: int
    refused: dict[str, int]
    next: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Replay:
    """May be asked for the same records again: they have the ids and times they had, so that scoring knows the second ones as duplicates."""

    pages: Pages
    publish: Callable[[Iterable[Record]], Awaitable[None]]
    rules: Callable[[Scope | None], Rules]

    async def run(self, wanted: Wanted, begin: tuple[int, int], limit: int, scope: Scope | None, *, dry_run: bool) -> Replayed:
        """Return after the brokers' ack. `dry_run` publishes nothing and tells what would be."""
        page = await self.pages.page(wanted, begin, limit)
        rules = self.rules(scope)
        verdicts = [rejudge(found.rejected, rules) for found in page.items]
        passed = iter([verdict for verdict in verdicts if not isinstance(verdict, str)])
        refused = Counter(verdict for verdict in verdicts if isinstance(verdict, str))
        while not dry_run and (some := list(islice(passed, _TOGETHER))):
            await self.publish(some)
        return Replayed(len(verdicts), len(verdicts) - refused.total(), dict(refused), page.next)
