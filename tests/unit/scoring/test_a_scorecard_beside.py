"""A scorecard beside the one in force: its own band from close to close, told to nobody, and what it is compared by."""

from dataclasses import replace

import pytest
from churnsignal_common.contracts.risk import Band
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.memory import Shadow
from churnsignal_scoring.health.scorecard import Scorecard
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.versions import fixed_policy

from tests.unit.scoring.accounts import DAY_ONE, MAPPER, SCORECARD, apply, close_days, command, engine, using

STRICT = replace(
    SCORECARD,
    version="strict",
    bands=replace(SCORECARD.bands, green_enter=9_999, green_leave=9_998, red_enter=9_000, red_leave=9_500, pause_percent=0, worse_closes=2),
)


def beside(card: Scorecard) -> AccountEngine:
    machine = engine()
    machine.adopt(fixed_policy(MAPPER, SCORECARD, card))
    return machine


def used(machine: AccountEngine, days: range, last: int) -> AccountState:
    state = apply(machine, AccountState("acme"), using(days, users=3))
    close_days(machine, state, 0, last)
    return state


def shadow(state: AccountState) -> Shadow:
    assert state.memory.shadow is not None
    return state.memory.shadow


def test_what_is_published_is_the_same_with_a_shadow_as_without() -> None:
    plain, shadowed = (apply(machine, AccountState("acme"), using(range(60))) for machine in (engine(), beside(STRICT)))

    told = [one.change for one in close_days(engine(), plain, 0, 100)]
    told_beside = [one.change for one in close_days(beside(STRICT), shadowed, 0, 100)]

    assert told == told_beside
    assert shadow(shadowed).shadow.turned_red == 1


def test_the_same_scorecard_beside_itself_always_agrees() -> None:
    machine = beside(replace(SCORECARD, version="twin"))
    state = used(machine, range(60), 59)

    sides = []
    for day in range(60, 130):
        close_days(machine, state, day, day)
        sides.append((shadow(state).in_force, shadow(state).shadow))

    assert all(in_force == beside_it for in_force, beside_it in sides)
    assert sides[-1][1].turned_red == 1
    assert sides[-1][1].first_red is not None


def test_a_shadow_waits_its_own_dwell_before_it_turns_red() -> None:
    machine = beside(STRICT)
    state = used(machine, range(60), 59)

    bands = []
    for day in range(60, 75):
        close_days(machine, state, day, day)
        bands.append((shadow(state).in_force.band, shadow(state).shadow.band))

    assert (Band.YELLOW, Band.RED) in bands or (Band.GREEN, Band.RED) in bands
    assert shadow(state).since == DAY_ONE


def test_a_shadow_of_a_red_account_begins_red_while_use_is_not_back() -> None:
    machine = engine()
    state = used(machine, range(60), 110)
    never_red = replace(SCORECARD, version="never red", bands=replace(SCORECARD.bands, red_enter=0, red_leave=0))

    machine.adopt(fixed_policy(MAPPER, SCORECARD, never_red))
    close_days(machine, state, 111, 111)

    assert state.memory.own is Band.RED
    assert shadow(state).own is Band.RED


def test_an_account_that_holds_still_holds_still_under_both() -> None:
    machine = beside(STRICT)
    state = apply(machine, used(machine, range(60), 59), [command("x", 60, type="outcome.recorded", outcome="churned", author="eve")])

    close_days(machine, state, 60, 60)
    before = shadow(state)
    close_days(machine, state, 61, 120)

    assert shadow(state) == before


@pytest.mark.parametrize("then", [None, replace(STRICT, version="other")])
def test_a_shadow_that_ended_or_is_another_one_starts_anew(then: Scorecard | None) -> None:
    machine = beside(STRICT)
    state = used(machine, range(60), 59)

    machine.adopt(fixed_policy(MAPPER, SCORECARD, then))
    close_days(machine, state, 60, 60)

    assert (state.memory.shadow and state.memory.shadow.since) == (then and DAY_ONE + 60)
