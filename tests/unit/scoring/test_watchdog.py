"""The watchdog: a loop that stands still ends the process, one that waits for Postgres does not."""

import pytest
from churnsignal_common.runtime.health import Dependency
from churnsignal_scoring.watch import Stuck, Watchdog


def watchdog(beat_s: float, moved_s: float, postgres_ok: bool) -> Watchdog:
    postgres = Dependency("postgres")
    (postgres.up if postgres_ok else lambda: postgres.down("gone"))()
    return Watchdog(60, postgres, lambda: beat_s, lambda: moved_s)


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
    watchdog(beat_s, moved_s, postgres_ok).look(100)


@pytest.mark.parametrize(("beat_s", "moved_s", "why"), [(0, 100, "not turned for 100 s"), (100, 0, "none was read for 100 s")])
def test_a_loop_that_stands_still_ends_the_process_and_says_how(beat_s: float, moved_s: float, why: str) -> None:
    with pytest.raises(Stuck, match=why):
        watchdog(beat_s, moved_s, postgres_ok=True).look(100)
