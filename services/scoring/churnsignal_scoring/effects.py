"""Pure. Everything that one transaction writes, and what is published after it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.risk import AccountProfile, RiskChanged, risk_event
from churnsignal_common.contracts.topics import ACCOUNTS, RISK_CHANGES

from churnsignal_scoring.health.assessment import Assessment, Ranks, Settled
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.links import Known
from churnsignal_scoring.outcomes import Tally

encoder = msgspec.json.Encoder()


class DedupRow(NamedTuple):
    """Ids first seen by this transaction, packed."""

    partition: int
    lane: int
    bucket: int
    ids: bytes
    bodies: bytes


class ParkedRow(NamedTuple):
    """A call whose user nobody knows yet; `offset` is where it lies on the topic."""

    partition: int
    offset: int
    subject: str
    source: str
    received_day: int
    envelope: bytes


class Unparked(NamedTuple):
    """Parked rows of one partition and source that leave with this transaction, and their size."""

    partition: int
    source: str
    ids: list[int]
    size: int


class OutboxRow(NamedTuple):
    """Records for one topic-partition; `id` is 0 until stored. `partition` is whose owner stored it."""

    id: int
    partition: int
    topic: str
    target: int
    records: list[tuple[bytes, bytes]]


class AccountRow(NamedTuple):
    """An account's state with what was last concluded from it. `profile` and `ranks` only when they changed."""

    state: AccountState
    partition: int
    assessment: Assessment
    profile: AccountProfile | None
    ranks: Ranks | None
    closed_day: int


class ScoreRow(NamedTuple):
    """What a close concluded; `sequence` is that of the last change of band by then."""

    account: str
    day: int
    band: str
    score: int | None
    coverage: int
    sequence: int
    reasons: bytes | None


class PassedOver(NamedTuple):
    """An account whose evaluation failed, at the close of `day` or live after it, and why."""

    account: str
    day: int
    error: Exception


class ShadowRow(NamedTuple):
    """What a close concluded under the scorecard in force and under the one beside it."""

    account: str
    version: str
    since: int
    day: int
    in_force_band: str
    in_force_score: int | None
    in_force_turned_red: int
    in_force_first_red: int | None
    band: str
    score: int | None
    turned_red: int
    first_red: int | None


class OutcomeRow(NamedTuple):
    """What people recorded of an account."""

    account: str
    event_id: str
    occurred_us: int
    outcome: str
    author: str
    note: str


class CloseRow(NamedTuple):
    """A step of one partition's close."""

    day: int
    partition: int
    stage: str
    cause: str | None = None
    positions: dict[str, int] | None = None
    partial: bytes | None = None


@dataclass(slots=True)
class Effects:
    """One transaction at the product's time `now`, on its day `today`. `partitions` are those whose epoch is checked.

    `heard` counts the calls of each partition, source and hour since 1970; `unheard` are partitions and the hour before which these counts go.
    `changes_from` is the first day of which the closed accounts keep all changes of band. `emptied` are accounts whose days, users and facts were handed over to others: all stored rows of them go before the new ones are written.
    """

    now: datetime
    today: int
    partitions: set[int] = field(default_factory=set)
    positions: dict[Place, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    dedup: list[DedupRow] = field(default_factory=list)
    accounts: dict[str, AccountRow] = field(default_factory=dict)
    scores: list[ScoreRow] = field(default_factory=list)
    shadows: list[ShadowRow] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    changes: list[RiskChanged] = field(default_factory=list)
    recorded: list[OutcomeRow] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    links: dict[str, tuple[int, Known]] = field(default_factory=dict)
    parked: list[ParkedRow] = field(default_factory=list)
    unparked: list[Unparked] = field(default_factory=list)
    closes: list[CloseRow] = field(default_factory=list)
    record: tuple[int, bytes] | None = None
    published: list[int] = field(default_factory=list)
    dropped: list[tuple[int, int, int]] = field(default_factory=list)
    heard: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    unheard: tuple[list[int], int] | None = None
    changes_from: int | None = None
    _outgoing: dict[tuple[int, str, int], list[tuple[bytes, bytes]]] = field(default_factory=dict)

    def send(self, partition: int, topic: str, target: int, key: str, value: bytes) -> None:
        """Publish a record after the commit, in the order of these calls within (topic, target)."""
        self._outgoing.setdefault((partition, topic, target), []).append((key.encode(), value))

    def conclude(self, row: AccountRow, settled: Settled) -> None:
        """Keep what an evaluation came to: the row, a change of band and a new profile. The partition of accounts is that of the topics."""
        name = row.state.account
        before = self.accounts.get(name)
        if before is not None:
            row = row._replace(profile=row.profile or before.profile, ranks=row.ranks or before.ranks)
        self.accounts[name] = row
        if settled.profile is not None:
            self.send(row.partition, ACCOUNTS, row.partition, name, encoder.encode(settled.profile))
        if settled.change is not None:
            self.changes.append(settled.change)
            self.send(row.partition, RISK_CHANGES, row.partition, name, encoder.encode(risk_event(settled.change)))

    def outbox(self) -> Iterator[OutboxRow]:
        for (partition, topic, target), records in self._outgoing.items():
            yield OutboxRow(0, partition, topic, target, records)


def positions_of(row: CloseRow) -> Any:
    """Return the recorded positions as JSON text."""
    return None if row.positions is None else encoder.encode(row.positions).decode()
