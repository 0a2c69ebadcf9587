"""Pure. Apply a micro-batch to the states in memory, and note what its transaction writes."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from churnsignal_common.contracts.envelope import Envelope, Rejected, encoder
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_HISTORY, USAGE_REJECTED, USAGE_UNRESOLVED

from churnsignal_scoring.conclude import Conclude
from churnsignal_scoring.decode import Poison, Reading, Span
from churnsignal_scoring.dedup import Seen
from churnsignal_scoring.effects import Effects
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.ledger import Ledger
from churnsignal_scoring.links import ties
from churnsignal_scoring.outcomes import Outcome, Place
from churnsignal_scoring.residents import Resident, Residents
from churnsignal_scoring.resolve import told

BODY_BYTES = 64 * 1024
_SEEN = {Seen.DUPLICATE: Outcome.DUPLICATE, Seen.CONFLICT: Outcome.CONFLICT}


@dataclass(slots=True)
class Touched:
    """The accounts that the batch changed, and which of them got imported calls."""

    residents: dict[str, Resident] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)


class Apply:
    """The calls that have an account. Closed days come first: an account behind its partition's close is closed when it is touched."""

    def __init__(self, engine: AccountEngine, residents: Residents, ledger: Ledger, conclude: Conclude, partitions: int) -> None:
        self._engine = engine
        self._residents = residents
        self._ledger = ledger
        self._conclude = conclude
        self._partitions = partitions
        self.usage_of = engine.mapper.usage

    def span(self, span: Span, reading: Reading, codes: list[int], effects: Effects, touched: Touched) -> None:
        """Apply the rows of one place; each ends as exactly one outcome."""
        apply, part = self._engine.apply, slice(span.start, span.end)
        states: dict[str | None, AccountState] = {}
        others = Counter({(outcome, ""): codes[part].count(code) for code, outcome in _SEEN.items()})
        for envelope, usage, code in zip(reading.envelopes[part], reading.usages[part], codes[part], strict=True):
            if code:
                continue
            if usage is None:
                others[(Outcome.DEAD, "unreadable_call")] += 1
                self._reject(envelope, span.place, reading, effects)
                continue
            if usage.ignored is not None:
                others[(Outcome.IGNORED, usage.ignored)] += 1
                continue
            state = states.get(envelope.account)
            if state is None:
                state = states[envelope.account] = self._touch(envelope.account or "", span.place, effects, touched)
            apply(state, envelope, usage)
            if not usage.active:
                self._tie(envelope, span.place.partition, effects)
        others[(Outcome.APPLIED, "")] = span.end - span.start - others.total()
        for (outcome, reason), count in others.items():
            effects.tally.add(span.place, outcome, reason, count)

    def settle(self, touched: Touched, effects: Effects, now: datetime) -> None:
        """Give each account that changed its live score, once for the whole batch."""
        for account, resident in touched.residents.items():
            self._conclude.settle(resident, effects, now, account in touched.imported)

    def _touch(self, account: str, place: Place, effects: Effects, touched: Touched) -> AccountState:
        resident = self._residents.find(account)
        if resident is None:
            # Whoever appears after a day's position was fixed has nothing to close for it.
            resident = Resident(AccountState(account), place.partition, self._ledger.partitions[place.partition].recorded)
            self._residents.put(resident)
        self._conclude.close(resident, effects)
        touched.residents[account] = resident
        if place.topic == USAGE_HISTORY:
            touched.imported.add(account)
        return resident.state

    def _reject(self, envelope: Envelope, place: Place, reading: Reading, effects: Effects) -> None:
        record = next(r for e, r in zip(reading.envelopes, reading.records, strict=True) if e is envelope)
        poison = Poison(place, record.offset, "unreadable_call", record.value or b"")
        reject(poison, effects, self._partitions, envelope.source)

    def _tie(self, envelope: Envelope, partition: int, effects: Effects) -> None:
        for command in ties(envelope):
            target = partition_of(command.subject, self._partitions)
            effects.send(partition, USAGE_UNRESOLVED, target, command.subject, encoder.encode(told(envelope, command)))


def reject(poison: Poison, effects: Effects, partitions: int, source: str = "", message: str = "") -> None:
    """Publish a record that cannot be processed, with its place and reason."""
    place = poison.place
    said = message or "scoring cannot process this record; fix its producer and replay it"
    record = Rejected(
        id=f"{place.topic}:{place.partition}:{poison.offset}",
        source=source,
        stage="scoring",
        reason=poison.reason,
        message=said,
        rejected_at=effects.now,
        topic=place.topic,
        partition=place.partition,
        offset=poison.offset,
        body=poison.value[:BODY_BYTES],
    )
    key = source or "unknown"
    effects.send(place.partition, USAGE_REJECTED, partition_of(key, partitions), key, encoder.encode(record))
