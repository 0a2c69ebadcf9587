"""Flow. House-keeping that belongs to a day's close: partitions of the score history, old ids, calls parked for too long."""

from dataclasses import dataclass
from datetime import date

from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.topics import USAGE_UNRESOLVED

from churnsignal_scoring.apply import reject
from churnsignal_scoring.decode import Poison
from churnsignal_scoring.effects import Effects
from churnsignal_scoring.health.days import from_date, to_date
from churnsignal_scoring.load import Load
from churnsignal_scoring.memory import Memory
from churnsignal_scoring.months import first_kept, make_months
from churnsignal_scoring.outcomes import Outcome
from churnsignal_scoring.store import Store
from churnsignal_scoring.unresolved import TOO_LONG, TOO_LONG_WHY, unparked

EXPIRED_AT_ONCE = 1000
HOURS_KEPT_DAYS = 3


@dataclass(frozen=True, slots=True)
class Keep:
    """How long things are kept."""

    score_months: int
    parked_days: int


class Tidy:
    """What a close throws away, in its transaction."""

    def __init__(self, keep: Keep, partitions: int, store: Store, load: Load, memory: Memory) -> None:
        self._keep = keep
        self._partitions = partitions
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

    def changes_from(self, day: int) -> int | None:
        """Return from which day on all changes of band are kept; once a month, when accounts are rid of older ones."""
        return from_date(first_kept(day, self._keep.score_months)) if to_date(day).day == 1 else None

    def at_close(self, day: int, partitions: list[int], effects: Effects) -> None:
        """Let go of ids that no retry can repeat any more, and of hours that no close looks at again."""
        effects.dropped.extend(self._memory.seen.prune(partitions, day))
        effects.unheard = (partitions, (day - HOURS_KEPT_DAYS) * 24)

    async def reject_expired(self, day: int, partitions: list[int], effects: Effects) -> bool:
        """Reject some of the calls whose users never turned up; return whether there were any."""
        rows = await self._load.expired(partitions, day - self._keep.parked_days, EXPIRED_AT_ONCE)
        for row in rows:
            place = Place(USAGE_UNRESOLVED, row.partition)
            effects.tally.add(place, Outcome.PARKED, count=-1)
            effects.tally.add(place, Outcome.DEAD, TOO_LONG)
            reject(Poison(place, row.offset, TOO_LONG, row.envelope), effects, self._partitions, row.source, TOO_LONG_WHY)
        effects.unparked.extend(unparked(rows))
        return bool(rows)
