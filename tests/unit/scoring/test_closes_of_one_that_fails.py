"""An account that cannot be evaluated costs no other account its day, and stays as it was."""

from dataclasses import replace

import msgspec
import pytest
from churnsignal_common.contracts.risk import Band
from churnsignal_scoring.conclude import Conclude
from churnsignal_scoring.effects import Effects
from churnsignal_scoring.health.measures.measure import Missing, Options, Reading
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.health.view import View
from churnsignal_scoring.ledger import Closing, Ledger
from churnsignal_scoring.metrics import Metrics, count_effects
from churnsignal_scoring.residents import Resident

from tests.unit.scoring.accounts import DAY_ONE, MONDAY, SCORECARD, apply, engine, record, using

FAILS = range(DAY_ONE + 70, DAY_ONE + 73)


def failing(view: View, options: Options) -> Reading | Missing:
    """What the first measure reads, but for one account on some days."""
    if view.state.account == "acme" and view.as_of in FAILS:
        raise ZeroDivisionError
    return SCORECARD.measures[0].measure.read(view, options)


FIRST, *REST = SCORECARD.measures
ENGINE = engine(replace(SCORECARD, measures=(replace(FIRST, measure=replace(FIRST.measure, read=failing)), *REST), _shares={}))


def closed(accounts: tuple[str, ...], until: int, *, loaded: bool = False) -> tuple[dict[str, Resident], list[Effects]]:
    """The accounts, used for sixty days and silent since, with every day closed; `loaded`: from their rows each day."""
    calls = using(range(60), users=3)
    states = [apply(ENGINE, AccountState(name), [msgspec.structs.replace(call, account=name) for call in calls]) for name in accounts]
    residents = {state.account: Resident(state, 0, DAY_ONE - 1) for state in states}
    closing = Closing(DAY_ONE - 1, DAY_ONE - 1)
    ledger = Ledger({0: closing})
    conclude, done = Conclude(ENGINE, ledger), []
    for day in range(DAY_ONE, DAY_ONE + until + 1):
        closing.recorded = day
        ledger.learn(day, record(ENGINE, day, [one.state for one in residents.values()], ledger.records))
        done.append(Effects(MONDAY, day))
        for one in residents.values():
            conclude.close(one, done[-1])
            if loaded:
                one.state.mark_all()
                one.state = AccountState.from_rows(*one.state.rows())
    return residents, done


def test_a_day_closes_for_all_others_and_leaves_the_one_as_it_was() -> None:
    residents, done = closed(("acme", "zen"), 73)
    _, without = closed(("zen",), 73)

    first, *_, last, after = ({row.account: row for row in effects.scores} for effects in done[-5:])
    assert [len(effects.passed_over) for effects in done[-5:]] == [0, 1, 1, 1, 0]
    assert last["acme"] == first["acme"]._replace(day=DAY_ONE + 72, reasons=None)
    assert last["acme"].band == Band.YELLOW.value
    assert last["zen"].score == without[-2].scores[0].score
    assert after["acme"] == after["zen"]._replace(account="acme", sequence=after["acme"].sequence)
    assert {one.closed_day for one in residents.values()} == {DAY_ONE + 73}
    assert len(residents["acme"].state.memory.scores) == len(residents["zen"].state.memory.scores)


def test_it_is_passed_over_in_the_same_way_when_its_state_comes_from_its_rows() -> None:
    kept, by_memory = closed(("acme",), 80)
    loaded, by_rows = closed(("acme",), 80, loaded=True)

    assert [effects.scores for effects in by_memory] == [effects.scores for effects in by_rows]
    kept["acme"].state.mark_all()
    loaded["acme"].state.mark_all()
    assert kept["acme"].state.rows() == loaded["acme"].state.rows()


def test_whom_a_close_passed_over_is_counted_and_named_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    _, done = closed(("acme",), 70)
    metrics = Metrics()

    count_effects(metrics, done[-1])

    assert metrics.registry.get_sample_value("churnsignal_scoring_closes_failed_total") == 1
    said = capsys.readouterr().out
    assert "account_passed_over" in said
    assert "ZeroDivisionError" in said
