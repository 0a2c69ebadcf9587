"""Partitions of both lanes without Kafka and Postgres: the real resolver and the real apply, a queue per topic-partition, and what they store."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from churnsignal_common.contracts.contact import Contacted, contact_decoder
from churnsignal_common.contracts.envelope import Envelope, encoder, envelope_decoder
from churnsignal_common.contracts.partitions import Place, partition_of
from churnsignal_common.contracts.topics import CONTACTS, USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED
from churnsignal_scoring.apply import Apply, Touched
from churnsignal_scoring.conclude import Conclude
from churnsignal_scoring.decode import Reading, read
from churnsignal_scoring.dedup import Seen
from churnsignal_scoring.effects import Effects
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.ledger import Closing, Ledger
from churnsignal_scoring.links import NOBODY, Known
from churnsignal_scoring.residents import Resident, Residents
from churnsignal_scoring.resolve import Links
from churnsignal_scoring.unresolved import Parking, Unresolved, Waiting, requests

from tests.support.rows import loaded_from
from tests.unit.scoring.accounts import DAY_ONE, MONDAY, engine

PARTITIONS = 3


@dataclass
class Record:
    offset: int
    value: bytes | None
    timestamp: int = 0


@dataclass
class Town:
    """`links`, `parked` and `states` are what Postgres would hold; the processes' memories hold the rest, and are lost by `restart`."""

    queues: dict[Place, list[bytes]] = field(default_factory=dict)
    read_to: Counter[Place] = field(default_factory=Counter)
    links: dict[str, Known] = field(default_factory=dict)
    parked: dict[int, Waiting] = field(default_factory=dict)
    states: dict[str, AccountState] = field(default_factory=dict)
    seen: set[tuple[int, bool, int]] = field(default_factory=set)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    changes: list[Any] = field(default_factory=list)
    contacts: list[Contacted] = field(default_factory=list)
    engine: Any = field(default_factory=engine)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget all that is not stored, as after a rebalance; states are read back from their rows."""
        self.resolver = Unresolved(Links(), Parking(10_000, 1 << 30, PARTITIONS))
        self.residents = Residents(1 << 28)
        for state in self.states.values():
            state.mark_all()
            again = loaded_from(state.rows())
            self.residents.put(Resident(again, partition_of(state.account, PARTITIONS), DAY_ONE - 1))
        ledger = Ledger({partition: Closing(DAY_ONE - 1, DAY_ONE - 1) for partition in range(PARTITIONS)})
        self.conclude = Conclude(self.engine, ledger)
        self.apply = Apply(self.engine, self.residents, ledger, self.conclude, PARTITIONS)

    def put(self, calls: Iterable[Envelope]) -> None:
        for call in calls:
            key = call.account or call.user or call.anonymous or ""
            topic = USAGE_UNRESOLVED if call.account is None else USAGE_HISTORY if call.history else USAGE_EVENTS
            self._append(topic, partition_of(key, PARTITIONS), encoder.encode(call))

    def run(self, choose: Callable[[list[Place]], tuple[Place, int]] = lambda places: (places[0], 1000)) -> None:
        """Work until every queue is read; `choose` says which partition goes on, and with how many records."""
        while waiting := sorted(place for place, queue in self.queues.items() if self.read_to[place] < len(queue)):
            self._step(*choose(waiting))

    @property
    def applied(self) -> int:
        return sum(state.events_total for state in self.states.values())

    def _append(self, topic: str, partition: int, value: bytes) -> None:
        self.queues.setdefault(Place(topic, partition), []).append(value)

    def _step(self, place: Place, count: int) -> None:
        first = self.read_to[place]
        records = [Record(first + n, value) for n, value in enumerate(self.queues[place][first : first + count])]
        reading = read([(place, records)], {place: first}, self.apply.usage_of)
        codes = self._judge(place, reading)
        effects, touched = Effects(MONDAY, DAY_ONE), Touched()
        for span in reading.spans:
            if place.topic == USAGE_UNRESOLVED:
                self._resolve(span, reading, codes, effects)
            else:
                self.apply.span(span, reading, codes, effects, touched)
        self.apply.settle(touched, effects, MONDAY)
        self.read_to[place] += len(records)
        assert effects.tally.total(place) == len(records)
        self._commit(effects)

    def _judge(self, place: Place, reading: Reading) -> list[int]:
        codes = []
        for number in reading.fingerprints()[0].tolist() if reading.ids else []:
            known = (place.partition, place.topic == USAGE_UNRESOLVED, number)
            codes.append(int(Seen.DUPLICATE if known in self.seen else Seen.NEW))
            self.seen.add(known)
        return codes

    def _resolve(self, span: Any, reading: Reading, codes: list[int], effects: Effects) -> None:
        wanted = requests(reading, [span], codes)
        known = self.resolver._links
        known.learn({subject: self.links.get(subject, NOBODY) for subject in known.missing(wanted.subjects)})
        spoken = wanted.spoken_of.get(span.place.partition, set())
        waiting = [row for row in self.parked.values() if row.subject in spoken and row.partition == span.place.partition]
        self.resolver.span(span, reading, codes, wanted, effects, waiting)

    def _commit(self, effects: Effects) -> None:
        self.links.update({subject: known for subject, (_, known) in effects.links.items()})
        for gone in effects.unparked:
            for number in gone.ids:
                del self.parked[number]
        for row in effects.parked:
            number = max(self.parked, default=0) + 1
            self.parked[number] = Waiting(number, row.partition, row.offset, row.subject, row.source, row.envelope)
        self.resolver.committed(effects)
        for name, stored in effects.accounts.items():
            self.states[name] = stored.state
            stored.state.clean()
        self.changes.extend(effects.changes)
        for (_, _, outcome, reason), count in effects.tally.counts.items():
            self.counts[(outcome, reason)] += count
        for out in effects.outbox():
            if out.topic == CONTACTS:
                self.contacts += [contact_decoder.decode(value) for _, value in out.records]
            if out.topic in (USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED):
                for _, value in out.records:
                    self._append(out.topic, out.target, value)

    def waiting(self) -> list[Envelope]:
        return [envelope_decoder.decode(row.envelope) for row in self.parked.values()]
