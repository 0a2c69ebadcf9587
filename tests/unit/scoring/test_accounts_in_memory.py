"""Accounts in memory: quiet ones are packed and come back as they were, and the quietest of all leave."""

from datetime import UTC, datetime

from churnsignal_scoring.health.rows import Fact
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.residents import PACKED_SHARE, Resident, Residents

CAPACITY = 100 * PACKED_SHARE


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
    residents = Residents(CAPACITY)
    for number in range(count):
        residents.put(lived(number))
        residents.touch([f"a{number}"])
    return residents


def test_a_quiet_account_comes_back_as_it_was() -> None:
    residents = full(CAPACITY)

    assert all(residents.get(f"a{number}") == lived(number) for number in (0, 1, CAPACITY // 2, CAPACITY - 1))


def test_only_the_account_used_least_recently_has_to_be_loaded_again() -> None:
    residents = full(CAPACITY)
    residents.get("a0")
    residents.touch(["a0"])
    residents.put(lived(CAPACITY))
    residents.touch([f"a{CAPACITY}"])

    names = [f"a{number}" for number in range(CAPACITY + 1)]
    assert residents.missing(names) == ["a1"]
    assert len(residents) == CAPACITY


def test_what_was_forgotten_has_to_be_loaded_again() -> None:
    residents = full(CAPACITY)
    residents.forget()

    assert residents.missing(["a0", f"a{CAPACITY - 1}"]) == ["a0", f"a{CAPACITY - 1}"]


def test_who_is_only_looked_at_keeps_its_place_and_what_became_of_it() -> None:
    residents = full(CAPACITY)
    quietest, busiest = residents.peek("a0"), residents.peek(f"a{CAPACITY - 1}")
    for resident in (quietest, busiest):
        resident.closed_day += 1
    residents.keep([quietest, busiest, lived(CAPACITY)])

    assert residents.peek("a0").closed_day == residents.peek(f"a{CAPACITY - 1}").closed_day == 10
    assert residents.missing([f"a{CAPACITY}"]) == [f"a{CAPACITY}"]
    residents.put(lived(CAPACITY + 1))
    residents.touch([f"a{CAPACITY + 1}"])
    assert residents.missing(["a0"]) == ["a0"]
