"""Door. The usage topics as one stream of micro-batches: assignment, positions, pauses. Offsets are never committed to Kafka."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED
from churnsignal_common.kafka.client import Brokers, ConsumerRebalanceListener, new_admin, new_consumer, stop_client
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop

from churnsignal_scoring.outcomes import Place

log = structlog.get_logger()

TOPICS = (USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED)
CALL_S = 10.0


@dataclass(frozen=True, slots=True)
class FeedRules:
    """How to read. `prefix` is put before topic and group names; `instance` makes the membership static."""

    prefix: str
    partitions: int
    instance: str | None
    session_timeout_ms: int
    batch_records: int
    history_batch_records: int


class Unowned(Exception):
    """The partitions changed while a call was under way."""


class Feed:
    """A consumer whose partitions stand still until `begin` says where to read from.

    `before_release` is awaited before partitions are given away: it finishes the transaction at hand and is quick.
    """

    def __init__(self, brokers: Brokers, rules: FeedRules, health: Dependency) -> None:
        self._brokers = brokers
        self._rules = rules
        self._health = health
        self.before_release: Callable[[], Awaitable[None]] | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._history_open = False
        self._held: set[TopicPartition] = set()
        self._split = False
        self.generation = 0
        self.owned: tuple[int, ...] = ()

    async def open(self, stop: Stop) -> bool:
        """Wait for the topics, then join the group; return False when told to stop first."""
        if not await self._await_topics(stop):
            return False
        rules = self._rules
        consumer = new_consumer(
            self._brokers,
            f"churnsignal-scoring{'-' + rules.instance if rules.instance else ''}",
            f"{rules.prefix}churnsignal-scoring",
            instance=rules.instance,
            session_timeout_ms=rules.session_timeout_ms,
        )
        consumer.subscribe([rules.prefix + topic for topic in TOPICS], listener=_Listener(self))
        self._consumer = consumer
        while not stop.is_set():
            try:
                async with asyncio.timeout(60):
                    await consumer.start()
                self._health.up()
                return True
            except (KafkaError, OSError, TimeoutError) as error:
                self._health.down(f"cannot join: {type(error).__name__}")
                log.warning("kafka_away", doing="join", error=type(error).__name__)
                await stop.wait(1.0)
        return False

    async def close(self) -> None:
        if self._consumer is not None:
            await stop_client(self._consumer)

    async def _await_topics(self, stop: Stop) -> bool:
        # A consumer would hang without a word while one of its topics is missing.
        said = ""
        while not stop.is_set():
            problem = await self._topics_problem()
            if not problem:
                return True
            self._health.down(problem)
            if problem != said:
                log.warning("waiting_for_topics", reason=problem)
            said = problem
            await stop.wait(1.0)
        return False

    async def _topics_problem(self) -> str:
        names = [self._rules.prefix + topic for topic in TOPICS]
        try:
            async with asyncio.timeout(CALL_S):
                admin = new_admin(self._brokers, "churnsignal-scoring-start")
                await admin.start()
                try:
                    rows = await admin.describe_topics(names)
                finally:
                    await admin.close()
        except (KafkaError, OSError, TimeoutError) as error:
            return f"cannot reach Kafka ({type(error).__name__}): check KAFKA_BOOTSTRAP_SERVERS"
        found = {row["topic"]: len(row["partitions"]) for row in rows if not row["error_code"]}
        missing = [name for name in names if name not in found]
        if missing:
            return f"topics are missing: {', '.join(missing)}: run `churnsignal-topics apply`"
        wrong = [f"{name} has {count}" for name, count in found.items() if count != self._rules.partitions]
        return f"CHURNSIGNAL_PARTITIONS is {self._rules.partitions}, but {', '.join(wrong)}" if wrong else ""

    @property
    def _live(self) -> AIOKafkaConsumer:
        assert self._consumer is not None
        return self._consumer

    def _key(self, place: Place) -> TopicPartition:
        return TopicPartition(self._rules.prefix + place.topic, place.partition)

    def _place(self, key: TopicPartition) -> Place:
        return Place(key.topic.removeprefix(self._rules.prefix), key.partition)

    def places(self, partitions: Iterable[int]) -> list[Place]:
        return [Place(topic, partition) for partition in partitions for topic in TOPICS]

    def assigned(self, keys: Iterable[TopicPartition]) -> None:
        """Note a new assignment; nothing is read from it until `begin`."""
        keys = list(keys)
        if keys:
            self._live.pause(*keys)
        of_topic = [sorted(key.partition for key in keys if self._place(key).topic == topic) for topic in TOPICS]
        # Raised by the next poll: what a listener raises is only logged.
        self._split = not all(partitions == of_topic[0] for partitions in of_topic)
        self.owned = tuple(of_topic[0])
        self.generation += 1
        self._held = set()
        self._history_open = False

    async def revoked(self) -> None:
        """Let the transaction at hand finish, then own nothing."""
        self.owned = ()
        self.generation += 1
        if self.before_release is not None:
            await self.before_release()

    def begin(self, positions: dict[Place, int], generation: int) -> None:
        """Read on from `positions`; history stays closed until live calls have no lag."""
        if generation != self.generation:
            raise Unowned
        for place, offset in positions.items():
            self._live.seek(self._key(place), offset)
        self._held.clear()
        self._history_open = False
        self._live.pause(*(self._key(place) for place in positions if place.topic == USAGE_HISTORY))
        self._live.resume(*(self._key(place) for place in positions if place.topic != USAGE_HISTORY))

    async def poll(self, timeout_ms: int) -> list[tuple[Place, Sequence[ConsumerRecord]]]:
        """Return what has arrived, at most one micro-batch; waits up to the time when nothing has."""
        if self._split:
            raise RuntimeError("the usage topics were not assigned alike; do all replicas run the same version?")
        limit = self._rules.history_batch_records if self._history_open else self._rules.batch_records
        try:
            # getmany is not bounded by its timeout while the group rebalances.
            async with asyncio.timeout(CALL_S + timeout_ms / 1000):
                polled = await self._live.getmany(timeout_ms=timeout_ms, max_records=limit)
        except TimeoutError:
            return []
        except KafkaError as error:
            self._health.down(type(error).__name__)
            log.warning("kafka_away", doing="poll", error=type(error).__name__)
            await asyncio.sleep(0.5)
            return []
        return sorted(((self._place(key), records) for key, records in polled.items()), key=lambda pair: pair[0])

    async def poll_one(self, timeout_ms: int) -> list[tuple[Place, Sequence[ConsumerRecord]]]:
        """Return one record: for finding the one that cannot be processed."""
        try:
            async with asyncio.timeout(CALL_S):
                polled = await self._live.getmany(timeout_ms=timeout_ms, max_records=1)
        except (TimeoutError, KafkaError):
            return []
        return [(self._place(key), records) for key, records in polled.items() if records]

    async def ends(self, topics: Iterable[str], partitions: Iterable[int]) -> dict[Place, int] | None:
        """Return the logs' ends as the brokers say now, or None when they do not."""
        keys = [self._key(Place(topic, partition)) for topic in topics for partition in partitions]
        return await self._offsets(keys, beginning=False)

    async def starts(self, partitions: Iterable[int]) -> dict[Place, int] | None:
        """Return the logs' first offsets as the brokers say now, or None when they do not."""
        return await self._offsets([self._key(place) for place in self.places(partitions)], beginning=True)

    async def _offsets(self, keys: list[TopicPartition], *, beginning: bool) -> dict[Place, int] | None:
        ask = self._live.beginning_offsets if beginning else self._live.end_offsets
        try:
            async with asyncio.timeout(CALL_S):
                found = await ask(keys)
        except (KafkaError, TimeoutError) as error:
            self._health.down(f"no answer: {type(error).__name__}")
            return None
        self._health.up()
        return {self._place(key): offset for key, offset in found.items()}

    def lag(self, positions: dict[Place, int]) -> dict[Place, int]:
        """Return how many records lie before us, as far as the last fetches told."""
        marks = {place: self._live.highwater(self._key(place)) for place in positions}
        return {place: max(0, mark - positions[place]) if mark is not None else 0 for place, mark in marks.items()}

    @property
    def holds(self) -> bool:
        """Say whether some partition is held on purpose."""
        return bool(self._held)

    def open_history(self, wanted: bool) -> None:
        """Read imported history, or leave it until live calls have no lag."""
        if wanted == self._history_open:
            return
        keys = [key for key in (self._key(Place(USAGE_HISTORY, p)) for p in self.owned) if key not in self._held]
        if keys:
            (self._live.resume if wanted else self._live.pause)(*keys)
        self._history_open = wanted

    def hold(self, partition: int) -> None:
        """Stop reading a partition's topics."""
        keys = [self._key(place) for place in self.places([partition])]
        self._held.update(keys)
        self._live.pause(*keys)

    def release(self, partition: int) -> None:
        """Read a held partition again."""
        keys = [self._key(place) for place in self.places([partition])]
        self._held.difference_update(keys)
        self._live.resume(*(key for key in keys if self._history_open or self._place(key).topic != USAGE_HISTORY))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is untyped
    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:  # noqa: ARG002 the listener's shape
        await self._feed.revoked()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._feed.assigned(assigned)
