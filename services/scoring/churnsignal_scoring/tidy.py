"""Flow. House-keeping that belongs to a day's close: partitions of the score history, old ids, calls parked for too long."""

from dataclasses import dataclass
from datetime import date

from churnsignal_common.contracts.topics import USAGE_UNRESOLVED

from churnsignal_scoring.effects import Effects, Unparked
from churnsignal_scoring.health.days import to_date
from churnsignal_scoring.load import Load
from churnsignal_scoring.memory import Memory
from churnsignal_scoring.months import make_months
from churnsignal_scoring.outcomes import Outcome, Place
from churnsignal_scoring.store import Store


@dataclass(frozen=True, slots=True)
class Keep:
    """How long things are kept."""

    score_months: int
    parked_days: int


class Tidy:
    """What a close throws away, in its transaction."""

    def __init__(self, keep: Keep, store: Store, load: Load, memory: Memory) -> None:
        self._keep = keep
        self._store = store
        self._load = load
        self._memory = memory
        self._month: date | None = None

    async def before_close(self, day: int) -> None:
        """Have room for the day's scores; once a month."""
        month = to_date(day).replace(day=1)
        if month == self._month:
            return
        async with self._store.transaction() as pg:
            await make_months(pg, day, self._keep.score_months)
        self._month = month

    async def at_close(self, day: int, partitions: list[int], effects: Effects) -> None:
        """Let go of ids that no retry can repeat any more, and of calls whose users never turned up."""
        effects.dropped.extend(self._memory.seen.prune(partitions, day))
        for partition, source, ids in await self._load.expired(partitions, day - self._keep.parked_days):
            effects.unparked.append(Unparked(partition, source, ids))
            place = Place(USAGE_UNRESOLVED, partition)
            effects.tally.add(place, Outcome.PARKED, count=-len(ids))
            effects.tally.add(place, Outcome.IGNORED, "parked_too_long", len(ids))
