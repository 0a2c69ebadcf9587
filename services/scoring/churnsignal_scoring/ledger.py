"""Pure. How far the day closes of the owned partitions have come, and the day records in force."""

from dataclasses import dataclass, field

from churnsignal_common.contracts.days import DayRecord
from churnsignal_common.contracts.risk import Cause

RECORDS_KEPT = 60
"""The eight weeks that a source is compared with, and a few days more."""


@dataclass(slots=True)
class Closing:
    """One partition. `recorded` is the last day whose position is fixed; `done` the last day closed for all its accounts (recorded >= done)."""

    done: int
    recorded: int
    cause: Cause = Cause.CLOSE
    resolved: int = -1


@dataclass(slots=True)
class Ledger:
    """The closes of the owned partitions."""

    partitions: dict[int, Closing] = field(default_factory=dict)
    records: dict[int, DayRecord] = field(default_factory=dict)

    def next_day(self) -> int | None:
        """Return the oldest day that some owned partition has still to close."""
        return min((closing.done for closing in self.partitions.values()), default=-1) + 1 if self.partitions else None

    def behind(self, day: int) -> list[int]:
        """Return the partitions whose next day to close is `day`."""
        return sorted(p for p, closing in self.partitions.items() if closing.done == day - 1)

    def learn(self, day: int, record: DayRecord) -> None:
        self.records[day] = record
        for old in [known for known in self.records if known <= day - RECORDS_KEPT]:
            del self.records[old]

    def forget(self) -> None:
        self.partitions.clear()
        self.records.clear()
