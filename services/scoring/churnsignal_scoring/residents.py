"""Pure. The accounts in memory: states of the owned partitions, the least recently used leave first."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from churnsignal_scoring.health.state import AccountState


@dataclass(slots=True)
class Resident:
    """A state as committed, or with the changes of the transaction at hand. `closed_day` is the last day closed for it."""

    state: AccountState
    partition: int
    closed_day: int


class Residents:
    """Accounts by name. A transaction that failed must `forget` what it touched: memory never runs ahead of Postgres."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._accounts: dict[str, Resident] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def missing(self, accounts: Iterable[str]) -> list[str]:
        """Return those that must be loaded."""
        return [account for account in accounts if account not in self._accounts]

    def get(self, account: str) -> Resident:
        return self._accounts[account]

    def find(self, account: str) -> Resident | None:
        return self._accounts.get(account)

    def put(self, resident: Resident) -> None:
        self._accounts[resident.state.account] = resident

    def touch(self, accounts: Iterable[str]) -> None:
        """Note use, and let the least recently used go when there are too many. Call it between transactions only."""
        mine = self._accounts
        for account in accounts:
            mine[account] = mine.pop(account)
        if len(mine) > self._capacity:
            for account in list(itertools.islice(mine, len(mine) - self._capacity)):
                del mine[account]

    def forget(self) -> None:
        self._accounts.clear()
