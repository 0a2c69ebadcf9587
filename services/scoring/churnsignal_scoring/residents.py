"""Pure. The accounts in memory: states of the owned partitions, the least recently used leave first."""

import operator
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import cramjam
import msgspec

from churnsignal_scoring.health.assessment import Assessment, Live
from churnsignal_scoring.health.memory import BandMemory
from churnsignal_scoring.health.rows import Fact
from churnsignal_scoring.health.state import AccountState

PACKED_SHARE = 12
"""One account of so many is kept as it is, the others packed."""


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

    def peek(self, account: str) -> Resident:
        """Return one that is here without counting that as use; whoever changes it must `keep` it."""
        found = self._accounts.get(account)
        return _unpack(self._packed[account]) if found is None else found

    def keep(self, residents: Iterable[Resident]) -> None:
        """Keep what became of those that were peeked at, each where it is in the order of use; those that are not here stay away."""
        for resident in residents:
            if resident.state.account in self._packed:
                self._packed[resident.state.account] = _pack(resident)

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


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    """What a clean resident consists of. `habit` is the state's mask of active days, `facts` are JSON, as whole numbers in them may be of any size."""

    partition: int
    closed_day: int
    habit: bytes
    facts: bytes
    account: str
    first_day: int | None
    last_active: int | None
    last_event: datetime | None
    events_total: int
    origin: int
    segment: str
    held: bool
    merged_into: str | None
    published: str
    days: dict[int, dict[str, int]]
    blocks: dict[int, dict[str, int]]
    teams: dict[str, dict[int, dict[str, int]]]
    lasts: dict[int, tuple[datetime, str]]
    reported: dict[str, int]
    memory: BandMemory
    noted: int
    live: tuple[int, dict[str, int], Assessment] | None = None


_OF_STATE = _Packed.__struct_fields__[4:-1]
_fields = operator.attrgetter(*_OF_STATE)
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_Packed).decode
_encode_facts, _decode_facts = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict[str, list[Fact]]).decode


def _pack(resident: Resident) -> bytes:
    state = resident.state
    habit = state.active.to_bytes((state.active.bit_length() + 7) // 8, "little")
    live = None if state.live is None else (state.live.of_day, state.live.asked, state.live.verdict)
    packed = _encode((resident.partition, resident.closed_day, habit, _encode_facts(state.facts), *_fields(state), live))
    return bytes(cramjam.lz4.compress_block(packed))


def _unpack(packed: bytes) -> Resident:
    found = _decode(cramjam.lz4.decompress_block(packed))
    state = AccountState(*(*_fields(found), int.from_bytes(found.habit, "little"), _decode_facts(found.facts)))
    if found.live is not None:
        state.live = Live(*found.live, None)
    return Resident(state, found.partition, found.closed_day)
