"""Accounts in memory: quiet ones are packed and come back as they were, and the quietest of all leave."""

import tracemalloc
from datetime import UTC, datetime

import msgspec
import pytest
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_scoring.health import state as state_module
from churnsignal_scoring.health.rows import Fact
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.residents import Resident, Residents

from tests.unit.scoring.accounts import DAY_ONE, apply, engine, envelope, using

ROOM = 100_000
"""For some fifteen accounts as they are, and some ninety packed."""
ENGINE = engine()


def lived(number: int) -> Resident:
    """Return an account with something of everything."""
    state = AccountState(f"a{number}", first_day=5, last_active=9, events_total=number, origin=5, active=0b10001)
    state.days = {5: {"use": number + 1}, 9: {"use": 2, "@web": 2}}
    state.blocks, state.teams = {0: {"kei": 0b10000, "": 1}}, {"admin": {0: {"kei": 1}}}
    state.facts = {"plan": [Fact("pro", 7, "e1", "web", 5)], "seats": [Fact(10**30, 8, "e2", "web", 5)]}
    state.last_event, state.held, state.published = datetime(2026, 1, 9, 8, 7, 6, 5, UTC), number % 3 == 0, "f00"
    state.lasts = {9: (state.last_event, "e3")}
    state.segment, state.reported, state.merged_into = "smb", {"nps": 5}, "other" if number % 2 else None
    for score in (None, 0, 10_000):
        state.memory.note(score)
    return Resident(state, number % 8, 9)


def full(count: int) -> Residents:
    residents = Residents(ROOM)
    for number in range(count):
        residents.put(lived(number))
        residents.touch([f"a{number}"])
    return residents


def test_a_quiet_account_comes_back_as_it_was() -> None:
    residents = full(60)

    assert all(residents.get(f"a{number}") == lived(number) for number in range(60))


def test_the_accounts_used_least_recently_have_to_be_loaded_again() -> None:
    residents = full(20)
    for number in range(20, 300):
        residents.get("a0")
        residents.put(lived(number))
        residents.touch([f"a{number}", "a0"])

    gone = residents.missing([f"a{number}" for number in range(300)])
    assert gone == [f"a{number}" for number in range(1, len(gone) + 1)]
    assert len(residents) == 300 - len(gone) > 60
    assert residents.size <= ROOM


def test_what_was_forgotten_has_to_be_loaded_again() -> None:
    residents = full(60)
    residents.forget()

    assert residents.missing(["a0", "a59"]) == ["a0", "a59"]
    assert residents.size == 0


def test_who_is_only_looked_at_keeps_its_place_and_what_became_of_it() -> None:
    residents = full(60)
    quietest, busiest = residents.peek("a0"), residents.peek("a59")
    for resident in (quietest, busiest):
        resident.closed_day += 1
    residents.keep([quietest, busiest, lived(60)])

    assert residents.peek("a0").closed_day == residents.peek("a59").closed_day == 10
    assert residents.missing(["a60"]) == ["a60"]
    number = 60
    while not residents.missing(["a0"]):
        number += 1
        residents.put(lived(number))
        residents.touch([f"a{number}"])
    assert residents.missing(["a0", "a59"]) == ["a0"]


def crowd(residents: Residents, name: str, calls: list[Envelope]) -> None:
    """Apply the calls of one transaction to an account in memory, or to a new one."""
    found = residents.find(name)
    if found is None:
        found = Resident(AccountState(name), 0, 9)
        residents.put(found)
    apply(ENGINE, found.state, [msgspec.structs.replace(call, account=name) for call in calls])
    found.state.clean()


def test_an_account_of_nine_tenths_of_the_calls_and_ever_new_users_takes_what_is_said_and_pushes_nobody_else_out_for_long() -> None:
    tracemalloc.start()
    residents, before = Residents(1_000_000), tracemalloc.get_traced_memory()[0]
    for turn in range(40):
        crowd(residents, "hot", [envelope(f"h{turn}.{n}", 0, user=f"stranger-{turn}.{n}") for n in range(90)])
        others = [f"other{(turn * 10 + n) % 100}" for n in range(10)]
        for name in others:
            crowd(residents, name, [envelope(f"{name}.{turn}", turn % 5, user="u")])
        residents.touch(["hot", *others])
    hot = residents.peek("hot").state
    taken, size = tracemalloc.get_traced_memory()[0] - before, residents.size
    tracemalloc.stop()
    for turn in range(40):
        crowd(residents, f"later{turn}", using(range(20)))
        residents.touch([f"later{turn}"])

    assert len(hot.blocks[DAY_ONE // 28]) == 3_600
    assert 0.5 < taken / size < 1.5
    assert size <= 1_000_000
    assert residents.missing(["hot", *(f"other{n}" for n in range(100))]) == []
    assert residents.size <= 1_000_000


def test_a_full_block_and_many_facts_weigh_what_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "BLOCK_USERS", 3_000)
    users = [envelope(f"h{n}", 0, user=f"stranger-{n}-of-an-account-too-large") for n in range(3_100)]
    facts = [Fact(f"{n}" * 50, n, f"event-{n}", "web", n % 4) for n in range(3_000)]
    tracemalloc.start()
    residents, before = Residents(10_000_000), tracemalloc.get_traced_memory()[0]
    crowd(residents, "hot", users)
    hot = residents.get("hot").state
    for n, fact in enumerate(facts):
        hot.learn(f"trait{n % 700}", msgspec.structs.replace(fact, value=fact.value + "!", event_id=fact.event_id + "!"))
    hot.clean()
    residents.put(residents.get("hot"))
    taken, size = tracemalloc.get_traced_memory()[0] - before, residents.size
    tracemalloc.stop()

    assert len(hot.crowds) == 1
    assert 0.7 < taken / size < 1.3


def test_who_takes_more_than_there_is_room_for_stays_only_while_it_is_used() -> None:
    residents = Residents(200_000)
    crowd(residents, "huge", [envelope(f"h{n}", 0, user=f"{n * 2654435761 % 2**40:x}") for n in range(20_000)])
    residents.touch(["huge"])
    alone = len(residents), residents.size
    crowd(residents, "other", [envelope("o", 0)])
    residents.touch(["other"])

    assert alone[0] == 1
    assert alone[1] > 200_000
    assert residents.missing(["huge", "other"]) == ["huge"]
    assert residents.size <= 200_000
