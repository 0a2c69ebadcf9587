"""The product's clock: real, or moved by one file for all processes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from churnsignal_common.clock import ClockFile, FileClock, RealClock, open_clock, paused_at

NOON = datetime(2018, 1, 1, 12, tzinfo=UTC)


def test_a_paused_file_clock_stands_still(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    paused_at(NOON).write(path)

    clock = FileClock(path)

    assert clock.now() == clock.now() == NOON


def test_every_reader_follows_when_the_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    paused_at(NOON).write(path)
    first, second = FileClock(path), FileClock(path)

    paused_at(NOON + timedelta(days=3)).write(path)

    assert first.now() == second.now() == NOON + timedelta(days=3)


def test_a_running_file_clock_moves_at_its_rate(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    ClockFile(real_s=0.0, product_s=NOON.timestamp(), rate=2.0).write(path)

    assert FileClock(path).now() > NOON + timedelta(days=365)


def test_replacing_the_file_leaves_nothing_else_behind(tmp_path: Path) -> None:
    paused_at(NOON).write(tmp_path / "clock.json")

    assert [p.name for p in tmp_path.iterdir()] == ["clock.json"]


def test_the_real_clock_is_aware_and_utc() -> None:
    assert isinstance(clock := open_clock("real", dev=False), RealClock)
    assert clock.now().tzinfo is UTC


@pytest.mark.parametrize(("spec", "dev", "says"), [("file:/x", False, "CHURNSIGNAL_ENV=dev"), ("sundial", True, "`real` or `file:")])
def test_a_clock_that_may_not_be_is_refused_with_the_fix(spec: str, dev: bool, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        open_clock(spec, dev=dev)
