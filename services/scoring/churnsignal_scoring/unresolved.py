"""Pure. Work through the records of usage.unresolved.v1: move calls to their account, park strangers, credit them when linked."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from churnsignal_common.contracts.envelope import Envelope, Format, UserLinked, command_decoder, envelope_decoder, subject
from churnsignal_common.contracts.partitions import partition_of

from churnsignal_scoring.apply import reject
from churnsignal_scoring.decode import UNREADABLE, Poison, Reading, Span
from churnsignal_scoring.dedup import Seen
from churnsignal_scoring.effects import Effects, Link, ParkedRow, Unparked
from churnsignal_scoring.outcomes import Outcome, Place
from churnsignal_scoring.resolve import Links, Move, Stale, lane_topic, link, moved, route

_MOVED = (Outcome.MOVED, "")


class Waiting(NamedTuple):
    """A parked call as stored."""

    id: int
    subject: str
    source: str
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Parking:
    """Calls of strangers kept per source and partition; those beyond are counted and let go."""

    per_source: int
    partitions: int

    @property
    def room(self) -> int:
        return max(1, self.per_source // self.partitions) if self.per_source else 0


@dataclass(slots=True)
class Requests:
    """What must be known before the records can be routed: all `subjects`' links, and what waits for those that are linked now."""

    commands: dict[int, UserLinked] = field(default_factory=dict)
    unreadable: set[int] = field(default_factory=set)
    subjects: set[str] = field(default_factory=set)
    linked: dict[int, set[str]] = field(default_factory=dict)


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
    wanted.linked.setdefault(partition, set()).add(command.subject)
    wanted.subjects.add(command.subject)


def _command(envelope: Envelope) -> UserLinked | None:
    try:
        command = command_decoder.decode(envelope.call)
    except UNREADABLE:
        return None
    return command if isinstance(command, UserLinked) else None


class Unresolved:
    """The resolver of the owned partitions. `parked` counts what is stored, by partition and source."""

    def __init__(self, links: Links, parking: Parking) -> None:
        self._links = links
        self._parking = parking
        self.parked: Counter[tuple[int, str]] = Counter()

    def span(self, span: Span, reading: Reading, codes: list[int], wanted: Requests, effects: Effects, waiting: list[Waiting]) -> None:
        """Route the rows of one place in their order; a later row sees the links of earlier ones."""
        work = _Work(self, span.place, effects, waiting)
        plain = not wanted.commands and not wanted.unreadable
        for row in range(span.start, span.end):
            envelope, value = reading.envelopes[row], reading.records[row].value or b""
            if codes[row] != Seen.NEW:
                work.count(Outcome.DUPLICATE if codes[row] == Seen.DUPLICATE else Outcome.CONFLICT)
            elif plain or (row not in wanted.commands and row not in wanted.unreadable):
                work.call(envelope, value)
            elif row in wanted.commands:
                work.command(envelope, wanted.commands[row])
            else:
                work.count(Outcome.DEAD, "unknown_command")
                poison = Poison(span.place, reading.records[row].offset, "unknown_command", value)
                reject(poison, effects, self._parking.partitions, envelope.source)
        work.finish()

    def link_of(self, subject: str, effects: Effects) -> Link | None:
        pending = effects.links.get(subject)
        return pending[1] if pending else self._links.known.get(subject)

    def has_room(self, partition: int, source: str, pending: int) -> bool:
        return self.parked[(partition, source)] + pending < self._parking.room

    @property
    def partitions(self) -> int:
        return self._parking.partitions

    def committed(self, effects: Effects) -> None:
        """Take over what the transaction stored."""
        self._links.learn({subject: link for subject, (_, link) in effects.links.items()})
        self._links.trim()
        for row in effects.parked:
            self.parked[(row.partition, row.source)] += 1
        for gone in effects.unparked:
            self.parked[(gone.partition, gone.source)] -= len(gone.ids)

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
        self.parked: list[ParkedRow] = []

    def call(self, envelope: Envelope, value: bytes) -> None:
        """Move a call to its user's account, or park it."""
        decision = route(envelope, self._resolver.link_of(subject(envelope) or "", self._effects))
        if isinstance(decision, Move):
            self._send(envelope, value, decision)
            self._counts[_MOVED] += 1
        else:
            self._park(ParkedRow(self._place.partition, decision.subject, envelope.source, self._effects.today, value))

    def command(self, envelope: Envelope, command: UserLinked) -> None:
        """Take over a link unless a later one is known, and credit what waited for it."""
        decision = link(envelope, command, self._resolver.link_of(command.subject, self._effects))
        if isinstance(decision, Stale):
            self.count(Outcome.IGNORED, "stale_link")
            return
        self._effects.links[decision.subject] = (self._place.partition, decision.link)
        self.count(Outcome.APPLIED)
        if decision.link.account is not None:
            self._credit(decision.subject, decision.link.account)

    def count(self, outcome: Outcome, reason: str = "", count: int = 1) -> None:
        self._counts[(outcome, reason)] += count

    def finish(self) -> None:
        """Note in the effects what became of the span."""
        self._effects.parked.extend(self.parked)
        for (outcome, reason), count in self._counts.items():
            self._effects.tally.add(self._place, outcome, reason, count)

    def _park(self, row: ParkedRow) -> None:
        pending = sum(1 for other in self.parked if other.source == row.source) if self._is_nearly_full(row) else 0
        if not self._resolver.has_room(row.partition, row.source, pending):
            self.count(Outcome.IGNORED, "parking_full")
            return
        self.parked.append(row)
        self.count(Outcome.PARKED)

    def _is_nearly_full(self, row: ParkedRow) -> bool:
        return not self._resolver.has_room(row.partition, row.source, len(self.parked))

    def _credit(self, subject: str, account: str) -> None:
        here = [row for row in self.parked if row.subject == subject]
        self.parked = [row for row in self.parked if row.subject != subject]
        stored = [row for row in self._waiting if row.subject == subject]
        self._waiting = [row for row in self._waiting if row.subject != subject]
        for value in [row.envelope for row in stored] + [row.envelope for row in here]:
            envelope = envelope_decoder.decode(value)
            self._send(envelope, value, Move(lane_topic(envelope), account))
        for source in sorted({row.source for row in stored}):
            ids = [row.id for row in stored if row.source == source]
            self._effects.unparked.append(Unparked(self._place.partition, source, ids))
        # What was counted as parked is on its way now; the sum stays that of the offsets.
        self.count(Outcome.PARKED, count=-len(here) - len(stored))
        self.count(Outcome.MOVED, count=len(here) + len(stored))

    def _send(self, envelope: Envelope, value: bytes, to: Move) -> None:
        target = partition_of(to.account, self._resolver.partitions)
        self._effects.send(self._place.partition, to.topic, target, to.account, moved(envelope, value, to.account))
