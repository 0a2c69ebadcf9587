"""Pure. Put an account's changes into their order: seen ones are duplicates, ones after a gap wait."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from churnsignal_common.contracts.risk import RiskChanged


class Outcome(StrEnum):
    """What became of a record; closed, and counted with the position."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    HELD = "held"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A change as it came: `record` are its bytes, `recorded_ms` when Kafka got it."""

    change: RiskChanged
    record: bytes
    recorded_ms: int

    @property
    def account(self) -> str:
        return self.change.account.account


@dataclass(slots=True)
class Arranged:
    """What may be applied now, in order; what must wait; the last sequence of each account; the outcome of each arrived record."""

    ready: list[Arrived] = field(default_factory=list)
    waiting: list[Arrived] = field(default_factory=list)
    last: dict[str, int] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)


def arrange(arrived: Iterable[Arrived], seen: Mapping[str, int], held: Mapping[str, Sequence[Arrived]]) -> Arranged:
    """Return the order. An account that we have never seen starts anywhere: its earlier changes may be older than the topic."""
    result = Arranged()
    last = dict(seen)
    waiting = {account: {a.change.sequence: a for a in changes} for account, changes in held.items()}
    for one in arrived:
        here = waiting.setdefault(one.account, {})
        sequence, before = one.change.sequence, last.get(one.account)
        if (before is not None and sequence <= before) or sequence in here:
            result.outcomes.append(Outcome.DUPLICATE)
        elif (before is None and not here) or sequence == (before or 0) + 1:
            result.outcomes.append(Outcome.APPLIED)
            last[one.account] = result.last[one.account] = _drain(one, here, result.ready)
        else:
            result.outcomes.append(Outcome.HELD)
            here[sequence] = one
            result.waiting.append(one)
    result.waiting = [one for one in result.waiting if one.change.sequence > last.get(one.account, -1)]
    return result


def _drain(one: Arrived, here: dict[int, Arrived], ready: list[Arrived]) -> int:
    """Apply `one` and everything held that follows without a gap; return the last sequence."""
    ready.append(one)
    sequence = one.change.sequence
    while (following := here.pop(sequence + 1, None)) is not None:
        ready.append(following)
        sequence += 1
    return sequence


def give_up(held: Mapping[str, Sequence[Arrived]]) -> Arranged:
    """Return what to apply when the missing changes are not waited for any longer: all that is held, in order."""
    result = Arranged()
    for account, changes in held.items():
        result.ready += sorted(changes, key=lambda one: one.change.sequence)
        result.last[account] = max(one.change.sequence for one in changes)
    return result
