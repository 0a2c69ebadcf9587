"""Pure. Work through the records of usage.unresolved.v1: move calls to their account, park strangers, credit them when linked."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from churnsignal_common.contracts.envelope import (
    Envelope,
    Format,
    UserAliased,
    UserLinked,
    command_decoder,
    encoder,
    envelope_decoder,
    subject,
)
from churnsignal_common.contracts.partitions import Place, partition_of
from churnsignal_common.contracts.topics import USAGE_UNRESOLVED

from churnsignal_scoring.apply import reject
from churnsignal_scoring.decode import UNREADABLE, Poison, Reading, Span
from churnsignal_scoring.dedup import SEEN_BEFORE, Seen
from churnsignal_scoring.effects import Effects, ParkedRow, Unparked
from churnsignal_scoring.health.days import EPOCH_ORDINAL, from_us, to_us
from churnsignal_scoring.links import NOBODY, USER, Alias, Known, Tie, aliased, aliases, tied
from churnsignal_scoring.outcomes import Outcome
from churnsignal_scoring.resolve import Links, Move, Park, closes_a_circle, moved, renamed, route, told

FULL = "parking_full"
FULL_WHY = "the user has no account yet, and as many calls of this source wait for one as may; send a group or identify call, then replay"
TOO_LONG = "parked_too_long"
TOO_LONG_WHY = "no group or identify call has named the user's account in time; send one, then replay"
_About: TypeAlias = UserLinked | UserAliased


class Waiting(NamedTuple):
    """A parked call as stored."""

    id: int
    partition: int
    offset: int
    subject: str
    source: str
    envelope: bytes


class Filled(NamedTuple):
    """So many calls, and their bytes."""

    calls: int = 0
    size: int = 0

    def plus(self, calls: int, size: int) -> "Filled":
        return Filled(self.calls + calls, self.size + size)


@dataclass(frozen=True, slots=True)
class Parking:
    """Calls of strangers kept per source, and their bytes, in equal shares per partition; those beyond are rejected."""

    per_source: int
    bytes_per_source: int
    partitions: int

    def has_room(self, wanted: Filled) -> bool:
        return wanted.calls <= _share(self.per_source, self.partitions) and wanted.size <= _share(self.bytes_per_source, self.partitions)

    def fullness(self, held: Filled) -> float:
        """Return the part of a partition's share that `held` takes: of the calls or the bytes, whichever is nearer to its limit."""
        calls, size = _share(self.per_source, self.partitions), _share(self.bytes_per_source, self.partitions)
        return max(held.calls / max(1, calls), held.size / max(1, size))


def _share(whole: int, partitions: int) -> int:
    return max(1, whole // partitions) if whole else 0


@dataclass(slots=True)
class Requests:
    """What must be known before the records can be routed: all `subjects`, and what waits for those that something is said of now."""

    commands: dict[int, _About] = field(default_factory=dict)
    unreadable: set[int] = field(default_factory=set)
    subjects: set[str] = field(default_factory=set)
    spoken_of: dict[int, set[str]] = field(default_factory=dict)


def requests(reading: Reading, spans: list[Span], codes: list[int]) -> Requests:
    """Return what the new records of these spans ask for."""
    wanted = Requests()
    for span in spans:
        for row in range(span.start, span.end):
            if codes[row] == Seen.NEW:
                _request(wanted, row, reading.envelopes[row], span.place.partition)
    return wanted


def _request(wanted: Requests, row: int, envelope: Envelope, partition: int) -> None:
    if envelope.format is not Format.COMMAND:
        wanted.subjects.add(subject(envelope) or "")
        return
    command = _command(envelope)
    if command is None:
        wanted.unreadable.add(row)
        return
    wanted.commands[row] = command
    wanted.spoken_of.setdefault(partition, set()).add(command.subject)
    wanted.subjects.add(command.subject)


def _command(envelope: Envelope) -> _About | None:
    try:
        command = command_decoder.decode(envelope.call)
    except UNREADABLE:
        return None
    return command if isinstance(command, UserLinked | UserAliased) else None


class Unresolved:
    """The resolver of the owned partitions. `parked` is what is stored, by partition and source."""

    def __init__(self, links: Links, parking: Parking) -> None:
        self._links = links
        self.parking = parking
        self.parked: dict[tuple[int, str], Filled] = {}

    def span(self, span: Span, reading: Reading, codes: list[int], wanted: Requests, effects: Effects, waiting: list[Waiting]) -> None:
        """Route the rows of one place in their order; a later row sees what earlier ones said."""
        work = _Work(self, span.place, effects, waiting)
        for row in range(span.start, span.end):
            envelope, record = reading.envelopes[row], reading.records[row]
            if codes[row] != Seen.NEW:
                work.count(SEEN_BEFORE[Seen(codes[row])])
            elif row in wanted.commands:
                work.command(envelope, wanted.commands[row])
            elif row in wanted.unreadable:
                work.reject(Outcome.DEAD, Poison(span.place, record.offset, "unknown_command", record.value or b""), envelope.source)
            else:
                work.call(envelope, record.offset, record.value or b"")
        work.finish()

    def known(self, subject: str, effects: Effects) -> Known:
        pending = effects.links.get(subject)
        return pending[1] if pending else self._links.known.get(subject, NOBODY)

    def held(self, partition: int, source: str) -> Filled:
        return self.parked.get((partition, source), Filled())

    def committed(self, effects: Effects) -> None:
        """Take over what the transaction stored."""
        self._links.learn({subject: known for subject, (_, known) in effects.links.items()})
        self._links.trim()
        for row in effects.parked:
            self.parked[(row.partition, row.source)] = self.held(row.partition, row.source).plus(1, len(row.envelope))
        for gone in effects.unparked:
            self.parked[(gone.partition, gone.source)] = self.held(gone.partition, gone.source).plus(-len(gone.ids), -gone.size)

    def forget(self) -> None:
        self._links.known.clear()
        self.parked.clear()


class _Work:
    """One span at work: what it parks may be credited by a link later in the same span."""

    def __init__(self, resolver: Unresolved, place: Place, effects: Effects, waiting: list[Waiting]) -> None:
        self._resolver = resolver
        self._place = place
        self._effects = effects
        self._waiting = waiting
        self._counts: Counter[tuple[Outcome, str]] = Counter()
        self._parks: dict[str, list[ParkedRow]] = {}
        self._pending: dict[str, Filled] = {}

    def call(self, envelope: Envelope, offset: int, value: bytes) -> None:
        """Move a call to its user's account or newer id, or park it."""
        for older in aliases(envelope):
            self._tell(envelope, older)
        name = subject(envelope) or ""
        decision = route(envelope, name, self._known(name, envelope))
        if isinstance(decision, Move):
            self._send(envelope, value, name, decision)
            self.count(Outcome.MOVED)
        else:
            # The day of its arrival, not of its processing: a replay parks it as of the same day.
            arrived = envelope.received_at.toordinal() - EPOCH_ORDINAL
            self._park(decision, ParkedRow(self._place.partition, offset, name, envelope.source, arrived, value))

    def command(self, envelope: Envelope, command: _About) -> None:
        """Take over what is said of a user unless something later is known, pass it on to their newer id, and credit what waited for it."""
        before = self._known(command.subject, envelope)
        stamp = to_us(envelope.occurred_at), envelope.id
        if isinstance(command, UserLinked):
            after = tied(before, Tie(command.account, *stamp, command.left))
        else:
            after = before if command.into == command.subject else aliased(before, Alias(command.into, *stamp))
        if after is before:
            self.count(Outcome.IGNORED, "stale_link")
            return
        self._learn(command.subject, after)
        self.count(Outcome.APPLIED)
        if after.alias is not None:
            fresh = after.ties if after.alias is not before.alias else tuple(tie for tie in after.ties if tie not in before.ties)
            for tie in fresh:
                self._pass_on(envelope, command.subject, tie, after.alias.into)
        if after.alias is not None or after.account is not None:
            self._release(command.subject, after)

    def count(self, outcome: Outcome, reason: str = "", count: int = 1) -> None:
        self._counts[(outcome, reason)] += count

    def reject(self, outcome: Outcome, poison: Poison, source: str, message: str = "") -> None:
        """Give up on a record, and publish it with the reason."""
        self.count(outcome, poison.reason)
        reject(poison, self._effects, self._resolver.parking.partitions, source, message)

    def finish(self) -> None:
        """Note in the effects what became of the span."""
        self._effects.parked.extend(row for rows in self._parks.values() for row in rows)
        for (outcome, reason), count in self._counts.items():
            self._effects.tally.add(self._place, outcome, reason, count)

    def _known(self, name: str, envelope: Envelope) -> Known:
        known = self._resolver.known(name, self._effects)
        if closes_a_circle(envelope, known):
            known = known._replace(alias=None)
            self._learn(name, known)
        return known

    def _learn(self, name: str, known: Known) -> None:
        self._effects.links[name] = (self._place.partition, known)

    def _tell(self, cause: Envelope, command: _About) -> None:
        self._publish(USAGE_UNRESOLVED, command.subject, encoder.encode(told(cause, command)))

    def _pass_on(self, cause: Envelope, name: str, tie: Tie, into: str) -> None:
        command = UserLinked(subject=into, account=tie.account, left=tie.left)
        sent = told(cause, command, from_us(tie.occurred_us), (*cause.via, USER + name))
        self._publish(USAGE_UNRESOLVED, into, encoder.encode(sent))

    def _park(self, decision: Park, row: ParkedRow) -> None:
        pending = self._pending.get(row.source, Filled()).plus(1, len(row.envelope))
        if not self._resolver.parking.has_room(self._resolver.held(row.partition, row.source).plus(*pending)):
            self.reject(Outcome.DEAD, Poison(self._place, row.offset, FULL, row.envelope), row.source, FULL_WHY)
            return
        self._pending[row.source] = pending
        self._parks.setdefault(decision.subject, []).append(row)
        self.count(Outcome.PARKED)

    def _release(self, name: str, known: Known) -> None:
        here = self._parks.pop(name, [])
        stored = [row for row in self._waiting if row.subject == name]
        self._waiting = [row for row in self._waiting if row.subject != name]
        for value in [row.envelope for row in stored] + [row.envelope for row in here]:
            envelope = envelope_decoder.decode(value)
            decision = route(envelope, name, known)
            assert isinstance(decision, Move)
            self._send(envelope, value, name, decision)
        for row in here:
            self._pending[row.source] = self._pending[row.source].plus(-1, -len(row.envelope))
        self._effects.unparked.extend(unparked(stored))
        # What was counted as parked is on its way now; the sum stays that of the offsets.
        self.count(Outcome.PARKED, count=-len(here) - len(stored))
        self.count(Outcome.MOVED, count=len(here) + len(stored))

    def _send(self, envelope: Envelope, value: bytes, name: str, to: Move) -> None:
        is_renamed = to.topic == USAGE_UNRESOLVED
        self._publish(to.topic, to.to, renamed(envelope, name, to.to) if is_renamed else moved(envelope, value, name, to.to))

    def _publish(self, topic: str, key: str, value: bytes) -> None:
        self._effects.send(self._place.partition, topic, partition_of(key, self._resolver.parking.partitions), key, value)


def unparked(rows: list[Waiting]) -> list[Unparked]:
    """Return what leaves with these rows, by partition and source."""
    by_source: dict[tuple[int, str], list[Waiting]] = {}
    for row in rows:
        by_source.setdefault((row.partition, row.source), []).append(row)
    return [Unparked(*key, [row.id for row in mine], sum(len(row.envelope) for row in mine)) for key, mine in sorted(by_source.items())]
