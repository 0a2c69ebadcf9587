"""A live score keeps what it has read until what it stands on moves: whatever happens to an account, it is what a new evaluation says."""

import copy
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from churnsignal_common.contracts.days import DayRecord, SourceVerdict
from churnsignal_common.contracts.risk import Band, Cause
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.assessment import Settled
from churnsignal_scoring.health.curves import curve
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.merging import parts
from churnsignal_scoring.health.scorecard import Flag, MeasureHolds
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.residents import Resident, Residents
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scoring.accounts import DAY_ONE, SCORECARD, apply, command, engine, envelope, record, using
from tests.unit.scoring.reading import profile
from tests.unit.scoring.test_every_measure import PAIRS, card_of

ERRORS = MeasureHolds(MEASURES["count"], {**MEASURES["count"].options, "signal": "error"}, at_least=300)
TOLD: dict[str, Any] = {"onboarding": {"milestones": ("error",)}, "time_to_value": {"milestone": "error"}}
CARD = replace(
    card_of([(measure, curve([(0, 0), (100, 100)]), {**PAIRS[name].options, **TOLD.get(name, {})}) for name, measure in MEASURES.items()]),
    least_age_days=0,
    knockouts=(*SCORECARD.knockouts, Flag("errors", Band.RED, (ERRORS,))),
)
ENGINES = {"default": engine(), "all measures": engine(CARD)}
EVENTS = ("Report Viewed", "Report Viewed", "Error", "Login", "Exports", "Ticket Opened", "Payment Failed", "Invoice Paid")


def settle_both(
    machine: AccountEngine, state: AccountState, day: int, known: DayRecord, *, history: bool = False
) -> tuple[Settled, Settled]:
    """Settle the account, and a copy of it that remembers nothing of earlier evaluations."""
    live, state.live = state.live, None
    fresh = replace(copy.deepcopy(state), memo={})
    state.live = live
    now = machine.zone.start_of(day + 1)
    settled = machine.settle(state, now, known, day, history), machine.settle(fresh, now, known, day, history)
    assert state == fresh
    assert (state.live and state.live.found) == (fresh.live and fresh.live.found)
    state.clean()
    return settled


def packed(state: AccountState) -> AccountState:
    """Return the account as it comes back after many others were used."""
    residents = Residents(400_000)
    for account in (state, *(AccountState(f"other{number}") for number in range(100))):
        residents.put(Resident(account, 0, 0))
        residents.touch([account.account])
    assert residents.peek(state.account).state is not state
    return residents.get(state.account).state


steps = st.one_of(
    st.tuples(st.just("calls"), st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from(["u0", "u1", "new", None])), max_size=4)),
    st.tuples(st.just("calls"), st.lists(st.tuples(st.sampled_from(EVENTS[:2]), st.just("u0")), max_size=4)),
    st.tuples(st.just("late"), st.integers(1, 40)),
    st.tuples(st.just("import"), st.integers(0, 40)),
    st.tuples(st.just("fact"), st.sampled_from(["seats", "plan", "nps", "champion", "lifecycle", "segment"])),
    st.tuples(st.sampled_from(["hand", "import hand"]), st.sampled_from(["red", "green"])),
    st.tuples(st.just("absorb"), st.integers(0, 50)),
    st.tuples(st.just("close"), st.booleans()),
    st.tuples(st.sampled_from(["pack", "hand over"]), st.none()),
)


@pytest.mark.parametrize("name", ENGINES)
@given(st.integers(0, 50), st.lists(steps, min_size=1, max_size=15))
@settings(max_examples=40)
def test_what_was_read_before_says_what_a_new_evaluation_says(name: str, began: int, then: list[tuple[str, Any]]) -> None:
    machine, day = ENGINES[name], 60
    state = apply(machine, AccountState("acme"), [*using(range(began, 59), users=2), profile(1, seats=5)])
    known = record(machine, DAY_ONE + day - 1)
    machine.close(state, DAY_ONE + day - 1, known, Cause.CLOSE)

    for number, (what, told) in enumerate(then):
        at = day + number / 100
        match what:
            case "calls":
                apply(machine, state, [envelope(f"{number}.{n}", at, event=event, user=user) for n, (event, user) in enumerate(told)])
            case "late" | "import":
                apply(machine, state, [envelope(f"{number}", at - told, received_day=at)])
            case "fact":
                apply(machine, state, [profile(at, **{told: "churned" if number % 2 else number})])
            case "hand" | "import hand":
                kind = {"type": "override.set", "band": told, "reason": "r", "author": "a", "expires_at": "2027-01-01T00:00:00Z"}
                apply(machine, state, [command(f"{number}", at, **kind)])
            case "absorb":
                other = apply(machine, AccountState("beta"), using(range(told, 60), users=3))
                for part in parts(other):
                    state.absorb(part)
            case "hand over":
                machine.hand_over(state, "corp", machine.zone.start_of(DAY_ONE + day), known, DAY_ONE + day - 1)
            case "pack":
                state = packed(state)
            case _:
                verdict = SourceVerdict(events=0 if told else 100, silent=told)
                known = msgspec.structs.replace(record(machine, DAY_ONE + day), sources={"web": verdict})
                machine.close(state, DAY_ONE + day, known, Cause.CLOSE)
                day += 1
        mine, new = settle_both(machine, state, DAY_ONE + day - 1, known, history=what.startswith("import"))
        assert mine == new


@given(
    st.sets(st.integers(0, 40), min_size=1),
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(EVENTS), st.sampled_from(["u0", "u1", None])), min_size=8, max_size=25),
    st.integers(1, 90),
)
@settings(max_examples=10)
def test_a_close_that_remembers_what_it_read_yesterday_says_what_one_that_does_not_says(
    used: set[int], calls: list[tuple[int, str, str | None]], late: int
) -> None:
    machine, by_heart, forgetful = ENGINES["all measures"], AccountState("acme"), AccountState("acme")
    for day in range(100):
        today = [envelope(f"{n}", day, event=event, user=user) for n, (on, event, user) in enumerate(calls) if on == day]
        today += [envelope("last", day, event="Login")] if day == max(used) else []
        soon = [envelope("soon", day + 1.1, event="Ticket Opened")] if day % 10 == 0 else []
        known = record(machine, DAY_ONE + day)
        told = []
        for state in (by_heart, forgetful):
            apply(machine, state, [*using([day] if day in used else []), *today, *soon])
            if day == late:
                apply(machine, state, [envelope("late", day // 2, user="u2", received_day=day)])
            closed = machine.close(state, DAY_ONE + day, known, Cause.CLOSE)
            reasons = None if closed.closed is None or closed.closed.reasons is None else closed.closed.reasons()
            told.append((closed.assessment, closed.change, reasons))
        assert told[0] == told[1]
        forgetful.memo.clear()


def test_what_is_remembered_leaves_with_the_days_that_are_forgotten() -> None:
    machine, by_heart, forgetful = ENGINES["all measures"], AccountState("acme"), AccountState("acme")
    for state in (by_heart, forgetful):
        apply(machine, state, using(range(50)))
        state.days[DAY_ONE + 45]["urgent_ticket_opened"] = 1
    for day in range(49, 190):
        known = record(machine, DAY_ONE + day)
        for state in (by_heart, forgetful):
            machine.close(state, DAY_ONE + day, known, Cause.CLOSE)
        forgetful.memo.clear()
    assert by_heart.reported == forgetful.reported


def test_a_call_that_no_reading_looks_at_is_not_evaluated_again() -> None:
    machine = ENGINES["default"]
    state = apply(machine, AccountState("acme"), [*using(range(3)), envelope("first", 3)])
    known = record(machine, DAY_ONE + 2)
    settle_both(machine, state, DAY_ONE + 2, known)
    live = state.live

    apply(machine, state, [envelope("again", 3.1, event="Exports", user="u2")])
    settle_both(machine, state, DAY_ONE + 2, known)
    assert state.live is live

    apply(machine, state, [envelope("imported", 3.15)])
    settle_both(machine, state, DAY_ONE + 2, known, history=True)
    assert (state.live, state.memory.mark) == (None, Cause.HISTORY)

    settle_both(machine, state, DAY_ONE + 2, known)
    live = state.live
    apply(machine, state, [envelope("trouble", 3.2, event="Error")])
    settle_both(machine, state, DAY_ONE + 2, known)
    assert state.live is not live
    assert packed(state).live == state.live
