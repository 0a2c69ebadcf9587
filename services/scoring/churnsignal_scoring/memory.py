"""Pure. What a process holds of its partitions; all of it can be read again from Postgres, and is after any doubt."""

from dataclasses import dataclass, field

from churnsignal_common.contracts.partitions import Place

from churnsignal_scoring.dedup import Seenlog
from churnsignal_scoring.ledger import Ledger
from churnsignal_scoring.residents import Residents
from churnsignal_scoring.resolve import Links
from churnsignal_scoring.unresolved import Unresolved


@dataclass(slots=True)
class Memory:
    """Everything is as of the last commit, except inside a transaction."""

    seen: Seenlog
    residents: Residents
    links: Links
    resolver: Unresolved
    ledger: Ledger = field(default_factory=Ledger)
    positions: dict[Place, int] = field(default_factory=dict)

    def forget(self) -> None:
        self.seen.forget()
        self.residents.forget()
        self.resolver.forget()
        self.ledger.forget()
        self.positions.clear()
