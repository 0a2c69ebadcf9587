"""Flow. What scoring does with the partitions that it owns: take over, close days, process, read history while nothing else waits."""

from dataclasses import dataclass

from aiokafka.structs import ConsumerRecord
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.topics import USAGE_HISTORY
from churnsignal_common.kafka.consume import Work
from churnsignal_common.kafka.feed import Polled

from churnsignal_scoring.batch import Batch
from churnsignal_scoring.brake import Brake
from churnsignal_scoring.closes import HOLD, Closes
from churnsignal_scoring.doors import Doors
from churnsignal_scoring.effects import OutboxRow
from churnsignal_scoring.memory import Memory
from churnsignal_scoring.metrics import Metrics
from churnsignal_scoring.ownership import Fenced, Reconfigured
from churnsignal_scoring.takeover import Misconfigured, Takeover

# In one transaction while imported history is read: few, so that live calls never wait long behind it.
HISTORY_RECORDS = 2_500


@dataclass(frozen=True, slots=True)
class Core:
    """The steps of scoring, wired to one set of tables."""

    batch: Batch
    closes: Closes
    takeover: Takeover


class Scoring(Work):
    """History waits until live calls have no lag; days are closed between the batches."""

    # A fenced process ends, because it cannot know since when.
    final = (Fenced, Misconfigured)
    again = (Reconfigured,)
    idle_ms = 50

    def __init__(self, doors: Doors, core: Core, memory: Memory, metrics: Metrics, brake: Brake, batch_records: int) -> None:
        self._feed, self._relay = doors.feed, doors.relay
        self._batch, self._closes, self._takeover = core.batch, core.closes, core.takeover
        self._memory = memory
        self._metrics = metrics
        self._brake = brake
        self._batch_records = batch_records
        self._left: list[OutboxRow] = []
        self.positions, self.limit = memory.positions, batch_records

    @property
    def has_room(self) -> bool:
        return self._relay.has_room

    def forget(self) -> None:
        self._memory.forget()
        self._relay.forget()
        self._closes.forget()

    async def claim(self, starts: dict[Place, int], ends: dict[Place, int]) -> None:
        self._left = await self._takeover.claim(sorted({place.partition for place in starts}), starts, ends)
        await self._batch.skip(starts)

    def begun(self) -> None:
        self._wait_with_history(True)
        closing = self._memory.ledger.partitions.items()
        waiting = [p for p, one in closing if one.recorded > one.done and one.recorded not in self._memory.ledger.records]
        self._feed.hold(HOLD, self._feed.places(waiting))
        self._brake.begun()
        self._relay.publish(self._left)

    async def between(self) -> bool:
        self._brake.release()
        return bool(self.positions) and await self._closes.step()

    async def process(self, polled: Polled) -> None:
        self._brake.look(await self._batch.run(polled))

    async def bury(self, place: Place, record: ConsumerRecord, error: str) -> None:
        await self._batch.bury(place, record, "unprocessable", f"scoring failed on this record with {error}")
        self._brake.buried(place)

    async def idle(self) -> None:
        await self._batch.delete_published()

    def see(self, lag: dict[Place, int]) -> None:
        # What is not read anyway, as its day is being closed, is nothing to wait for: other partitions need their history to close it.
        held = self._feed.held
        self._wait_with_history(any(count for place, count in lag.items() if place.topic != USAGE_HISTORY and place not in held))
        by_partition: dict[int, int] = {}
        for place, count in lag.items():
            by_partition[place.partition] = by_partition.get(place.partition, 0) + count
        for partition, count in by_partition.items():
            self._metrics.lag.labels(str(partition)).set(count)

    def failed(self) -> None:
        self._metrics.retries.inc()

    def _wait_with_history(self, wait: bool) -> None:
        change = self._feed.hold if wait else self._feed.release
        change("history", [Place(USAGE_HISTORY, partition) for partition in self._feed.owned])
        self.limit = self._batch_records if wait else min(self._batch_records, HISTORY_RECORDS)
