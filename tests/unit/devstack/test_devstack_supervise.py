"""Pure. Restarts, their backoff and their count, on processes that only pretend."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from churnsignal_devstack import supervise
from churnsignal_devstack.supervise import Supervisor


@dataclass
class Pretended:
    """A child whose death is decided by the test."""

    pid: int = 1
    returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode


@dataclass
class Service:
    name: str = "ingest"
    child: Any = field(default_factory=Pretended)
    launches: int = 0

    def launch(self) -> None:
        self.launches += 1
        self.child = Pretended()

    def is_ready(self) -> bool:
        return self.child.returncode is None


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


def _die(service: Service) -> None:
    service.child.returncode = 1


def test_who_lives_is_left_alone(clock: Time) -> None:
    supervisor, service = Supervisor(clock), Service()
    supervisor.keep(service)

    assert supervisor.tick() == []
    assert supervisor.probe()


def test_who_dies_is_started_again_after_a_wait_and_counted(clock: Time) -> None:
    supervisor, service = Supervisor(clock), Service()
    supervisor.keep(service)
    _die(service)

    supervisor.tick()
    assert not supervisor.probe()
    assert service.launches == 0
    clock.now += 0.6
    supervisor.tick()

    assert service.launches == 1
    assert supervisor.kept[0].restarts == 1
    assert supervisor.probe()


def test_the_wait_grows_with_each_quick_death_up_to_its_limit(clock: Time) -> None:
    supervisor, service = Supervisor(clock), Service()
    supervisor.keep(service)
    waits = []
    for _ in range(8):
        _die(service)
        supervisor.tick()
        due = supervisor.kept[0].due_s
        assert due is not None
        waits.append(due - clock.now)
        clock.now = due
        supervisor.tick()

    assert waits[:4] == [0.5, 1, 2, 4]
    assert waits[-1] == supervise.LONGEST_WAIT_S


def test_a_death_after_a_steady_life_starts_the_backoff_anew(clock: Time) -> None:
    supervisor, service = Supervisor(clock), Service()
    supervisor.keep(service)
    supervisor.kept[0].failures = 6
    clock.now += supervise.STEADY_S + 1
    _die(service)

    supervisor.tick()

    assert supervisor.kept[0].due_s == clock.now + 0.5
