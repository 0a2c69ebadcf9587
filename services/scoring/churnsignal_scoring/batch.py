"""Flow. One micro-batch from polled records to a commit: read, judge, load, apply, save, then let memory follow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic

from churnsignal_common.clock import RealClock
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.topics import USAGE_UNRESOLVED
from churnsignal_common.runtime import crash

from churnsignal_scoring.apply import Apply, Touched, reject
from churnsignal_scoring.decode import Poison, Reading, Record, Span, read
from churnsignal_scoring.dedup import Bucket, Run
from churnsignal_scoring.doors import Doors
from churnsignal_scoring.effects import Effects
from churnsignal_scoring.memory import Memory
from churnsignal_scoring.metrics import Metrics, count_effects
from churnsignal_scoring.outcomes import LOST, Outcome
from churnsignal_scoring.unresolved import requests

crash.declare(
    "scoring.after_poll",
    "scoring.after_dedup",
    "scoring.after_load",
    "scoring.before_transaction",
    "scoring.after_commit",
    "scoring.before_delete",
)

Polled = Sequence[tuple[Place, Sequence[Record]]]


@dataclass(frozen=True, slots=True)
class Judged:
    """A reading with the dedup log's verdicts, row by row, and the ids to remember."""

    reading: Reading
    codes: list[int]
    fresh: dict[Bucket, list[Run]]

    def spans(self, *, by_user: bool) -> list[Span]:
        return [span for span in self.reading.spans if (span.place.topic == USAGE_UNRESOLVED) == by_user]


class Batch:
    """The transaction of a micro-batch. When any step raises, memory must be forgotten: it may be ahead of Postgres."""

    def __init__(
        self, doors: Doors, memory: Memory, apply: Apply, metrics: Metrics, partitions: int, new_effects: Callable[[], Effects]
    ) -> None:
        self._store = doors.store
        self._load = doors.load
        self._relay = doors.relay
        self._memory = memory
        self._apply = apply
        self._metrics = metrics
        self._partitions = partitions
        self._new_effects = new_effects
        self._wall = RealClock()

    async def run(self, polled: Polled) -> Reading:
        """Process all records in one transaction; when this returns they are committed."""
        times = [monotonic()]
        reading = read(polled, self._memory.positions, self._apply.usage_of)
        crash.point("scoring.after_poll")
        judged = await self._judge(reading)
        crash.point("scoring.after_dedup")
        times.append(monotonic())
        effects = self._begin(judged)
        await self._route(judged, effects)
        await self._load_accounts(judged)
        crash.point("scoring.after_load")
        times.append(monotonic())
        touched = Touched()
        for span in judged.spans(by_user=False):
            self._apply.span(span, reading, judged.codes, effects, touched)
        self._apply.settle(touched, effects, effects.now)
        crash.point("scoring.before_transaction")
        times.append(monotonic())
        stored = await self._store.save(effects)
        crash.point("scoring.after_commit")
        self._relay.publish(stored)
        await self._committed(judged, effects)
        times.append(monotonic())
        for step, (begun, ended) in zip(("judge", "load", "apply", "save"), pairwise(times), strict=True):
            self._metrics.steps.labels(step).observe(ended - begun)
        self._observe(polled, effects)
        return reading

    async def bury(self, place: Place, record: Record, reason: str, message: str) -> None:
        """Give up on one record: count it as dead and publish it as rejected, so that the partition goes on."""
        effects = self._new_effects()
        effects.partitions.add(place.partition)
        effects.positions[place] = record.offset + 1
        effects.tally.add(place, Outcome.DEAD, reason)
        reject(Poison(place, record.offset, reason, record.value or b""), effects, self._partitions, message=message)
        self._relay.publish(await self._store.save(effects))
        self._memory.positions[place] = record.offset + 1
        self._count(effects)

    async def skip(self, starts: dict[Place, int]) -> None:
        """Count as dead what the brokers deleted before these offsets and we had not read: perhaps no record follows that would show the gap."""
        effects = self._new_effects()
        for place, start in starts.items():
            if start > self._memory.positions[place]:
                effects.tally.add(place, Outcome.DEAD, LOST, start - self._memory.positions[place])
                effects.positions[place] = start
                effects.partitions.add(place.partition)
        if effects.positions:
            await self._store.save(effects)
            self._memory.positions.update(effects.positions)
            self._count(effects)

    async def delete_published(self) -> None:
        """Empty the outbox of what the brokers have."""
        ids = self._take_published()
        if ids:
            await self._store.delete_published(ids)

    def _take_published(self) -> list[int]:
        ids = self._relay.take_published()
        if ids:
            crash.point("scoring.before_delete")
        return ids

    async def _judge(self, reading: Reading) -> Judged:
        seen = self._memory.seen
        missing = seen.missing(reading.groups)
        if missing:
            for bucket, run in (await self._load.buckets(missing)).items():
                seen.load(bucket, run)
        codes, fresh = seen.judge(reading.groups, *reading.fingerprints())
        return Judged(reading, codes.tolist(), fresh)

    def _begin(self, judged: Judged) -> Effects:
        reading = judged.reading
        effects = self._new_effects()
        effects.published = self._take_published()
        effects.partitions.update(place.partition for place in reading.next)
        effects.positions.update(reading.next)
        effects.dedup = [run.packed(bucket) for bucket, runs in judged.fresh.items() for run in runs]
        for place, count in reading.lost.items():
            effects.tally.add(place, Outcome.DEAD, LOST, count)
        for poison in reading.dead:
            effects.tally.add(poison.place, Outcome.DEAD, poison.reason)
            reject(poison, effects, self._partitions)
        return effects

    async def _route(self, judged: Judged, effects: Effects) -> None:
        spans = judged.spans(by_user=True)
        if not spans:
            return
        memory = self._memory
        wanted = requests(judged.reading, spans, judged.codes)
        strangers = memory.links.missing(wanted.subjects)
        if strangers:
            memory.links.learn(await self._load.links(strangers))
        waiting = await self._load.waiting(wanted.spoken_of) if wanted.spoken_of else {}
        for span in spans:
            memory.resolver.span(span, judged.reading, judged.codes, wanted, effects, waiting.get(span.place.partition, []))

    async def _load_accounts(self, judged: Judged) -> None:
        envelopes, codes = judged.reading.envelopes, judged.codes
        names: set[str] = set()
        for span in judged.spans(by_user=False):
            rows = zip(envelopes[span.start : span.end], codes[span.start : span.end], strict=True)
            names.update(envelope.account or "" for envelope, code in rows if not code)
        missing = self._memory.residents.missing(names)
        if missing:
            for resident in await self._load.residents(missing):
                self._memory.residents.put(resident)

    async def _committed(self, judged: Judged, effects: Effects) -> None:
        memory = self._memory
        memory.positions.update(effects.positions)
        memory.resolver.committed(effects)
        for row in effects.accounts.values():
            row.state.clean()
        memory.residents.touch(effects.accounts)
        crowded = memory.seen.remember(judged.fresh, effects.today)
        if crowded:
            await self._store.join_dedup(crowded)
            for bucket in crowded:
                memory.seen.joined(bucket)

    def _observe(self, polled: Polled, effects: Effects) -> None:
        self._count(effects)
        now_ms = self._wall.now().timestamp() * 1000
        for _, records in polled:
            for record in (records[0], records[-1]):
                self._metrics.event_to_score.observe(max(0.0, now_ms - record.timestamp) / 1000)

    def _count(self, effects: Effects) -> None:
        count_effects(self._metrics, effects)
        self._metrics.residents.set(len(self._memory.residents))
        self._metrics.resident_bytes.set(self._memory.residents.size)
