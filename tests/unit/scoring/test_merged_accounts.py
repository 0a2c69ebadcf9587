"""An account that is merged into another hands over all that was counted of it, and from then on whatever still arrives; nothing counts twice."""

import msgspec
import pytest
from churnsignal_common.contracts.envelope import Envelope, encoder
from churnsignal_common.contracts.risk import Band, Cause
from churnsignal_scoring.health.merging import PART_BYTES, parts
from churnsignal_scoring.health.rows import StateRows
from churnsignal_scoring.health.state import AccountState
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scoring.accounts import DAY_ONE, apply, command, engine, envelope, using
from tests.unit.scoring.test_credited_exactly_once import at_random
from tests.unit.scoring.town import Town

ENGINE = engine()
NAMES = ("acme", "beta", "corp")


def of(account: str, call: Envelope, **changed: object) -> Envelope:
    return msgspec.structs.replace(call, account=account, id=f"{account}.{call.id}", **changed)


def merge(old: str, new: str, hour: float = 0.9) -> Envelope:
    return of(old, command(f"merge-{new}", hour, type="account.merged", into=new, author="kei"))


def told(state: AccountState) -> StateRows:
    """What is counted of an account: its rows without what the band remembers."""
    state.mark_all()
    rows = state.rows()
    return rows._replace(account=rows.account._replace(rest=b"", segment=""))


@st.composite
def calls(draw: st.DrawFn) -> list[Envelope]:
    found = []
    for number in range(draw(st.integers(1, 20))):
        account, day = draw(st.sampled_from(NAMES)), draw(st.integers(-60, 0)) + number / 100
        event = draw(st.sampled_from(["Report Viewed", "Payment Failed", "Error", "Signed In"]))
        user, past = draw(st.sampled_from(["u1", "u2", None])), draw(st.booleans())
        found.append(of(account, envelope(f"c{number}", day, event=event, user=user, received_day=0.5), history=past))
    return found


@given(calls(), st.data())
@settings(max_examples=80)
def test_a_merge_at_any_moment_leaves_the_account_as_if_all_calls_had_been_its_own(sent: list[Envelope], data: st.DataObject) -> None:
    merges = [merge("acme", "beta"), merge("beta", "corp")]
    expected = apply(ENGINE, AccountState("corp"), [msgspec.structs.replace(call, account="corp") for call in sent])
    town = Town()
    # Commands come in one order per account; calls in any.
    town.put(data.draw(st.permutations([*sent, *sent[::3], *merges])))

    town.run(at_random(data, town))

    assert told(town.states.get("corp", AccountState("corp"))) == told(expected)
    assert town.applied == len(sent)
    for old in ("acme", "beta"):
        assert (town.states[old].merged_into is None, town.states[old].days, town.states[old].facts) == (False, {}, {})


@given(calls(), st.data())
@settings(max_examples=40)
def test_accounts_that_were_each_merged_into_the_other_lose_nothing_and_one_of_them_goes_on(
    sent: list[Envelope], data: st.DataObject
) -> None:
    town = Town()
    town.put(data.draw(st.permutations([*sent, merge("acme", "beta"), merge("beta", "acme")])))

    town.run(at_random(data, town))

    assert town.applied == len(sent)
    assert sum(town.states[name].merged_into is None for name in ("acme", "beta")) >= 1


def test_the_profile_of_a_merged_account_fills_gaps_and_overrules_nothing() -> None:
    town = Town()
    town.put([of("acme", envelope("g", 0.5, kind="group", traits={"plan": "free", "owner": "kei", "status": "churned", "arr": 5}))])
    town.put([of("beta", envelope("g", 0.1, kind="group", traits={"plan": "pro"}))])
    town.run()

    town.put([merge("acme", "beta")])
    town.run()

    facts = {name: versions[0].value for name, versions in town.states["beta"].facts.items()}
    assert facts == {"plan": "pro", "owner": "kei", "arr": 5}


@pytest.mark.parametrize("apart", [True, False])
def test_a_merged_account_ends_the_same_whether_its_profile_came_before_or_with_the_merge(apart: bool) -> None:
    town = Town()
    town.put([of("acme", envelope("g", 0.1, kind="group", traits={"plan": "pro"}))])
    if apart:
        town.run()
    town.put([merge("acme", "beta")])

    town.run()

    assert town.states["acme"].segment == "default"
    assert town.states["beta"].segment == "pro"


def test_a_red_account_that_is_merged_turns_grey_with_that_reason_and_holds_still() -> None:
    town = Town()
    town.put([of("acme", envelope("p", 0.1, event="Payment Failed")), *(of("acme", call) for call in using([0]))])
    town.run()

    town.put([merge("acme", "beta"), of("acme", envelope("late", 0.3))])
    town.run()

    assert [(change.to_band, change.cause, change.sequence) for change in town.changes] == [
        (Band.RED, Cause.EVENT, 1),
        (Band.GREY, Cause.MERGED, 2),
    ]
    assert town.changes[-1].account.merged_into == "beta"
    # The failed payment goes with it, and alerts nobody a second time.
    assert town.states["beta"].memory.band is Band.GREY
    assert town.states["beta"].memory.mark is Cause.HISTORY


def test_a_second_merge_of_the_same_account_is_ignored_and_said_so() -> None:
    town = Town()
    town.put([of("acme", call) for call in using([0])])
    town.put([merge("acme", "beta"), merge("acme", "corp")])

    town.run()

    assert town.counts[("ignored", "already_merged")] == 1
    assert "corp" not in town.states


def test_a_merge_into_itself_changes_nothing() -> None:
    town = Town()
    town.put([*(of("acme", call) for call in using([0])), merge("acme", "acme")])

    town.run()

    assert (town.states["acme"].merged_into, town.states["acme"].events_total) == (None, 2)


def test_an_account_of_many_users_is_handed_over_in_parts_that_fit_a_record_and_add_up() -> None:
    state = apply(ENGINE, AccountState("acme"), [envelope(f"c{n}", n % 50, user=f"{'u' * 200}{n}") for n in range(4000)])
    state.teams["invited"] = {(DAY_ONE + 1) // 28: {"u1": 5}}
    after = AccountState("acme")

    handed = list(parts(state))
    for part in handed[::-1]:
        after.absorb(part)

    assert len(handed) > 3
    assert max(len(encoder.encode(part)) for part in handed) < 2 * PART_BYTES
    assert max(sum(len(encoder.encode(row)) for row in (*part.days, *part.users)) for part in handed) <= PART_BYTES
    assert told(after) == told(state)
    assert after.lasts == state.lasts
    assert len(list(parts(AccountState("empty")))) == 1


def test_a_merged_account_is_nobodys_peer() -> None:
    town = Town()
    town.put([*(of("acme", call) for call in using([0])), merge("acme", "beta")])
    town.run()

    assert ENGINE.partial([town.states["acme"]], DAY_ONE).norms == {}
