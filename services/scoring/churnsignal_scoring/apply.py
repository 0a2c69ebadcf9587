"""Pure. Apply a micro-batch to the states in memory, and note what its transaction writes."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from churnsignal_common.contracts.contact import Contacted
from churnsignal_common.contracts.envelope import AccountAbsorbed, AccountMerged, Envelope, OutcomeRecorded, Rejected, encoder
from churnsignal_common.contracts.partitions import Place, partition_of
from churnsignal_common.contracts.topics import CONTACTS, USAGE_EVENTS, USAGE_HISTORY, USAGE_REJECTED, USAGE_UNRESOLVED
from churnsignal_common.mapping.usage import Touch, Usage

from churnsignal_scoring.conclude import Conclude
from churnsignal_scoring.decode import Poison, Reading, Span
from churnsignal_scoring.dedup import SEEN_BEFORE
from churnsignal_scoring.effects import Effects, OutcomeRow
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.days import EPOCH_ORDINAL, to_us
from churnsignal_scoring.health.merging import parts
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.ledger import Ledger
from churnsignal_scoring.links import ACCOUNT, ties
from churnsignal_scoring.outcomes import Outcome
from churnsignal_scoring.residents import Resident, Residents
from churnsignal_scoring.resolve import absorbed, told

BODY_BYTES = 64 * 1024
HEARD_DAYS = 2
"""Calls of each source are counted by the hour for the days that a close may still look at."""


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

    @property
    def usage_of(self) -> Callable[[Envelope], Usage]:
        """What reads calls now; it is another one after a new mapping."""
        return self._engine.usage

    def span(self, span: Span, reading: Reading, codes: list[int], effects: Effects, touched: Touched) -> None:
        """Apply the rows of one place; each ends as exactly one outcome."""
        part = slice(span.start, span.end)
        open_accounts: dict[str | None, tuple[AccountState, list[tuple[Envelope, Usage]]]] = {}
        applied: list[tuple[Envelope, Usage]] = []
        others = Counter({(outcome, ""): codes[part].count(code) for code, outcome in SEEN_BEFORE.items()})
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
            found = open_accounts.get(envelope.account)
            if found is None:
                found = open_accounts[envelope.account] = self._touch(envelope.account or "", span.place, effects, touched), []
            state, calls = found
            if state.merged_into is not None and (passed := self._pass_on(state, envelope, usage, span.place, effects)) is not None:
                others[passed] += 1
                continue
            call = (envelope, usage)
            calls.append(call)
            applied.append(call)
            if not usage.active or usage.contact is not None:
                self._engine.apply_all(state, calls)
                calls.clear()
                self._follow(state, envelope, usage, span.place.partition, effects, touched)
        for state, calls in open_accounts.values():
            self._engine.apply_all(state, calls)
        _hear(span.place, applied, effects)
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

    def _follow(self, state: AccountState, envelope: Envelope, usage: Usage, partition: int, effects: Effects, touched: Touched) -> None:
        match usage.command:
            case None:
                self._tie(envelope, partition, effects)
                if usage.contact is not None:
                    self._note(state.account, envelope, usage.contact, partition, effects)
            case AccountMerged(into=into) if into != state.account:
                for number, part in enumerate(parts(state)):
                    self._send(absorbed(envelope, part, number), state.account, into, partition, USAGE_EVENTS, effects)
                self._conclude.hand_over(self._residents.get(state.account), into, effects)
            case AccountAbsorbed():
                # What the other account lived through is nobody's news of today.
                touched.imported.add(state.account)
            case OutcomeRecorded(outcome=outcome, author=author, note=note):
                effects.recorded.append(OutcomeRow(state.account, envelope.id, to_us(envelope.occurred_at), outcome, author, note))
            case _:
                pass

    def _pass_on(self, state: AccountState, envelope: Envelope, usage: Usage, place: Place, effects: Effects) -> tuple[Outcome, str] | None:
        """Send a call of a merged account on; None when it has come from there: of two that were each merged into the other the later word counts."""
        into = state.merged_into or ""
        if ACCOUNT + into in envelope.via:
            state.merged_into = state.live = None
            return None
        if isinstance(usage.command, AccountMerged):
            return (Outcome.IGNORED, "already_merged")
        self._send(envelope, state.account, into, place.partition, place.topic, effects)
        return (Outcome.MOVED, "")

    def _send(self, envelope: Envelope, account: str, into: str, partition: int, topic: str, effects: Effects) -> None:
        sent = msgspec.structs.replace(envelope, account=into, via=(*envelope.via, ACCOUNT + account))
        effects.send(partition, topic, partition_of(into, self._partitions), into, encoder.encode(sent))

    def _note(self, account: str, envelope: Envelope, touch: Touch, partition: int, effects: Effects) -> None:
        by = touch.by or envelope.user or envelope.source
        said = Contacted(
            account=account, source=envelope.source, id=envelope.id, at=envelope.occurred_at, way=touch.way, by=by, note=touch.note
        )
        effects.send(partition, CONTACTS, partition, account, encoder.encode(said))

    def _tie(self, envelope: Envelope, partition: int, effects: Effects) -> None:
        for command in ties(envelope):
            target = partition_of(command.subject, self._partitions)
            effects.send(partition, USAGE_UNRESOLVED, target, command.subject, encoder.encode(told(envelope, command)))


def _hear(place: Place, calls: Sequence[tuple[Envelope, Usage]], effects: Effects) -> None:
    """Count calls by source and hour. What is imported says nothing of whether its source is alive, and neither does what comes days late."""
    if place.topic != USAGE_EVENTS:
        return
    heard = Counter([(e.source, e.received_at.toordinal(), (at := e.occurred_at).toordinal(), at.hour) for e, u in calls if not u.command])
    for (source, received, day, hour), count in heard.items():
        if received - day <= HEARD_DAYS:
            effects.heard[place.partition, source, (day - EPOCH_ORDINAL) * 24 + hour] += count


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
        cut=len(poison.value) > BODY_BYTES,
        body=poison.value[:BODY_BYTES],
    )
    key = source or "unknown"
    effects.send(place.partition, USAGE_REJECTED, partition_of(key, partitions), key, encoder.encode(record))
