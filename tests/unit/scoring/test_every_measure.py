"""What holds for each measure there is, in a table that must have them all; and for a score made of all of them."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.document import ConfigError
from churnsignal_scoring.health import measures
from churnsignal_scoring.health.calendars import Calendar
from churnsignal_scoring.health.config.parse import parse_scorecard
from churnsignal_scoring.health.curves import Curve, curve
from churnsignal_scoring.health.evaluate import evaluate
from churnsignal_scoring.health.explain import drivers, seen
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.measures.measure import Measure, Missing, Reading
from churnsignal_scoring.health.norms import Norms
from churnsignal_scoring.health.scorecard import MissingPolicy, Scorecard, Weighted
from churnsignal_scoring.health.state import BLOCK_DAYS, AccountState
from churnsignal_scoring.health.view import View
from churnsignal_scoring.policy import load_scorecard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scoring.accounts import DAY_ONE, SCORECARD, apply, envelope, using
from tests.unit.scoring.reading import ENGINE, profile

PEERS = Norms(100, (0,), tuple(min(100, 3 * days) for days in range(30)), {"users": 50})
DAILY = using(range(60))
WEEKLY = using(range(3, 60, 7))
TEAM = using(range(60), users=3)


@dataclass(frozen=True)
class Pair:
    """Two accounts, the first with less of what the measure measures, and what the measure is told to look at."""

    less: list[Envelope] = field(default_factory=lambda: DAILY)
    more: list[Envelope] = field(default_factory=lambda: DAILY)
    options: dict[str, Any] = field(default_factory=dict)
    prepare: tuple[Callable[[AccountState], None], Callable[[AccountState], None]] | None = None


def said(event: str, *days: float, **properties: Any) -> list[Envelope]:
    return [*DAILY, *[envelope(f"{event}{day}", day, event=event, user=None, properties=properties) for day in days]]


def known(**traits: Any) -> list[Envelope]:
    return [*DAILY, profile(0, **traits)]


def scored(*trend: int) -> Callable[[AccountState], None]:
    return lambda state: setattr(state.memory, "trend", list(trend))


def below(red: int) -> Callable[[AccountState], None]:
    return lambda state: setattr(state.memory, "red_children", red)


def logged_in(*users: str) -> Callable[[AccountState], None]:
    block, offset = divmod(DAY_ONE + 50, BLOCK_DAYS)
    return lambda state: state.teams.update({"login": {block: dict.fromkeys(users, 1 << offset)}})


PAIRS = {
    "silence": Pair(DAILY, using(range(40))),
    "recency": Pair(DAILY, using(range(40))),
    "active_days": Pair(WEEKLY, DAILY),
    "volume": Pair([*using(range(32)), *using(range(32, 60, 7))], DAILY),
    "change": Pair([*using(range(32)), *using([*range(32, 60, 7), 59])], DAILY),
    "slope": Pair([*using(range(32)), *using(range(34, 60, 5))], DAILY),
    "falling_weeks": Pair(DAILY, [*using([0]), *[call for week in range(8) for call in using([10 + 7 * week], each=20 - 2 * week)]]),
    "standing": Pair(WEEKLY, DAILY),
    "seats_used": Pair([*DAILY, profile(0, seats=10)], [*TEAM, profile(0, seats=10)]),
    "users": Pair(DAILY, TEAM),
    "active_users": Pair(DAILY, TEAM),
    "users_change": Pair([*using(range(32), users=3), *using(range(32, 60))], TEAM),
    "user_share": Pair(TEAM, TEAM, {}, (logged_in("u0"), logged_in("u0", "u1"))),
    "top_user_share": Pair(TEAM, DAILY),
    "champion_silence": Pair([*TEAM, profile(0, champion="u1")], [*using(range(30), users=2), *DAILY, profile(0, champion="u1")]),
    "error_share": Pair(said("Error", 50.1), said("Error", *[50 + n / 100 for n in range(20)])),
    "count": Pair(said("Login", 50), said("Login", 50, 51, 52)),
    "tickets": Pair(said("Ticket Opened", 50), said("Ticket Opened", 50, 51, 52)),
    "urgent_tickets": Pair(said("Ticket Opened", 50, priority="low"), said("Ticket Opened", 50, priority="urgent")),
    "adoption": Pair(said("Exports", 50), [*said("Exports", 50), *said("Alerts", 51)], {"features": ("Exports", "Alerts")}),
    "onboarding": Pair(said("Login", 50), [*said("Login", 50), *said("Invoice Paid", 51)], {"milestones": ("login", "payment_succeeded")}),
    "time_to_value": Pair(said("Login", 5), said("Login", 40), {"milestone": "login"}),
    "nps": Pair(said("NPS Submitted", 50, score=3), said("NPS Submitted", 50, score=9)),
    "csat": Pair(said("CSAT Submitted", 50, score=3), said("CSAT Submitted", 50, score=4)),
    "qbr": Pair(said("QBR Held", 50, rating=3), said("QBR Held", 50, rating=4)),
    "csm_view": Pair(known(csm_view=2), known(csm_view=4)),
    "number": Pair(known(arr=10), known(arr=12), {"fact": "arr"}),
    "days_since": Pair(said("Meeting Held", 50), said("Meeting Held", 10)),
    "days_until": Pair(known(trial_ends_on="2026-04-01"), known(trial_ends_on="2026-05-01")),
    "renewal": Pair(known(renewal_date="2026-04-01"), known(renewal_date="2026-05-01")),
    "unpaid_days": Pair(said("Payment Failed", 50), said("Payment Failed", 10)),
    "red_children": Pair(DAILY, DAILY, {}, (below(1), below(3))),
    "score_fall": Pair(DAILY, DAILY, {}, (scored(9_000, 8_000), scored(9_000, 4_000))),
}

TOLD = {
    "silence": Reading(1_900, 2_000, 100, allowed=100),
    "recency": Reading(2_000, 2_000),
    "active_days": Reading(2_800, 2_800, 2_800),
    "volume": Reading(10_000, 5_600, 5_600, events=56),
    "change": Reading(10_000, 5_600, 5_600, events=56),
    "slope": Reading(0, 0, events=112),
    "falling_weeks": Reading(700, 700, events=6),
    "standing": Reading(8_550, 8_550),
    "seats_used": Reading(3_000, 300, 1_000, users=3),
    "users": Reading(300, 300, users=3),
    "active_users": Reading(300, 300, users=3),
    "users_change": Reading(10_000, 300, 300, users=3),
    "user_share": Reading(6_666, 6_666, users=2),
    "top_user_share": Reading(10_000, 10_000, users=1),
    "champion_silence": Reading(3_000, 3_000, event_id="profile0['champion']"),
    "error_share": Reading(2_631, 2_631, events=20),
    "count": Reading(300, 300, events=3),
    "tickets": Reading(300, 300, events=3),
    "urgent_tickets": Reading(100, 100, events=1),
    "adoption": Reading(10_000, 200, 200),
    "onboarding": Reading(10_000, 200, 200),
    "time_to_value": Reading(4_000, 4_000),
    "nps": Reading(900, 900, event_id="NPS Submitted50"),
    "csat": Reading(400, 400, event_id="CSAT Submitted50"),
    "qbr": Reading(400, 400, event_id="QBR Held50"),
    "csm_view": Reading(400, 400, event_id="profile0['csm_view']"),
    "number": Reading(1_200, 1_200, event_id="profile0['arr']"),
    "days_since": Reading(4_900, 4_900, event_id="Meeting Held10"),
    "days_until": Reading(5_700, 5_700, event_id="profile0['trial_ends_on']"),
    "renewal": Reading(5_700, 5_700, event_id="profile0['renewal_date']"),
    "unpaid_days": Reading(5_000, 5_000, event_id="Payment Failed10"),
    "red_children": Reading(300, 300),
    "score_fall": Reading(5_000, 4_000, 9_000),
}
"""What people are told of the second account of each pair."""


def view_of(calls: list[Envelope], prepare: Callable[[AccountState], None] | None = None) -> View:
    state = apply(ENGINE, AccountState("acme"), {call.id: call for call in calls}.values())
    if prepare is not None:
        prepare(state)
    return View(state, DAY_ONE + 59, PEERS, live=False)


def straight(measure: Measure, low: int, high: int) -> Curve:
    """From no points to all of them, in the direction that the measure calls better."""
    rises = measure.more_is_better is not False
    return curve([(low / 100, 0 if rises else 100), (high / 100, 100 if rises else 0)])


def card_of(rows: list[tuple[Measure, Curve, dict[str, Any]]], missing: MissingPolicy = MissingPolicy.SKIP) -> Scorecard:
    """Every measure a group of its own, all of the same weight."""
    weighted = tuple(
        Weighted(measure.name, measure.code, measure, ((0, drawn),), 100, place, 10, missing, {**measure.options, **options})
        for place, (measure, drawn, options) in enumerate(rows)
    )
    return replace(SCORECARD, measures=weighted)


def test_the_table_has_every_measure() -> None:
    assert set(PAIRS) == set(TOLD) == set(MEASURES)


@pytest.mark.parametrize("name", PAIRS)
def test_a_measure_says_a_number_or_why_it_has_none(name: str) -> None:
    measure, pair = MEASURES[name], PAIRS[name]
    asked = [measure.options, {**measure.options, **pair.options}]

    for calls in ([], [profile(0, plan="pro")], using([0]), pair.less, pair.more):
        state = apply(ENGINE, AccountState("acme"), calls)
        views = [View(state, DAY_ONE + day, norms, live=False) for day in (0, 59, 99, 200) for norms in (None, PEERS)]
        found = [measure.read(view, options) for view in views for options in asked]
        assert all(isinstance(one, Reading | Missing) for one in found)


@pytest.mark.parametrize("name", PAIRS)
def test_more_of_a_measure_moves_the_score_the_way_the_measure_says(name: str) -> None:
    measure, pair = MEASURES[name], PAIRS[name]
    before, after = pair.prepare or (None, None)
    views = view_of(pair.less, before), view_of(pair.more, after)
    less, more = (measure.read(view, {**measure.options, **pair.options}) for view in views)

    assert isinstance(less, Reading) and isinstance(more, Reading)
    assert less.measured < more.measured
    assert more == TOLD[name]
    card = card_of([(measure, straight(measure, less.measured, more.measured), pair.options)])
    assert [evaluate(view, card).score for view in views] == ([10_000, 0] if measure.more_is_better is False else [0, 10_000])


FACTS = (
    "nps",
    "csat",
    "qbr",
    "csm_view",
    "arr",
    "seats",
    "renewal_on",
    "notice_days",
    "trial_ends_on",
    "created_on",
    "champion",
    "meeting",
)
anything = st.one_of(
    st.floats(),
    st.integers(),
    st.text("0123456789.,eE-+nait ", max_size=9),
    st.booleans(),
    st.none(),
    st.dates().map(str),
    st.just("1e400"),
    st.just("nan"),
)
knots = st.lists(st.integers(-50_000, 50_000), min_size=2, max_size=4, unique=True).map(sorted)


@given(
    st.dictionaries(st.sampled_from(FACTS), anything),
    st.lists(st.integers(0, 59), max_size=12),
    st.lists(st.tuples(knots, st.integers(0, 9_999), st.sampled_from(MissingPolicy)), min_size=len(MEASURES), max_size=len(MEASURES)),
)
@settings(max_examples=30)
def test_whatever_is_said_of_an_account_a_score_of_all_measures_is_whole_within_range_and_adds_up(
    facts: dict[str, Any], days: list[int], drawn: list[tuple[list[int], int, MissingPolicy]]
) -> None:
    state = apply(ENGINE, AccountState("acme"), using(sorted(set(days)), users=2))
    apply(ENGINE, state, [profile(1, **facts), *[envelope(f"s{name}", 2, event=name, properties={"score": facts.get("nps"), "rating": facts.get("qbr")})
                                                for name in ("NPS Submitted", "CSAT Submitted", "QBR Held")]])  # fmt: skip
    rows: list[Weighted] = []
    for measure, (xs, low, missing) in zip(MEASURES.values(), drawn, strict=True):
        ys = [low + (10_000 - low) * place // (len(xs) - 1) for place in range(len(xs))]
        made = Curve(tuple(xs), tuple(ys if measure.more_is_better is not False else reversed(ys)))
        rows.append(replace(card_of([(measure, made, PAIRS[measure.name].options)], missing).measures[0], group=len(rows)))

    found = evaluate(View(state, DAY_ONE + 59, PEERS, live=False), replace(SCORECARD, measures=tuple(rows)))

    assert all(isinstance(number, int) for number in (found.score, *found.contributions))
    assert 0 <= found.score <= 10_000 and 0 <= found.coverage <= 10_000
    assert sum(found.contributions) == found.score
    assert all(isinstance(one.measured, int) for one in found.readings if isinstance(one, Reading))


ONE_MORE = '''
"""Pure. Logins by night."""

from churnsignal_scoring.health.measures.measure import Measure, Missing, Reading

NIGHT_OWLS = Measure("night_owls", "count", "times", more_is_better=True, about="Logins by night.", read=lambda view, _: Reading(view.age * 100, 700))
'''


def test_a_measure_is_added_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "invented.py").write_text(ONE_MORE)
    (tmp_path / "scorecard.yaml").write_text(
        "name: mine\nevidence: {coverage_floor: 50, least_age_days: 7}\ngroups:\n  - {group: all, weight: 100, measures: [{measure: night_owls, share: 100, curve: [[0, 0], [60, 100]]}]}\n"
        "bands: {red: {enter: 50, leave: 50, beyond_pauses: 0, unknown_pause_days: 4}, green: {enter: 74, leave: 70},\n"
        "  dwell: {worse_closes: 1, better_closes: 2}, recovery: {active_days: 1, window_days: 14}}\n"
    )

    monkeypatch.setattr(measures, "__path__", [*measures.__path__, str(tmp_path)])
    monkeypatch.setitem(MEASURES, "night_owls", measures._found()["night_owls"])
    card, view = load_scorecard(tmp_path / "scorecard.yaml"), view_of(DAILY)
    found = evaluate(view, card)

    assert found.score == 10_000
    assert [driver.measure for driver in drivers(card, found, {}, seen(view))] == ["night_owls"]


@given(st.integers(1, 3), st.lists(st.integers(0, 59), min_size=1, max_size=20, unique=True), st.data())
@settings(max_examples=25)
def test_the_order_of_calls_does_not_matter_to_any_measure(users: int, days: list[int], data: st.DataObject) -> None:
    calls = [*using(days, users), *[call for pair in PAIRS.values() for call in pair.more if call.user is None]]
    distinct = list({call.id: call for call in calls}.values())
    shuffled = data.draw(st.permutations(distinct))
    views = [View(apply(ENGINE, AccountState("acme"), sent), DAY_ONE + 59, PEERS, live=False) for sent in (distinct, shuffled)]

    for name, pair in PAIRS.items():
        read, options = MEASURES[name].read, {**MEASURES[name].options, **pair.options}
        one, other = (read(view, options) for view in views)
        assert one == other, name


NUMBERS = [(name, option) for name, measure in MEASURES.items() for option, value in measure.options.items() if isinstance(value, int)]


@pytest.mark.parametrize(("name", "option"), NUMBERS)
def test_every_number_that_a_scorecard_may_set_can_be_evaluated_and_no_other_is_taken(name: str, option: str) -> None:
    measure = MEASURES[name]
    least, most = measure.limit(option)
    states = [apply(ENGINE, AccountState("acme"), calls) for calls in ([], WEEKLY, TEAM, WEEKLY[:1])]
    signal = {"signal": "nothing"} if "signal" in measure.options else {}
    others = {other: measure.limit(other)[0] for option_of, other in NUMBERS if option_of == name}

    for number in (least, most):
        parse_scorecard(CARD.format(measure=name, option=option, number=number), "card.yaml")
        for state, day in itertools.product(states, (59, 75, 200)):
            view = View(state, DAY_ONE + day, PEERS, live=False)
            view.calendar = Calendar(frozenset({5, 6}))
            for told in ({option: number}, {option: number, **signal}, {**others, option: number, **signal}):
                measure.read(view, {**measure.options, **told})
    for number in (least - 1, most + 1):
        with pytest.raises(ConfigError, match=f"{option}.*{number}"):
            parse_scorecard(CARD.format(measure=name, option=option, number=number), "card.yaml")


CARD = """
name: one
evidence: {{coverage_floor: 50, least_age_days: 7}}
groups:
  - {{group: use, weight: 100, measures: [{{measure: active_days, curve: [[0, 0], [28, 100]]}}]}}
bands:
  red: {{enter: 40, leave: 45}}
  green: {{enter: 75, leave: 70}}
  dwell: {{worse_closes: 1, better_closes: 1}}
  recovery: {{active_days: 3, window_days: 14}}
findings:
  - {{code: told, measure: {measure}, at_least: 0, options: {{{option}: {number}}}}}
"""


def test_no_day_more_of_silence_raises_a_score_of_all_measures_of_use() -> None:
    of_use = ("silence", "recency", "active_days", "volume", "slope", "falling_weeks", "standing", "users", "active_users", "users_change")
    card = card_of([(MEASURES[name], straight(MEASURES[name], -10_000, 20_000), {}) for name in of_use])
    state = apply(ENGINE, AccountState("acme"), [*using(range(100), users=3), *using(range(60, 100, 3), users=5)])
    state.reported = dict.fromkeys(card.reporting, DAY_ONE + 99)  # as the close of its last day notes
    scores = [evaluate(View(state, DAY_ONE + day, PEERS, live=False), card).score for day in range(99, 300)]

    assert all(after <= before for before, after in itertools.pairwise(scores))
    assert scores[0] > scores[-1]
