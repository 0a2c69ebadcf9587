"""Pure. The accounts in memory: states of the owned partitions, the least recently used leave first."""

import operator
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import cramjam
import msgspec

from churnsignal_scoring.health.assessment import Live
from churnsignal_scoring.health.memory import BandMemory
from churnsignal_scoring.health.rows import Fact
from churnsignal_scoring.health.state import AccountState

WEIGHED_EVERY = 100
"""Calls after which an account at hand is weighed again: so many can add no more than a few kilobytes to it."""
STATE, DAY, USER, COUNT, FACT, CROWDED, PACKED = 2_000, 250, 130, 60, 450, 96, 200
"""Bytes that a state takes, each of its days, of its users in a block of days, of its counts in a day, of its facts' versions, and of the
users in order of a full block; and a packed one beside its own. Measured by tracemalloc."""


@dataclass(slots=True)
class Resident:
    """A state as committed, or with the changes of the transaction at hand. `closed_day` is the last day closed for it.

    `weight` is how many bytes it took when it had counted `weighed` calls.
    """

    state: AccountState
    partition: int
    closed_day: int
    weight: int = field(default=0, compare=False)
    weighed: int = field(default=0, compare=False)


class Residents:
    """Accounts by name: those used last as they are, quiet ones packed, each kind in half of the room; the least recently used are let go.

    What counts is bytes, not accounts: one may have thousands of users. A packed account takes about a tenth of the bytes and is as quick to
    bring back as it would be slow to load. Only the accounts of the transaction at hand may go beyond the room, and the one used last.
    A transaction that failed must `forget` what it touched: memory never runs ahead of Postgres.
    """

    def __init__(self, room: int) -> None:
        self._half = room // 2
        self._accounts: OrderedDict[str, Resident] = OrderedDict()
        self._packed: OrderedDict[str, bytes] = OrderedDict()
        self.forget()

    def __len__(self) -> int:
        return len(self._accounts) + len(self._packed)

    @property
    def size(self) -> int:
        """Return how many bytes they take, about."""
        return self._at_hand_size + self._packed_size

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
            self._packed_size -= PACKED + len(packed)
            found = _unpack(packed)
            self.put(found)
        return found

    def peek(self, account: str) -> Resident:
        """Return one that is here without counting that as use; whoever changes it must `keep` it."""
        found = self._accounts.get(account)
        return _unpack(self._packed[account]) if found is None else found

    def keep(self, residents: Iterable[Resident]) -> None:
        """Keep what became of those that were peeked at, each where it is in the order of use; those that are not here stay away."""
        for resident in residents:
            before = self._packed.get(resident.state.account)
            if before is not None:
                packed = self._packed[resident.state.account] = _pack(resident)
                self._packed_size += len(packed) - len(before)

    def put(self, resident: Resident) -> None:
        self._accounts[resident.state.account] = resident
        self._weigh(resident)

    def touch(self, accounts: Iterable[str]) -> None:
        """Note use, and let the least recently used go when they take too much. Call it between transactions only."""
        mine, packed = self._accounts, self._packed
        for account in accounts:
            mine.move_to_end(account)
            resident = mine[account]
            if resident.state.events_total - resident.weighed >= WEIGHED_EVERY:
                self._weigh(resident)
        while self._at_hand_size > self._half and len(mine) > 1:
            name, quiet = mine.popitem(last=False)
            packed[name] = _pack(quiet)
            self._at_hand_size -= quiet.weight
            self._packed_size += PACKED + len(packed[name])
        while self._packed_size > self._half:
            self._packed_size -= PACKED + len(packed.popitem(last=False)[1])

    def _weigh(self, resident: Resident) -> None:
        state = resident.state
        users = sum(len(users) for blocks in (state.blocks, *state.teams.values()) for users in blocks.values())
        weight = STATE + DAY * len(state.days) + USER * users + COUNT * sum(map(len, state.days.values()))
        weight += FACT * sum(map(len, state.facts.values())) + CROWDED * sum(map(len, state.crowds.values()))
        self._at_hand_size += weight - resident.weight
        resident.weight, resident.weighed = weight, state.events_total

    def forget(self) -> None:
        self._accounts.clear()
        self._packed.clear()
        self._at_hand_size = self._packed_size = 0


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
    live: Live | None = None


_OF_STATE = _Packed.__struct_fields__[4:-1]
_fields = operator.attrgetter(*_OF_STATE)
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(_Packed).decode
_encode_facts, _decode_facts = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict[str, list[Fact]]).decode


def _pack(resident: Resident) -> bytes:
    state = resident.state
    habit = state.active.to_bytes((state.active.bit_length() + 7) // 8, "little")
    packed = _encode((resident.partition, resident.closed_day, habit, _encode_facts(state.facts), *_fields(state), state.live))
    return bytes(cramjam.lz4.compress_block(packed))


def _unpack(packed: bytes) -> Resident:
    found = _decode(cramjam.lz4.decompress_block(packed))
    state = AccountState(*(*_fields(found), int.from_bytes(found.habit, "little"), _decode_facts(found.facts)))
    state.live = found.live
    return Resident(state, found.partition, found.closed_day)
