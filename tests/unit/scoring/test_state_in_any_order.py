"""State is the same whatever order distinct calls arrive in, however they are batched, and however often it is written and read."""

from collections.abc import Callable

import pytest
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.risk import Cause
from churnsignal_common.mapping.usage import FEATURE_PREFIX
from churnsignal_scoring.health import state as state_module
from churnsignal_scoring.health.merging import parts
from churnsignal_scoring.health.rows import StateRows
from churnsignal_scoring.health.state import BUCKET_FEATURES, HABIT_DAYS, RETENTION_DAYS, AccountState
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rows import loaded_from
from tests.unit.scoring.accounts import DAY_ONE, apply, command, engine, envelope, record

ENGINE = engine()


def digest(state: AccountState) -> StateRows:
    state.mark_all()
    return state.rows()


def after(calls: list[Envelope]) -> AccountState:
    return apply(ENGINE, AccountState("acme"), calls)


names = st.sampled_from(["Report Viewed", "Signed In", "Error", "Payment Failed", "Registered", "Ticket Opened", "Deal 12345 won"])


@st.composite
def calls(draw: st.DrawFn) -> list[Envelope]:
    found: list[Envelope] = []
    for number in range(draw(st.integers(1, 25))):
        received = draw(st.integers(0, 60))
        late = draw(st.sampled_from([0, 0, 0, 1, 5, 40, RETENTION_DAYS - 1, RETENTION_DAYS, HABIT_DAYS - 1, HABIT_DAYS, 900]))
        day = received - late + draw(st.integers(0, 4)) / 10
        match draw(st.integers(0, 9)):
            case 0:
                found.append(envelope(f"c{number}", day, kind="group", traits={"plan": draw(st.sampled_from(["pro", "free", None]))}))
            case 1:
                found.append(
                    command(f"c{number}", day, type="outcome.recorded", outcome=draw(st.sampled_from(["churned", "renewed"])), author="a")
                )
            case _:
                user = draw(st.sampled_from(["u1", "u2", "u3", None]))
                found.append(
                    envelope(f"c{number}", day, event=draw(names), user=user, received_day=received, source=draw(st.sampled_from("ab")))
                )
    return found


@given(calls(), st.data())
@settings(max_examples=150)
def test_any_order_of_distinct_calls_gives_an_equal_state(sent: list[Envelope], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(sent))

    assert digest(after(sent)) == digest(after(shuffled))


@given(calls(), st.integers(0, 60))
@settings(max_examples=100)
def test_a_close_sees_nothing_of_what_comes_after_its_day(sent: list[Envelope], day: int) -> None:
    end = ENGINE.zone.end_of(DAY_ONE + day)
    states = after(sent), after([call for call in sent if call.occurred_at < end])

    closes = [ENGINE.close(state, DAY_ONE + day, record(ENGINE, DAY_ONE + day, [state]), Cause.CLOSE) for state in states]

    assert closes[0].assessment == closes[1].assessment
    assert closes[0].closed and closes[1].closed
    assert closes[0].closed.band is closes[1].closed.band


def test_a_day_whose_first_call_came_too_late_for_the_habit_still_counts_when_an_earlier_one_follows() -> None:
    in_time = envelope("a", 0, received_day=HABIT_DAYS - 1)
    too_late = envelope("b", 0, received_day=HABIT_DAYS)

    assert digest(after([too_late, in_time])) == digest(after([in_time, too_late]))
    assert after([too_late, in_time]).active == 1


@given(calls(), st.data(), st.integers(0, 70))
@settings(max_examples=100)
def test_any_order_gives_an_equal_state_after_a_close_too(sent: list[Envelope], data: st.DataObject, day: int) -> None:
    states = after(sent), after(data.draw(st.permutations(sent)))

    closes = [ENGINE.close(state, DAY_ONE + day, record(ENGINE, DAY_ONE + day, [state]), Cause.CLOSE) for state in states]

    kept = [one.closed and one.closed.reasons and one.closed.reasons() for one in closes]
    assert kept[0] == kept[1]
    assert (
        len({(one.assessment, one.change, one.profile, one.ranks, one.closed and (one.closed.band, one.closed.sequence)) for one in closes})
        == 1
    )
    assert digest(states[0]) == digest(states[1])


@given(calls())
@settings(max_examples=50)
def test_a_state_survives_being_written_and_read(sent: list[Envelope]) -> None:
    state = after(sent)

    rows = digest(state)

    assert digest(loaded_from(rows)) == rows


@given(calls(), st.integers(0, 24))
@settings(max_examples=50)
def test_a_state_written_half_way_goes_on_as_if_it_never_left_memory(sent: list[Envelope], cut: int) -> None:
    state = loaded_from(digest(after(sent[:cut])))

    apply(ENGINE, state, sent[cut:])

    assert digest(state) == digest(after(sent))


def test_only_what_changed_is_written() -> None:
    state = after([envelope("a", 0), envelope("b", 1, user="u2"), envelope("g", 1, kind="group", traits={"plan": "pro"}, user=None)])
    state.clean()

    apply(ENGINE, state, [envelope("c", 1, user="u2")])
    rows = state.rows()

    assert [row.day for row in rows.days] == [DAY_ONE + 1]
    assert rows.users == []
    assert rows.facts == []

    state.mark_all()
    whole = state.rows()
    assert [len(part) for part in (whole.days, whole.users, whole.facts)] == [2, 2, 1]


def test_the_features_of_a_wild_day_are_bounded_and_independent_of_order() -> None:
    # Names without digits: runs of digits would be folded into one name before.
    wild = [envelope(f"c{number}", number / 1000, event="".join(chr(97 + int(digit)) for digit in str(number))) for number in range(300)]

    forth, back = after(wild), after(wild[::-1])

    features = [name for name in forth.days[DAY_ONE] if name.startswith(FEATURE_PREFIX)]
    assert len(features) == BUCKET_FEATURES
    assert forth.days[DAY_ONE]["use"] == 300
    assert digest(forth) == digest(back)


def test_the_names_of_things_with_numbers_are_one_feature() -> None:
    state = after([envelope("a", 0, event="Order 48213 viewed"), envelope("b", 0, event="Order 5077 viewed")])

    assert state.days[DAY_ONE]["feature_used:Order # viewed"] == 2


def test_a_call_older_than_the_retention_counts_as_habit_only() -> None:
    state = after([envelope("a", -RETENTION_DAYS, received_day=0)])

    assert (state.days, state.blocks) == ({}, {})
    assert (state.first_day, state.last_active, state.active) == (DAY_ONE - RETENTION_DAYS, DAY_ONE - RETENTION_DAYS, 1)


def test_a_fact_keeps_the_value_it_had_at_the_close_until_that_close_is_made() -> None:
    state = after([envelope("a", 0, kind="group", traits={"plan": "pro"}), envelope("b", 1, kind="group", traits={"plan": "free"})])

    closed = ENGINE.close(state, DAY_ONE, record(ENGINE, DAY_ONE, [state]), Cause.CLOSE)

    assert closed.assessment.segment == "pro"
    assert [version.value for version in state.facts["plan"]] == ["free", "pro"]


def test_old_versions_of_a_fact_go_with_the_next_close() -> None:
    state = after([envelope(f"p{day}", day, kind="group", traits={"plan": f"p{day}"}) for day in range(5)])
    state.clean()

    ENGINE.close(state, DAY_ONE + 3, record(ENGINE, DAY_ONE + 3), Cause.CLOSE)

    assert [version.value for version in state.facts["plan"]] == ["p4", "p3"]
    assert [row.name for row in state.rows().facts] == ["plan"]


def _sizes(change: Callable[[AccountState], object]) -> tuple[int, int]:
    state = after([envelope(f"d{day}", day) for day in range(0, 300, 3)])
    change(state)
    return len(state.days), len(state.blocks)


def test_a_close_forgets_what_no_evaluation_can_see() -> None:
    days, blocks = _sizes(lambda state: ENGINE.close(state, DAY_ONE + 299, record(ENGINE, DAY_ONE + 299), Cause.CLOSE))

    assert days == 39  # each third of the last 119 days
    assert blocks == 5


def crowded(users: list[int], split: int) -> AccountState:
    """The state after a use by each of these users: some stored and loaded again, some after that, and some absorbed from another account."""
    calls = [envelope(f"c{place}", user % 3, user=f"u{user}") for place, user in enumerate(users)]
    first = after(calls[:split])
    loaded = loaded_from(digest(first))
    apply(ENGINE, loaded, calls[split : split + 5])
    stored = {row[:3]: row for row in (*first.user_rows(), *loaded.rows().users)}
    for row in loaded.gone_rows():
        stored.pop(row[:3], None)
    assert sorted(stored.values()) == sorted(loaded.user_rows())
    for part in parts(after(calls[split + 5 :])):
        loaded.absorb(part)
    return loaded


@given(st.permutations(range(20)), st.integers(0, 20))
def test_of_more_users_than_are_kept_the_same_ones_stay_in_whatever_order_they_came(users: list[int], split: int) -> None:
    with pytest.MonkeyPatch.context() as few:
        few.setattr(state_module, "BLOCK_USERS", 6)
        mixed, plain = crowded(users, split), crowded(list(range(20)), 20)

    assert mixed.blocks == plain.blocks
    assert len(mixed.blocks[DAY_ONE // 28]) == 6


def test_users_are_counted_exactly_up_to_a_hundred_thousand_and_so_many_are_kept_of_ever_new_ones() -> None:
    state = AccountState("acme")
    counts = []
    for number in range(105_000):
        state._note_user(state.blocks, DAY_ONE, f"u{number}")
        counts.append(len(state.blocks[DAY_ONE // 28]))

    assert counts == [min(number, 100_000) for number in range(1, 105_001)]
