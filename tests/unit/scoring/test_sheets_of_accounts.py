"""Contract data out of a file: what a row says, what is wrong with it and where, and when a profile is news."""

from pathlib import Path
from typing import Any

import pytest
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_scoring.accounts_cli import read_file
from churnsignal_scoring.health.assessment import Settled
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.sheet import Sheet

from tests.support.rows import loaded_from
from tests.unit.scoring.accounts import DAY_ONE, MAPPER, MONDAY, apply, command, engine, envelope

ENGINE = engine()


def sheet(tmp_path: Path, text: str) -> Sheet:
    file = tmp_path / "crm.csv"
    file.write_text(text, encoding="utf-8")
    return read_file(file, MAPPER)


def test_a_row_sets_what_it_says_leaves_what_is_empty_and_clears_what_is_null(tmp_path: Path) -> None:
    found = sheet(
        tmp_path,
        "\ufeffaccountId,CSM Email,ARR,renewalDate,Seats,plan\n"
        ' acme ,kei@example.com,"12,000.50",2027-03-31,,null\n'
        "1001,,,,40,\n"
        "nothing,,,,,\n",
    )  # fmt: skip

    assert found.problems == []
    assert [(edit.line, edit.account, edit.traits) for edit in found.edits] == [
        (2, "acme", {"owner": "kei@example.com", "arr": 12000.5, "renewal_on": "2027-03-31", "plan": None}),
        (3, "1001", {"seats": 40.0}),
    ]
    assert found.cleared == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("owner,arr\nkei,1\n", "1: no column for the account's id"),
        ("account_id,colour\na,red\n", "1: colour: no trait of this name"),
        ("account_id,arr,annual_recurring_revenue\na,1,2\n", "1: annual_recurring_revenue: means the same as arr"),
        ("account_id,arr\na,1\n\na,2\n", "4: account_id: 'a' is on line 2 too"),
        ("account_id,arr\n ,1\n", "2: account_id: an account's id of 1 to 255 bytes is missing"),
        ("account_id,arr\na,12k\n", "2: arr: '12k': write a number"),
        ("account_id,arr\na,-1\n", "2: arr: '-1': write a number"),
        ("account_id,seats\na,nan\n", "2: seats: 'nan': write a number"),
        ("account_id,renewal_date\na,31.3.2027\n", "2: renewal_date: '31.3.2027': write a day"),
        ("account_id,status\na,gone\n", "2: status: 'gone': write one of active"),
        ("account_id,tz\na,Tokyo\n", "2: tz: 'Tokyo': write a zone"),
        ("account_id,arr\na,1,2\n", "2: not as many cells"),
        ("account_id,arr\na\n", "2: not as many cells"),
        (f"account_id,owner\na,{'x' * 257}\n", "2: owner: " + repr("x" * 40) + ": write at most 256"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_column_and_what_to_write(tmp_path: Path, text: str, problem: str) -> None:
    found = sheet(tmp_path, text)

    assert [one for one in found.problems if one.startswith(problem)] == found.problems
    assert found.problems


def test_every_problem_of_a_file_is_said_at_once(tmp_path: Path) -> None:
    found = sheet(tmp_path, "account_id,arr,renewal_date\na,x,y\nb,1,z\n")

    assert [problem.split(":")[0] for problem in found.problems] == ["2", "2", "3"]


def settled(state: AccountState, *calls: Envelope) -> Settled:
    apply(ENGINE, state, calls)
    result = ENGINE.settle(state, MONDAY, None, DAY_ONE - 1, history=False)
    state.clean()
    return result


def said(call_id: str, hour: float, **traits: Any) -> Envelope:
    return envelope(call_id, hour / 24, kind="group", traits=traits)


def test_a_profile_is_published_when_it_changed_and_not_when_it_was_said_again() -> None:
    state = AccountState("acme")

    first = settled(state, said("a", 1, plan="pro", seats=10))
    again = settled(state, said("b", 2, plan="pro"))
    changed = settled(state, said("c", 3, plan="free"))

    assert (first.profile is None, again.profile, changed.profile is None) == (False, None, False)
    assert changed.profile is not None
    assert (changed.profile.plan, changed.profile.seats) == ("free", 10)


def test_what_was_published_is_remembered_when_the_state_leaves_memory() -> None:
    state = AccountState("acme")
    settled(state, said("a", 1, plan="pro"))
    state.mark_all()

    assert settled(loaded_from(state.rows()), said("b", 2, plan="pro")).profile is None


@pytest.mark.parametrize(
    ("calls", "arr"),
    [
        ([{"arr": 1200}], 1200),
        ([{"mrr": 100}], 1200),
        ([{"monthlyRecurringRevenue": "100"}], 1200),
        ([{"arr": 5000}, {"mrr": 100}], 1200),
        ([{"mrr": 100}, {"arr": 5000}], 5000),
        ([{"arr": 5000}, {"arr": None}], None),
        ([{"arr": 5000}, {"mrr": None}], 5000),
        ([{"mrr": 100}, {"arr": 5000}, {"arr": None}], 1200),
        ([{"arr": "a lot"}], None),
    ],
)
def test_a_years_revenue_is_what_was_said_last_a_months_counts_twelve_times(calls: list[dict[str, Any]], arr: float | None) -> None:
    state = AccountState("acme")
    found = [said(f"c{hour}", hour, name="Acme", **traits) for hour, traits in enumerate(calls)]

    profile = settled(state, *found[::-1]).profile

    assert profile is not None
    assert profile.arr == arr


def test_facts_come_in_any_order_any_spelling_and_by_any_way_and_null_clears_and_absent_keeps() -> None:
    calls = [
        said("a", 1, renewalDate="2027-03-31", notice_period=30, owner="kei", touchTier="high", timeZone="Asia/Tokyo", country="JP"),
        said("b", 2, owner=None, created_at="2020-01-02", parentId="group", currency="JPY", licensedUsers=7),
        command("c", 0.5, type="profile.edited", traits={"csm": "hana", "tier": "low"}, author="crm"),
    ]

    results = [settled(AccountState("acme"), *order).profile for order in (calls, calls[::-1])]

    assert results[0] == results[1]
    found = results[0]
    assert found is not None
    assert (str(found.renewal_on), found.notice_days, found.owner, found.tier, found.timezone) == (
        "2027-03-31",
        30,
        "hana",
        "low",
        "Asia/Tokyo",
    )
    assert (found.country, str(found.created_on), found.parent, found.currency, found.seats) == ("JP", "2020-01-02", "group", "JPY", 7)
