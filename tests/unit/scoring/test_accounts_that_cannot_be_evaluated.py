"""An account that cannot be evaluated costs no other account its day or its calls, counts its own, and stays as it was."""

from collections import Counter
from dataclasses import replace

import msgspec
import pytest
from churnsignal_common.contracts.risk import Band, Cause
from churnsignal_scoring.conclude import Conclude
from churnsignal_scoring.effects import Effects
from churnsignal_scoring.health.measures.measure import Missing, Options, Reading
from churnsignal_scoring.health.scorecard import Scorecard
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.health.view import View
from churnsignal_scoring.ledger import Closing, Ledger
from churnsignal_scoring.metrics import Metrics, count_effects
from churnsignal_scoring.residents import Resident

from tests.support.rows import loaded_from
from tests.unit.scoring.accounts import DAY_ONE, MONDAY, SCORECARD, apply, close_days, command, engine, envelope, record, using
from tests.unit.scoring.town import Town

FIRST, *REST = SCORECARD.measures


def broken(days: range) -> Scorecard:
    """The default scorecard, whose first measure fails for one account as of these days, as long as anything is counted of it."""

    def failing(view: View, options: Options) -> Reading | Missing:
        if view.state.account == "acme" and view.as_of in days and view.state.events_total:
            raise ZeroDivisionError
        return FIRST.measure.read(view, options)

    return replace(SCORECARD, measures=(replace(FIRST, measure=replace(FIRST.measure, read=failing)), *REST))


ENGINE = engine(broken(range(DAY_ONE + 70, DAY_ONE + 73)))


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
                one.state = loaded_from(one.state.rows())
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

    assert metrics.registry.get_sample_value("churnsignal_scoring_evaluations_failed_total") == 1
    said = capsys.readouterr().out
    assert "accounts_passed_over" in said
    assert "acme" in said
    assert "ZeroDivisionError" in said


def live(at_once: int) -> Town:
    """Calls of one that cannot be evaluated and of another, so many of them in each micro-batch."""
    town = Town(engine=engine(broken(range(DAY_ONE - 1, DAY_ONE))))
    paid = envelope("p1", 1, event="Payment Failed")
    calls = [*using(range(2), users=3), envelope("g1", 1, kind="group", groupId="acme", traits={"plan": "pro"}), paid]
    town.put(msgspec.structs.replace(call, id=f"{name}{call.id}", account=name) for call in calls for name in ("acme", "zen"))
    town.run(lambda places: (places[0], at_once))
    return town


def test_calls_of_an_account_that_cannot_be_evaluated_count_and_its_band_and_score_stay() -> None:
    town = live(1000)

    states = town.states
    assert +town.counts == Counter({("applied", ""): 30})
    assert {name: (state.events_total, state.memory.band) for name, state in states.items()} == {
        "acme": (14, Band.GREY),
        "zen": (14, Band.RED),
    }
    assert [change.account.account for change in town.changes] == ["zen"]


def test_however_its_calls_are_batched_the_same_is_kept_of_it() -> None:
    once, singly = live(1000).states["acme"], live(1).states["acme"]

    once.mark_all()
    singly.mark_all()
    assert once.rows() == singly.rows()


def test_what_was_learnt_meanwhile_is_published_by_the_first_close_that_can_evaluate_it() -> None:
    state = live(1000).states["acme"]
    machine = engine()
    first, second = close_days(machine, state, 0, 1)

    assert first.profile is not None
    assert first.profile.plan == "pro"
    assert second.profile is None


def test_what_was_imported_meanwhile_is_no_news_to_the_first_close_that_can_evaluate_it() -> None:
    town = Town(engine=engine(broken(range(DAY_ONE - 1, DAY_ONE))))
    paid = envelope("p1", 1, event="Payment Failed")
    town.put(msgspec.structs.replace(call, history=True) for call in [*using(range(2), users=3), paid])
    town.run()
    state = town.states["acme"]
    done = close_days(engine(), state, 0, 1)

    assert [(one.change.cause, one.change.to_band) for one in done if one.change is not None] == [(Cause.HISTORY, Band.RED)]


def test_what_was_imported_meanwhile_is_no_news_between_closes_either_but_what_comes_live_is() -> None:
    town = Town(engine=engine(broken(range(DAY_ONE - 1, DAY_ONE))))
    town.put([msgspec.structs.replace(envelope("p1", 1, event="Payment Failed"), history=True)])
    town.run()
    state, mended = town.states["acme"], engine()
    imported = mended.settle(state, MONDAY, None, DAY_ONE - 1, history=False)
    apply(mended, state, [envelope("p2", 1.5, event="Payment Failed")])
    live_one = mended.settle(state, MONDAY, None, DAY_ONE - 1, history=False)

    assert imported.change is None
    assert live_one.change is not None
    assert (live_one.change.to_band, live_one.change.cause) == (Band.RED, Cause.EVENT)


def test_it_can_be_merged_all_the_same() -> None:
    town = live(1000)
    into = msgspec.structs.replace(command("merge", 1.5, type="account.merged", into="beta", author="kei"), account="acme")
    town.put([into])
    town.run()

    assert (town.states["acme"].merged_into, town.states["beta"].events_total) == ("beta", 14)
    assert town.states["beta"].memory.mark is Cause.HISTORY
