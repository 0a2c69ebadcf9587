"""Flow. The loop that owns partitions: take over, poll, process; after any doubt begin again from Postgres."""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import ClassVar

import structlog
from aiokafka.structs import ConsumerRecord

from churnsignal_common.contracts.partitions import Place
from churnsignal_common.kafka.feed import Feed, Polled, Unowned
from churnsignal_common.postgres.failures import NO_CONNECTION_FREE, is_away
from churnsignal_common.runtime.attempt import attempt
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop

log = structlog.get_logger()

LOOK_S = 0.02
LONGEST_BACKOFF_S = 5.0
CRASHES_IN_A_ROW = 10
HAND_OVER_S = 30.0
WATCH_S = 1.0
STUCK_S = 60.0


class Stuck(Exception):
    """The loop has not turned, or has not got on, for too long: a restart is the cure, silence would be the harm."""


class Work(ABC):
    """What a service does with its partitions: `positions` are those it has committed, the offsets to read next.

    Errors of the kinds `final` end the process; after those of the kinds `again` the partitions are taken over anew.
    """

    final: ClassVar[tuple[type[Exception], ...]] = ()
    again: ClassVar[tuple[type[Exception], ...]] = ()
    positions: Mapping[Place, int]
    limit: int
    idle_ms: ClassVar[int]

    @property
    def has_room(self) -> bool:
        """Say whether more may be read now."""
        return True

    @abstractmethod
    def forget(self) -> None:
        """Forget the partitions: another process may own them from now on."""

    @abstractmethod
    async def claim(self, starts: dict[Place, int], ends: dict[Place, int]) -> None:
        """Become the owner of these places; fill `positions`."""

    def begun(self) -> None:  # noqa: B027 not every service has something to do here
        """Go on from the positions: reading has begun."""

    async def between(self) -> bool:
        """Do a bounded piece of what is due by itself; return whether there is more to do at once."""
        return False

    @abstractmethod
    async def process(self, polled: Polled) -> None:
        """Commit what the records mean, in one transaction."""

    @abstractmethod
    async def bury(self, place: Place, record: ConsumerRecord, error: str) -> None:
        """Give up on one record, on which `process` fails, so that the partition goes on."""

    async def idle(self) -> None:  # noqa: B027 not every service has something to do here
        """Tidy up, as nothing has arrived."""

    def see(self, lag: dict[Place, int]) -> None:  # noqa: B027 not every service has something to do here
        """Take note of the lag."""

    def failed(self) -> None:  # noqa: B027 not every service has something to do here
        """Take note that a turn failed."""


class Consume:
    """Owns the partitions that the group gives us, and says in `postgres` and `consumer` how it is. `ping` asks Postgres for a sign of life."""

    def __init__(self, feed: Feed, work: Work, postgres: Dependency, consumer: Dependency, ping: Callable[[], Awaitable[None]]) -> None:
        self._feed = feed
        self._work = work
        self._postgres = postgres
        self._consumer = consumer
        self._ping = ping
        self._lock = asyncio.Lock()
        self._generation = -1
        self._backoff_s = 0.1
        self._at_hand: Polled = []
        self._careful = 0
        self._crashes = 0
        self._suspect: tuple[Place, ConsumerRecord, str] | None = None
        self._looked_s = 0.0
        # When the loop last turned, and when it last got on or had nothing to do; never while we wait for Kafka to let us in.
        self.beat_s = self.moved_s = math.inf
        feed.before_release = self.hand_over

    async def run(self, stop: Stop) -> None:
        """Consume until stopped; raises when this process must not go on."""
        try:
            if not await self._feed.open(stop):
                return
            self.moved_s = monotonic()
            while not stop.is_set():
                self.beat_s = monotonic()
                error = await attempt(self._turn(stop))
                if error is not None:
                    await self._recover(error, stop)
        finally:
            await self._feed.close()

    async def watch(self, stop: Stop) -> None:
        """Raise `Stuck` when the loop stands still; ask Postgres and the brokers for signs of life: polling unreachable ones looks like silence."""
        while not await stop.wait(WATCH_S):
            self.look(monotonic())
            await asyncio.gather(self._ask_postgres(), self._feed.probe())

    def look(self, now_s: float) -> None:
        """Raise `Stuck` when the loop stands still at `now_s`. While Postgres is away it waits, as it should."""
        if now_s - self.beat_s > STUCK_S:
            raise Stuck(f"the consumer loop has not turned for {now_s - self.beat_s:.0f} s")
        if self._postgres.ok is not False and now_s - self.moved_s > STUCK_S:
            raise Stuck(f"records wait, but none was read for {now_s - self.moved_s:.0f} s")

    async def _ask_postgres(self) -> None:
        error = await attempt(self._ping())
        if isinstance(error, NO_CONNECTION_FREE):
            return
        if error is not None and not is_away(error):
            raise error
        if error is not None:
            self._postgres.down(f"no answer: {type(error).__name__}")
        elif self._is_ours():
            # While the loop is recovering it knows better: of a full disk, say, which answers.
            self._postgres.up()

    async def hand_over(self) -> None:
        """Let the transaction at hand finish, then forget the partitions."""
        self._generation = -1
        try:
            async with asyncio.timeout(HAND_OVER_S), self._lock:
                self._work.forget()
        except TimeoutError:
            # The epoch refuses whatever the slow transaction still tries.
            log.warning("hand_over_timed_out", timeout_s=HAND_OVER_S)

    async def _turn(self, stop: Stop) -> None:
        if not self._is_ours():
            await self._take(stop)
            return
        if not self._work.has_room:
            await stop.wait(0.05)
            return
        async with self._lock:
            busy = self._is_ours() and await self._work.between()
        polled = await self._feed.poll(0 if busy else self._work.idle_ms, 1 if self._careful else self._work.limit)
        async with self._lock:
            if not self._is_ours():
                return
            if polled:
                await self._process(polled)
            else:
                await self._work.idle()
        self._watch_lag(moved=bool(polled))
        self._backoff_s = 0.1

    def _is_ours(self) -> bool:
        return self._generation == self._feed.generation

    async def _take(self, stop: Stop) -> None:
        generation, partitions = self._feed.generation, list(self._feed.owned)
        if partitions:
            starts = await self._feed.starts(partitions)
            ends = await self._feed.ends({place.topic for place in starts or ()}, partitions)
            if not starts or not ends:
                await stop.wait(0.5)
                return
            async with self._lock:
                self._work.forget()
                await self._work.claim(starts, ends)
                await self._bury_suspect()
                self._feed.begin(self._work.positions, generation)
                self._work.begun()
            self._postgres.up()
        self._generation = generation
        self._consumer.up()

    async def _process(self, polled: Polled) -> None:
        self._at_hand = polled
        await self._work.process(polled)
        self._at_hand = []
        self._crashes = 0
        self._careful = max(0, self._careful - sum(len(records) for _, records in polled))
        self._postgres.up()

    def _watch_lag(self, *, moved: bool) -> None:
        if moved:
            self.moved_s = monotonic()
        if monotonic() < self._looked_s + LOOK_S:
            return
        self._looked_s = monotonic()
        lag = self._feed.lag(self._work.positions)
        self._work.see(lag)
        held = self._feed.held
        if not any(count for place, count in lag.items() if place not in held):
            self.moved_s = monotonic()

    async def _recover(self, error: Exception, stop: Stop) -> None:
        """Decide by the kind of error: end, begin again, or look for the record that cannot be processed."""
        polled, self._at_hand = self._at_hand, []
        self._generation = -1
        self._work.failed()
        if isinstance(error, self._work.final):
            self._consumer.down(str(error))
            raise error
        if isinstance(error, (Unowned, *self._work.again)):
            log.info("taking_over_again", why=type(error).__name__)
        elif is_away(error):
            self._postgres.down(type(error).__name__)
            log.warning("postgres_away", error=type(error).__name__, retry_in_s=self._backoff_s)
        elif polled:
            self._suspect_one_of(polled, error)
            return
        else:
            raise error
        await stop.wait(self._backoff_s)
        self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)

    def _suspect_one_of(self, polled: Polled, error: Exception) -> None:
        size = sum(len(records) for _, records in polled)
        log.error("batch_failed", records=size, error=type(error).__name__, exc_info=error)
        if size > 1:
            # One by one from here: the culprit shows itself and only it is given up.
            self._careful = size
            return
        self._crashes += 1
        if self._crashes >= CRASHES_IN_A_ROW:
            raise error
        [(place, records)] = polled
        self._suspect = (place, records[0], type(error).__name__)

    async def _bury_suspect(self) -> None:
        if self._suspect is None:
            return
        place, record, error = self._suspect
        if self._work.positions.get(place) == record.offset:
            await self._work.bury(place, record, error)
            log.error("record_buried", topic=place.topic, partition=place.partition, offset=record.offset, error=error)
            self._careful = max(0, self._careful - 1)
        self._suspect = None
