"""A partition whose records cannot be processed is stopped for a while, however partitions come and go meanwhile."""

from collections.abc import Iterable
from time import monotonic
from typing import cast

import pytest
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.topics import USAGE_EVENTS
from churnsignal_common.kafka.feed import Feed
from churnsignal_scoring.brake import BRAKE_S, BURIED_IN_A_ROW, Brake
from churnsignal_scoring.decode import Reading, Span
from churnsignal_scoring.metrics import Metrics

HERE, THERE = Place(USAGE_EVENTS, 3), Place(USAGE_EVENTS, 4)


class Held:
    """What a feed would not read."""

    def __init__(self) -> None:
        self.now: set[Place] = set()

    def places(self, partitions: Iterable[int]) -> list[Place]:
        return [Place(USAGE_EVENTS, partition) for partition in partitions]

    def hold(self, _: str, places: Iterable[Place]) -> None:
        self.now |= set(places)

    def release(self, _: str, places: Iterable[Place]) -> None:
        self.now -= set(places)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def brakes(held: Held) -> Brake:
    return Brake(cast("Feed", held), Metrics(), 100)


def test_records_that_fail_in_a_row_stop_their_partition_alone(brakes: Brake, held: Held) -> None:
    for _ in range(BURIED_IN_A_ROW - 1):
        brakes.buried(HERE)
        brakes.buried(THERE)
    assert held.now == set()

    brakes.buried(HERE)

    assert held.now == {HERE}


def test_a_record_that_is_processed_ends_the_row(brakes: Brake, held: Held) -> None:
    for _ in range(BURIED_IN_A_ROW - 1):
        brakes.buried(HERE)

    brakes.look(Reading(spans=[Span(HERE, 0, 1)], next={HERE: 8}))
    brakes.buried(HERE)

    assert held.now == set()


def test_a_stopped_partition_stays_stopped_when_all_are_taken_over_anew(brakes: Brake, held: Held) -> None:
    for _ in range(BURIED_IN_A_ROW):
        brakes.buried(HERE)

    held.now.clear()
    brakes.begun()

    assert held.now == {HERE}


def test_it_goes_on_after_its_time(brakes: Brake, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(BURIED_IN_A_ROW):
        brakes.buried(HERE)
    later = monotonic() + BRAKE_S
    monkeypatch.setattr("churnsignal_scoring.brake.monotonic", lambda: later)

    brakes.release()

    assert held.now == set()
