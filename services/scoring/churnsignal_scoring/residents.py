"""Pure. The accounts in memory: states of the owned partitions, the least recently used leave first."""

import zlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from churnsignal_scoring.health.rows import DayRow, FactRow, StateRow, UserRow
from churnsignal_scoring.health.state import AccountState

PACKED_SHARE = 8
"""One account of so many is kept as it is, the others packed."""
_kept: msgspec.msgpack.Decoder[tuple[int, int, StateRow, list[tuple[int, bytes]], list[tuple[str, int, int]], list[tuple[str, bytes]]]]
_kept = msgspec.msgpack.Decoder(tuple[int, int, StateRow, list[tuple[int, bytes]], list[tuple[str, int, int]], list[tuple[str, bytes]]])


@dataclass(slots=True)
class Resident:
    """A state as committed, or with the changes of the transaction at hand. `closed_day` is the last day closed for it."""

    state: AccountState
    partition: int
    closed_day: int


class Residents:
    """Accounts by name: those used last as they are, quiet ones packed, the least recently used of all are let go.

    A packed account takes about a kilobyte and is as quick to bring back as it would be slow to load. A transaction that failed must
    `forget` what it touched: memory never runs ahead of Postgres.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._at_hand = max(100, capacity // PACKED_SHARE)
        self._accounts: OrderedDict[str, Resident] = OrderedDict()
        self._packed: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts) + len(self._packed)

    def missing(self, accounts: Iterable[str]) -> list[str]:
        """Return those that must be loaded."""
        return [account for account in accounts if account not in self._accounts and account not in self._packed]

    def get(self, account: str) -> Resident:
        found = self.find(account)
        if found is None:
            raise KeyError(account)
        return found

    def find(self, account: str) -> Resident | None:
        found = self._accounts.get(account)
        if found is None and (packed := self._packed.pop(account, None)) is not None:
            found = self._accounts[account] = _unpack(packed)
        return found

    def put(self, resident: Resident) -> None:
        self._accounts[resident.state.account] = resident

    def touch(self, accounts: Iterable[str]) -> None:
        """Note use, and let the least recently used go when there are too many. Call it between transactions only."""
        mine, packed = self._accounts, self._packed
        for account in accounts:
            mine.move_to_end(account)
        while len(mine) > self._at_hand:
            name, quiet = mine.popitem(last=False)
            packed[name] = _pack(quiet)
        while len(self) > self._capacity:
            packed.popitem(last=False)

    def forget(self) -> None:
        self._accounts.clear()
        self._packed.clear()


def _pack(resident: Resident) -> bytes:
    state = resident.state
    state.mark_all()
    rows = state.rows()
    state.clean()
    kept = (
        resident.partition,
        resident.closed_day,
        rows.account,
        [row[1:] for row in rows.days],
        [row[1:] for row in rows.users],
        [row[1:] for row in rows.facts],
    )
    return zlib.compress(msgspec.msgpack.encode(kept), 1)


def _unpack(packed: bytes) -> Resident:
    partition, closed_day, account, days, users, facts = _kept.decode(zlib.decompress(packed))
    name = account.account
    parts = ([DayRow(name, *row) for row in days], [UserRow(name, *row) for row in users], [FactRow(name, *row) for row in facts])
    return Resident(AccountState.from_rows(account, *parts), partition, closed_day)
