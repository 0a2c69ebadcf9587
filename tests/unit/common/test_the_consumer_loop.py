"""The loop of scoring and alerts: it takes over, gives up only the record that cannot be processed, and does not stand still in silence."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import TopicPartition
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.kafka import consume as consume_module
from churnsignal_common.kafka.client import Brokers
from churnsignal_common.kafka.consume import Consume, Stuck, Work
from churnsignal_common.kafka.feed import Feed, Membership, Polled
from churnsignal_common.postgres.failures import NO_CONNECTION_FREE
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop

PLACE = Place("topic", 0)
POISON, LAST = 3, 6


@dataclass(frozen=True, slots=True)
class Record:
    """What the loop uses of a consumer's record."""

    offset: int


class Log:
    """A feed of one partition with records up to `LAST`, ended by its reader's stop."""

    def __init__(self, stop: Stop) -> None:
        self.stop, self.at, self.generation, self.owned = stop, 0, 1, (0,)
        self.held: set[Place] = set()
        self.before_release: Any = None

    async def open(self, stop: Stop) -> bool:
        return not stop.is_set()

    async def close(self) -> None: ...

    async def probe(self) -> None: ...

    async def starts(self, partitions: list[int]) -> dict[Place, int]:
        return {Place("topic", partition): 0 for partition in partitions}

    async def ends(self, topics: set[str], partitions: list[int]) -> dict[Place, int]:
        return {Place(topic, partition): LAST + 1 for topic in topics for partition in partitions}

    def begin(self, positions: Mapping[Place, int], generation: int) -> None:
        assert generation == self.generation
        self.at = positions[PLACE]

    async def poll(self, timeout_ms: int, limit: int) -> list[Any]:
        assert timeout_ms >= 0
        records = [Record(offset) for offset in range(self.at, LAST + 1)][:limit]
        self.at += len(records)
        if not records:
            self.stop.set()
        return [(PLACE, records)] if records else []

    def lag(self, positions: Mapping[Place, int]) -> dict[Place, int]:
        return {place: LAST + 1 - offset for place, offset in positions.items()}


class Table(Work):
    """What was committed, and what is wrong with it."""

    limit = 4
    idle_ms = 0

    def __init__(self, failures: list[Exception]) -> None:
        self.failures = failures
        self.done: list[int] = []
        self.buried: list[tuple[int, str]] = []
        self.claims = 0
        self.positions: dict[Place, int] = {}

    def forget(self) -> None:
        self.positions.clear()

    async def claim(self, starts: dict[Place, int], ends: dict[Place, int]) -> None:
        assert starts.keys() == ends.keys()
        self.claims += 1
        self.positions[PLACE] = len(self.done) + len(self.buried)

    async def process(self, polled: Polled) -> None:
        [(_, records)] = polled
        if self.failures:
            raise self.failures.pop()
        offsets = [record.offset for record in records]
        if POISON in offsets:
            raise ZeroDivisionError
        self.done += offsets
        self.positions[PLACE] = offsets[-1] + 1

    async def bury(self, place: Place, record: Any, error: str) -> None:
        self.buried.append((record.offset, error))
        self.positions[place] = record.offset + 1


async def answers() -> None: ...


def loop(stop: Stop, work: Work, postgres: Dependency | None = None, ping: Callable[[], Awaitable[None]] = answers) -> Consume:
    return Consume(Log(stop), work, postgres or Dependency("postgres"), Dependency("consumer"), ping)  # type: ignore[arg-type] # a feed in memory


@pytest.mark.asyncio
async def test_only_the_record_that_cannot_be_processed_is_given_up() -> None:
    stop, work = Stop(), Table([])

    await loop(stop, work).run(stop)

    assert work.buried == [(POISON, "ZeroDivisionError")]
    assert work.done == [offset for offset in range(LAST + 1) if offset != POISON]


@pytest.mark.asyncio
async def test_records_are_read_again_and_none_is_given_up_because_postgres_was_away() -> None:
    stop, work = Stop(), Table([OSError("gone"), OSError("gone")])

    await loop(stop, work).run(stop)

    assert work.done == [offset for offset in range(LAST + 1) if offset != POISON]
    assert work.claims >= 3


@pytest.mark.asyncio
async def test_an_error_that_is_final_ends_the_loop() -> None:
    class Final(Table):
        final = (LookupError,)

    stop = Stop()
    with pytest.raises(LookupError):
        await loop(stop, Final([LookupError("another process owns it")])).run(stop)


@pytest.mark.asyncio
async def test_who_hands_over_forgets_what_another_may_own_now() -> None:
    stop, work = Stop(), Table([])
    work.positions[PLACE] = 3

    await loop(stop, work).hand_over()

    assert work.positions == {}


def standing(beat_s: float, moved_s: float, postgres_ok: bool) -> Consume:
    consume = loop(Stop(), Table([]), postgres := Dependency("postgres"))
    (postgres.up if postgres_ok else lambda: postgres.down("gone"))()
    consume.beat_s, consume.moved_s = beat_s, moved_s
    return consume


@pytest.mark.parametrize(
    ("beat_s", "moved_s", "postgres_ok"),
    [
        (100, 100, True),
        (50, 50, True),
        # Records wait, but so does the loop: for Postgres.
        (100, 0, False),
    ],
)
def test_a_loop_that_turns_and_gets_on_is_left_alone(beat_s: float, moved_s: float, postgres_ok: bool) -> None:
    standing(beat_s, moved_s, postgres_ok).look(100)


@pytest.mark.parametrize(("beat_s", "moved_s", "why"), [(0, 100, "not turned for 100 s"), (100, 0, "none was read for 100 s")])
def test_a_loop_that_stands_still_ends_the_process_and_says_how(beat_s: float, moved_s: float, why: str) -> None:
    with pytest.raises(Stuck, match=why):
        standing(beat_s, moved_s, postgres_ok=True).look(100)


def test_waiting_for_kafka_to_let_us_in_is_not_standing_still() -> None:
    loop(Stop(), Table([])).look(10**9)


class Fetched:
    """What a consumer has fetched of partitions 0, 1, ...: asked for records it reads one to its end before it looks at the next, as aiokafka does."""

    def __init__(self, *counts: int) -> None:
        self.left = {TopicPartition("topic", partition): count for partition, count in enumerate(counts)}

    def assignment(self) -> set[TopicPartition]:
        return set(self.left)

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[None]]:
        assert timeout_ms >= 0
        found = {}
        for key in (partitions and [key for key in self.left if key in partitions]) or self.left:
            count = min(self.left[key], max_records)
            self.left[key] -= count
            max_records -= count
            if count:
                found[key] = [None] * count
        return found


def feed_of(fetched: Fetched) -> Feed:
    feed = Feed(Brokers("", {}), Membership("group", ("topic",), "", len(fetched.left), None, 10_000), Dependency("kafka"))
    feed._consumer = fetched
    return feed


async def partitions_of_polls(feed: Feed, polls: int) -> list[list[int]]:
    return [[place.partition for place, _ in await feed.poll(0, 10)] for _ in range(polls)]


@pytest.mark.asyncio
async def test_a_quiet_partition_waits_for_one_batch_of_each_busy_one() -> None:
    assert await partitions_of_polls(feed_of(Fetched(1000, 1000, 1000, 1)), 5) == [[0], [1], [2], [3], [0]]


@pytest.mark.asyncio
async def test_a_busy_partition_is_read_at_every_other_poll_though_others_trickle() -> None:
    fetched = Fetched(1000, 0)
    feed, read = feed_of(fetched), []
    for _ in range(6):
        fetched.left[TopicPartition("topic", 1)] = 1
        read += await partitions_of_polls(feed, 1)

    assert read == [[0], [1], [0], [1], [0], [1]]


@pytest.mark.asyncio
async def test_a_postgres_that_gives_no_sign_of_life_is_named_until_it_does_whatever_the_loop_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consume_module, "WATCH_S", 0.001)
    stop, postgres, said = Stop(), Dependency("postgres"), []
    turns: list[Exception | None] = [None, NO_CONNECTION_FREE(), TimeoutError(), None, None]

    async def ping() -> None:
        said.append(postgres.ok)
        if len(turns) == 1:
            stop.set()
        if (error := turns.pop(0)) is not None:
            raise error

    watched = loop(stop, Table([]), postgres, ping)
    watched._generation = 1  # it owns what the feed gave it
    await watched.watch(stop)

    # That all connections are at work says nothing of it.
    assert said == [None, True, True, False, True]
