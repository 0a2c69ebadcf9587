"""Norms: sums that merge in any order, what a day of silence is worth, and which families of signals mean something."""

from datetime import UTC, datetime

import msgspec
import pytest
from churnsignal_common.contracts.days import DayRecord, SegmentNorms
from churnsignal_common.contracts.risk import Band, Cause
from churnsignal_scoring.health.days import to_date
from churnsignal_scoring.health.norms import FULL_DAY, PEERS, WORTH_DAYS, merge_norms, read_norms
from churnsignal_scoring.health.state import AccountState, counted
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scoring.accounts import DAY_ONE, apply, engine, using

ENGINE = engine()
MADE = datetime(2026, 1, 6, 2, tzinfo=UTC)


def accounts(days: list[list[int]]) -> list[AccountState]:
    found = []
    for number, active in enumerate(days):
        state = apply(ENGINE, AccountState(f"a{number}"), using(active))
        state.segment = "pro" if number % 2 else "free"
        found.append(state)
    return found


@given(st.lists(st.lists(st.integers(0, 40), max_size=12), min_size=1, max_size=12), st.data(), st.integers(0, 45))
@settings(max_examples=60)
def test_partitions_merge_to_the_same_norms_however_accounts_are_spread(days: list[list[int]], data: st.DataObject, day: int) -> None:
    states = accounts(days)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(states)), max_size=3)))
    spread = [states[a:b] for a, b in zip([0, *cuts], [*cuts, len(states)], strict=True)]

    whole = merge_norms([ENGINE.partial(states, DAY_ONE + day)], None)
    parts = merge_norms(data.draw(st.permutations([ENGINE.partial(part, DAY_ONE + day) for part in spread])), None)

    assert parts == whole


@given(st.lists(st.integers(0, 30), max_size=12, unique=True), st.integers(0, 40))
@settings(max_examples=60)
def test_one_account_counts_as_it_was_at_the_end_of_the_day(days: list[int], day: int) -> None:
    states = accounts([days])
    norms = merge_norms([ENGINE.partial(states, DAY_ONE + day)], None)

    past = [active for active in days if active <= day]
    if not past:
        assert norms == {}
        return
    assert norms["free"].active == (day in past)
    assert norms["free"].active_days_28[sum(active > day - 28 for active in past)] == 1


def test_what_is_read_of_a_stored_account_counts_as_the_account_does() -> None:
    states = accounts([[0, 3, 9], [], [9], [2]])
    states[0].memory.fed, states[0].memory.outages, states[0].reported = ("web",), ((DAY_ONE + 4, DAY_ONE + 5),), {"users": DAY_ONE + 8}
    states[2].held = True
    stored = [state.rows().account for state in states]

    read = [counted(row.account, row.first_day, row.origin, row.habit, row.segment, row.rest, None) for row in stored]

    assert ENGINE.partial(read, DAY_ONE + 9) == ENGINE.partial(states, DAY_ONE + 9)


def chain(shares: list[int], accounts_each: int = 100) -> DayRecord:
    """Records of days on which so many of a hundred accounts were active."""
    record: DayRecord | None = None
    for number, active in enumerate(shares):
        state = accounts([[number]])[0]
        partial = ENGINE.partial([state], DAY_ONE + number)
        partial.norms["free"].seen = {"web": (accounts_each, active)}
        record = ENGINE.merge(DAY_ONE + number, [partial], {}, {} if record is None else {DAY_ONE + number - 1: record}, MADE)
    assert record is not None
    return record


def test_a_day_when_everybody_was_away_is_worth_little_and_a_busy_one_no_more_than_a_day() -> None:
    record = chain([50] * 40 + [5] * 3 + [90])

    norms = read_norms(record)["free"]

    assert [norms.worth(days) for days in (0, 1, 4)] == [0, 100, 100 + 3 * 10]
    assert norms.worth(44) - norms.worth(4) == 40 * FULL_DAY


def test_before_a_segment_is_known_each_day_is_a_whole_day() -> None:
    assert read_norms(chain([50] * 20 + [0] * 5))["free"].worth(10) == 10 * FULL_DAY


def test_few_accounts_are_no_norm() -> None:
    assert read_norms(chain([10] * 40 + [0] * 5, PEERS - 1))["free"].worth(10) == 10 * FULL_DAY
    assert read_norms(chain([10] * 40 + [0] * 5, PEERS))["free"].worth(10) < 10 * FULL_DAY


def test_what_is_typical_is_the_mean_while_a_segment_is_young() -> None:
    assert [chain(shares).norms["free"].typical for shares in ([50], [50, 30], [50, 30, 10])] == [500_000, 400_000, 300_000]


@given(st.lists(st.integers(0, 100), min_size=30, max_size=60), st.integers(0, 400))
@settings(max_examples=30)
def test_a_day_more_never_makes_a_silence_shorter(shares: list[int], silent: int) -> None:
    today, tomorrow = read_norms(chain(shares))["free"], read_norms(chain([*shares, 30]))["free"]

    assert today.worth(silent) <= today.worth(silent + 1)
    assert today.worth(silent) <= tomorrow.worth(silent + 1)


def test_the_table_of_worths_is_bounded() -> None:
    full = SegmentNorms(accounts=100, active=50, active_days_28=(100, *[0] * 28), days=500, typical=500_000, worths=(100,) * WORTH_DAYS)
    before = DayRecord(day=to_date(DAY_ONE), made_at=MADE, scorecard="s", mapping="m", norms={"free": full}, sources={})

    record = ENGINE.merge(DAY_ONE + 1, [ENGINE.partial(accounts([[1]]), DAY_ONE + 1)], {}, {DAY_ONE: before}, MADE)

    assert len(record.norms["free"].worths) == WORTH_DAYS


def test_accounts_long_gone_say_nothing_of_what_accounts_do() -> None:
    assert ENGINE.partial(accounts([[0]]), DAY_ONE + 90).norms["free"].seen == {"": (1, 0)}
    assert ENGINE.partial(accounts([[0]]), DAY_ONE + 91).norms == {}


@pytest.mark.parametrize("weeks", [2, 4])
def test_a_season_when_everybody_is_away_turns_nobody_red(weeks: int) -> None:
    states = [AccountState(f"a{number}") for number in range(PEERS)]
    at_work = {day for day in range(130) if day % 7 < 5 and not 84 <= day < 84 + weeks * 7}
    records: dict[int, DayRecord] = {}
    bands = set()

    for day in range(84 + weeks * 7 + 7):
        for state in states if day in at_work else ():
            apply(ENGINE, state, [msgspec.structs.replace(call, account=state.account) for call in using([day], users=2, each=1)])
        today = DAY_ONE + day
        records[today] = ENGINE.merge(today, [ENGINE.partial(states, today)], {}, records, MADE)
        bands |= {ENGINE.close(state, today, records[today], Cause.CLOSE).assessment.band for state in states}

    assert bands == {Band.GREY, Band.GREEN, Band.YELLOW}


def test_a_segment_of_which_no_partition_was_there_goes_on_and_learns_nothing() -> None:
    known = ENGINE.merge(DAY_ONE, [ENGINE.partial(accounts([[0], [0]]), DAY_ONE)], {}, {}, MADE)
    rest = ENGINE.partial(accounts([[0]]), DAY_ONE + 1)

    whole, partly = (ENGINE.merge(DAY_ONE + 1, [rest], {}, {DAY_ONE: known}, MADE, left_out) for left_out in ((), (3,)))

    assert (set(known.norms), set(whole.norms)) == ({"free", "pro"}, {"free"})
    assert partly.norms["free"] == whole.norms["free"]
    assert partly.norms["pro"] == msgspec.structs.replace(known.norms["pro"], worths=(FULL_DAY, *known.norms["pro"].worths))
