"""Door. A group's topics as one stream of micro-batches: assignment, positions, pauses. Offsets are never committed to Kafka."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from churnsignal_common.contracts.partitions import Place
from churnsignal_common.kafka.client import Brokers, ConsumerRebalanceListener, await_topics, connect, new_consumer, stop_client
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.settings import ConsumerSettings
from churnsignal_common.runtime.tasks import Stop

log = structlog.get_logger()

CALL_S = 10.0
PROBE_S = 3.0
JOIN_S = 60.0

Polled = list[tuple[Place, Sequence[ConsumerRecord]]]


@dataclass(frozen=True, slots=True)
class Membership:
    """Which topics to share out in which group. `prefix` is put before their names; `instance` makes the membership static."""

    group: str
    topics: tuple[str, ...]
    prefix: str
    partitions: int
    instance: str | None
    session_timeout_ms: int


def membership_of(settings: ConsumerSettings, group: str, topics: tuple[str, ...]) -> Membership:
    """Return the membership that the environment describes."""
    return Membership(
        group, topics, settings.topic_prefix, settings.partitions, settings.instance, int(settings.session_timeout_s * 1000)
    )  # fmt: skip


class Unowned(Exception):
    """The partitions changed while a call was under way."""


class Feed:
    """A consumer whose partitions stand still until `begin` says where to read from.

    `before_release` is awaited before partitions are given away: it finishes the transaction at hand and is quick.
    """

    def __init__(self, brokers: Brokers, membership: Membership, health: Dependency) -> None:
        self._brokers = brokers
        self._membership = membership
        self._health = health
        self.before_release: Callable[[], Awaitable[None]] | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._reading = False
        self._held: dict[str, set[Place]] = {}
        self._split = False
        self._full: set[TopicPartition] = set()
        self.generation = 0
        self.owned: tuple[int, ...] = ()

    async def open(self, stop: Stop) -> bool:
        """Wait for the topics, then join the group; return False when told to stop first."""
        who = self._membership
        # A consumer would hang without a word while one of its topics is missing.
        if not await await_topics(
            self._brokers, who.group, [who.prefix + topic for topic in who.topics], who.partitions, stop, self._health.down
        ):
            return False
        if await connect(self._new, stop, lambda reason: self._health.down(f"cannot join: {reason}"), JOIN_S) is None:
            return False
        self._health.up()
        return True

    def _new(self) -> AIOKafkaConsumer:
        who = self._membership
        consumer = self._consumer = new_consumer(
            self._brokers,
            f"{who.group}{'-' + who.instance if who.instance else ''}",
            who.prefix + who.group,
            instance=who.instance,
            session_timeout_ms=who.session_timeout_ms,
        )
        consumer.subscribe([who.prefix + topic for topic in who.topics], listener=_Listener(self))
        return consumer

    async def close(self) -> None:
        if self._consumer is not None:
            await stop_client(self._consumer)

    @property
    def _live(self) -> AIOKafkaConsumer:
        assert self._consumer is not None
        return self._consumer

    def _key(self, place: Place) -> TopicPartition:
        return TopicPartition(self._membership.prefix + place.topic, place.partition)

    def _place(self, key: TopicPartition) -> Place:
        return Place(key.topic.removeprefix(self._membership.prefix), key.partition)

    def places(self, partitions: Iterable[int]) -> list[Place]:
        return [Place(topic, partition) for partition in partitions for topic in self._membership.topics]

    def assigned(self, keys: Iterable[TopicPartition]) -> None:
        """Note a new assignment; nothing is read from it until `begin`."""
        keys = list(keys)
        if keys:
            self._live.pause(*keys)
        of_topic = [sorted(key.partition for key in keys if self._place(key).topic == topic) for topic in self._membership.topics]
        # Raised by the next poll: what a listener raises is only logged.
        self._split = not all(partitions == of_topic[0] for partitions in of_topic)
        self.owned = tuple(of_topic[0])
        self.generation += 1
        self._reading = False

    async def revoked(self) -> None:
        """Let the transaction at hand finish, then own nothing."""
        self.owned = ()
        self._reading = False
        self.generation += 1
        if self.before_release is not None:
            await self.before_release()

    def begin(self, positions: Mapping[Place, int], generation: int) -> None:
        """Read on from `positions`; nothing is held any more."""
        if generation != self.generation:
            raise Unowned
        for place, offset in positions.items():
            self._live.seek(self._key(place), offset)
        self._held, self._reading = {}, True
        self._live.resume(*(self._key(place) for place in self.places(self.owned)))

    async def poll(self, timeout_ms: int, limit: int) -> Polled:
        """Return what has arrived, at most `limit` records; waits up to the time when nothing has."""
        if self._split:
            raise RuntimeError("the topics were not assigned alike; do all replicas run the same version?")
        live = self._live
        try:
            # getmany is not bounded by its timeout while the group rebalances.
            async with asyncio.timeout(CALL_S + timeout_ms / 1000):
                others = live.assignment() - self._full if self._full else None
                polled = await live.getmany(*others, timeout_ms=0, max_records=limit) if others else {}
                if not polled:
                    self._full = set()
                    polled = await live.getmany(timeout_ms=timeout_ms, max_records=limit)
        except TimeoutError:
            return []
        except KafkaError as error:
            self._health.down(type(error).__name__)
            log.warning("kafka_away", doing="poll", error=type(error).__name__)
            await asyncio.sleep(0.5)
            return []
        # Whoever filled a batch waits until all others were asked: what was fetched of one partition would else be read to its end first.
        self._full = self._full | set(polled) if sum(map(len, polled.values())) >= limit > 1 else set()
        return sorted(((self._place(key), records) for key, records in polled.items() if records), key=lambda pair: pair[0])

    async def probe(self) -> None:
        """Ask the brokers something: polling an unreachable broker looks like silence."""
        await self._offsets(self.places(self.owned[:1])[:1], beginning=False, within_s=PROBE_S)

    async def ends(self, topics: Iterable[str], partitions: Iterable[int]) -> dict[Place, int] | None:
        """Return the logs' ends as the brokers say now, or None when they do not."""
        return await self._offsets([Place(topic, partition) for topic in topics for partition in partitions], beginning=False)

    async def starts(self, partitions: Iterable[int]) -> dict[Place, int] | None:
        """Return the logs' first offsets as the brokers say now, or None when they do not."""
        return await self._offsets(self.places(partitions), beginning=True)

    async def _offsets(self, places: list[Place], *, beginning: bool, within_s: float = CALL_S) -> dict[Place, int] | None:
        if not places:
            return {}
        ask = self._live.beginning_offsets if beginning else self._live.end_offsets
        try:
            async with asyncio.timeout(within_s):
                found = await ask([self._key(place) for place in places])
        except (KafkaError, TimeoutError) as error:
            self._health.down(f"no answer: {type(error).__name__}")
            return None
        self._health.up()
        return {self._place(key): offset for key, offset in found.items()}

    def lag(self, positions: Mapping[Place, int]) -> dict[Place, int]:
        """Return how many records lie before us, as far as the last fetches told."""
        marks = {place: self._live.highwater(self._key(place)) for place in positions}
        return {place: max(0, mark - positions[place]) if mark is not None else 0 for place, mark in marks.items()}

    @property
    def held(self) -> set[Place]:
        """Return what is not read, on purpose."""
        return set().union(*self._held.values())

    def hold(self, why: str, places: Iterable[Place]) -> None:
        """Stop reading `places` until they are released for this reason, and for every other that holds them."""
        self._change(why, self._held.get(why, set()) | set(places))

    def release(self, why: str, places: Iterable[Place]) -> None:
        """Read `places` again, as far as no other reason holds them."""
        self._change(why, self._held.get(why, set()) - set(places))

    def _change(self, why: str, places: set[Place]) -> None:
        before = self.held
        self._held[why] = places
        if self._reading:
            self._live.pause(*(self._key(place) for place in self.held - before if place.partition in self.owned))
            self._live.resume(*(self._key(place) for place in before - self.held if place.partition in self.owned))


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is untyped
    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:  # noqa: ARG002 the listener's shape
        await self._feed.revoked()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._feed.assigned(assigned)
