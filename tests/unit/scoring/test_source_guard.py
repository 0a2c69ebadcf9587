"""The source guard over simulated weeks: what trips it, whom it freezes, and that an outage is no history of silence."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from random import Random

import pytest
from churnsignal_common.contracts.days import DayRecord, SegmentNorms, SourceVerdict
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.risk import AccountProfile, Band, Cause, RiskChanged, SilentSource
from churnsignal_common.mapping.usage import USE
from churnsignal_scoring.backtest.calls import Caller, Row
from churnsignal_scoring.backtest.replay import Part, Replay
from churnsignal_scoring.health import outages
from churnsignal_scoring.health.days import from_date, open_zone
from churnsignal_scoring.health.sources import GONE_DAYS, feeding, freeze, judge_sources
from churnsignal_scoring.health.state import HABIT_DAYS, AccountState
from churnsignal_scoring.health.view import View
from churnsignal_scoring.sums import PartitionSums, by_hour, hours_of, merge_sums
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rows import loaded_from
from tests.unit.scoring.accounts import DAY_ONE, MONDAY, apply, engine, envelope, using

ENGINE = engine()
ZONE = ENGINE.zone
Down = Callable[[int, int], bool]
Plans = Mapping[str, Mapping[str, Iterable[int]]]
"""Whether a source is out on a day (after the first Monday) at an hour."""


def office(day: int, hour: int) -> int:
    """Calls of a product for offices: busy on working days from nine to six, Friday ends early, weekends nearly still."""
    weekday = day % 7
    if weekday >= 5:
        return 1
    if weekday == 4 and hour >= 14:
        return 4
    return 60 if 9 <= hour < 18 else 6


def never(_day: int, _hour: int) -> bool:
    return False


def out(first: tuple[int, int], until: tuple[int, int]) -> Down:
    return lambda day, hour: first <= (day, hour) < until


def hours_on(day: int, down: Down, seed: int = 0, habit: Callable[[int, int], int] = office) -> list[int]:
    """A day's calls with a third of noise either way."""
    dice = Random(f"{seed}:{day}")
    return [0 if down(day, hour) else round(habit(day, hour) * dice.uniform(0.67, 1.33)) for hour in range(24)]


def verdicts(
    days: int, down: Down, habit: Callable[[int, int], int] = office, retired: Mapping[int, int] | None = None
) -> list[SourceVerdict]:
    """What was judged of one source on each day; `retired` says on which day an operator says that it went on which."""
    records: dict[int, DayRecord] = {}
    for day in range(days):
        said = [since for on, since in (retired or {}).items() if on <= day]
        gone = {"web": DAY_ONE + said[-1]} if said else {}
        judged = judge_sources(DAY_ONE + day, ZONE, {"web": hours_on(day, down, habit=habit)}, records, gone)
        records[DAY_ONE + day] = day_record(**judged)
    return [record.sources["web"] for record in records.values()]


def silent_days(found: Sequence[SourceVerdict]) -> list[int]:
    return [day for day, verdict in enumerate(found) if verdict.silent]


def midnight(day: int, hour: int = 0) -> datetime:
    return MONDAY.replace(hour=0) + timedelta(days=day, hours=hour)


def test_two_weeks_make_a_habit_and_one_does_not() -> None:
    assert silent_days(verdicts(8, out((7, 0), (8, 0)))) == []
    assert silent_days(verdicts(15, out((14, 0), (15, 0)))) == [14]


@dataclass
class Deployment:
    """Accounts and their sources, day by day, through the real engine: what each call says, and how many calls each source has."""

    plans: Plans
    down: Mapping[str, Down] = field(default_factory=dict)
    states: dict[str, AccountState] = field(default_factory=dict)
    records: dict[int, DayRecord] = field(default_factory=dict)
    told: list[RiskChanged] = field(default_factory=list)
    profiles: list[tuple[int, AccountProfile]] = field(default_factory=list)
    held: dict[str, list[int]] = field(default_factory=dict)
    scores: dict[str, list[int | None]] = field(default_factory=dict)

    def live(self, first: int, last: int, records: Mapping[int, DayRecord] | None = None) -> "Deployment":
        """Live through the days; with `records`, through what was decided once."""
        for day in range(first, last + 1):
            for account, plan in self.plans.items():
                state = self.states.setdefault(account, AccountState(account))
                apply(ENGINE, state, self._calls(account, plan, day))
            self.records[DAY_ONE + day] = (records or {}).get(DAY_ONE + day) or self._record(day)
            for account, state in self.states.items():
                self._close(account, state, day)
        return self

    def _calls(self, account: str, plan: Mapping[str, Iterable[int]], day: int) -> Iterable[Envelope]:
        for source, hours in plan.items():
            for hour in hours if office(day, 12) > 1 else ():
                if not self.down.get(source, never)(day, hour):
                    yield envelope(f"{account}:{source}:{day}:{hour}", day + (hour - 12) / 24, source=source, user=f"{account}-{hour % 3}")

    def _record(self, day: int) -> DayRecord:
        names = {source for plan in self.plans.values() for source in plan}
        sources = {source: hours_on(day, self.down.get(source, never)) for source in sorted(names)}
        partials = [ENGINE.partial([state], DAY_ONE + day) for state in self.states.values()]
        return ENGINE.merge(DAY_ONE + day, partials, sources, self.records, midnight(day + 1, 2))

    def _close(self, account: str, state: AccountState, day: int) -> None:
        found = ENGINE.close(state, DAY_ONE + day, self.records[DAY_ONE + day], Cause.CLOSE)
        self.scores.setdefault(account, []).append(found.assessment.score)
        if found.assessment.held is not None:
            self.held.setdefault(account, []).append(day)
        if found.change is not None:
            self.told.append(found.change)
        if found.profile is not None:
            self.profiles.append((day, found.profile))

    def told_since(self, day: int) -> list[tuple[str, Band]]:
        return [(change.account.account, change.to_band) for change in self.told if change.as_of > midnight(day)]


def test_a_lull_on_friday_evening_nights_and_weekends_trip_nothing_in_half_a_year() -> None:
    assert silent_days(verdicts(26 * 7, never)) == []


def test_a_source_that_went_down_on_tuesday_at_ten_is_silent_at_tuesdays_close_and_until_it_was_back_for_a_day() -> None:
    found = verdicts(70, out((57, 10), (59, 15)))

    assert silent_days(found) == [57, 58, 59]
    assert {found[day].silent_since for day in (57, 58, 59)} == {midnight(57, 10)}
    assert (found[58].events, found[58].heard_on) == (0, midnight(57).date())


@pytest.mark.parametrize("at_weekends", [1, 0])
def test_an_outage_that_begins_on_friday_goes_on_over_the_weekend(at_weekends: int) -> None:
    def habit(day: int, hour: int) -> int:
        return office(day, hour) if day % 7 < 5 else at_weekends

    assert silent_days(verdicts(70, out((60, 9), (63, 8)), habit)) == [60, 61, 62]


def judged(hours: Sequence[int], *weeks: Sequence[int]) -> SourceVerdict:
    """What is judged of a day with these calls by the hour, after such days in the weeks before, the last one first."""
    records = {
        DAY_ONE - 7 * week: day_record(web=SourceVerdict(events=sum(known), silent=False, hours=tuple(known)))
        for week, known in enumerate(weeks, 1)
    }
    return judge_sources(DAY_ONE, ZONE, {"web": hours}, records, {})["web"]


def day_record(**sources: SourceVerdict) -> DayRecord:
    """A day with these verdicts."""
    return DayRecord(day=MONDAY.date(), made_at=MONDAY, scorecard="s", mapping="m", norms={}, sources=sources)


def test_usual_is_the_lower_middle_of_eight_weeks() -> None:
    little, much = (10,) * 24, (100,) * 24

    assert judged(much, *[little] * 3, *[much] * 5).usual == 2_400
    assert judged(much, *[little] * 4, *[much] * 5).usual == 240


def test_a_day_with_three_quarters_of_its_calls_has_no_gap() -> None:
    weeks = [(10,) * 24] * 2

    assert not judged((*[10] * 18, *[0] * 6), *weeks).silent
    assert judged((9, *[10] * 17, *[0] * 6), *weeks).silent


def test_a_known_source_that_sent_nothing_sent_nothing() -> None:
    yesterday = {DAY_ONE - 1: day_record(web=SourceVerdict(events=9, silent=False))}

    assert judge_sources(DAY_ONE, ZONE, {}, yesterday, {})["web"].events == 0


def test_an_outage_is_forgotten_after_two_years_to_the_day() -> None:
    state = AccountState("acme")
    state.memory.fed = ("web",)
    state.memory.outages = ((DAY_ONE - HABIT_DAYS,) * 2, (DAY_ONE - HABIT_DAYS + 2,) * 2)

    freeze(state, {}, DAY_ONE)

    assert list(state.memory.outages) == [(DAY_ONE - HABIT_DAYS + 2,) * 2]


@pytest.mark.parametrize(("mobile", "fed"), [(1, ("web",)), (13, ("web",)), (14, ("mobile", "web"))])
def test_an_account_depends_on_what_brings_a_fifth_of_its_calls(mobile: int, fed: tuple[str, ...]) -> None:
    calls = [*using(range(28)), *[envelope(f"m{number}", 5, source="mobile") for number in range(mobile)]]
    view = View(apply(ENGINE, AccountState("acme"), calls), DAY_ONE + 27, None, live=False)
    heard = SourceVerdict(events=9, silent=False)

    assert feeding(view, day_record(web=heard, mobile=heard)) == fed
    assert feeding(view, day_record(mobile=heard)) == ("mobile",)
    assert feeding(view, day_record(api=heard)) == ()


def test_no_source_falls_silent_on_a_day_of_which_partitions_are_missing_and_none_comes_back() -> None:
    records: dict[int, DayRecord] = {}

    def is_silent(day: int, hours: list[int], *, partly: bool) -> bool:
        found = judge_sources(DAY_ONE + day, ZONE, {"web": hours}, records, {}, partly=partly)
        records[DAY_ONE + day] = day_record(**found)
        return found["web"].silent

    for day in range(28):
        is_silent(day, hours_on(day, never), partly=False)

    assert [is_silent(28, [0] * 24, partly=partly) for partly in (True, False)] == [False, True]
    assert is_silent(29, [0] * 24, partly=True)


def test_a_hiccup_of_two_hours_costs_nobody_the_day() -> None:
    assert silent_days(verdicts(70, out((57, 10), (57, 12)))) == []


def test_a_nightly_run_that_comes_an_hour_late_is_no_outage() -> None:
    def nightly(day: int, hour: int) -> int:
        return 3000 if hour == (3 if day == 57 else 2) else 5

    assert silent_days(verdicts(60, never, nightly)) == []


def test_a_source_is_not_judged_before_it_has_a_habit_nor_when_it_is_small() -> None:
    assert silent_days(verdicts(14, out((8, 0), (14, 0)))) == []
    assert silent_days(verdicts(70, out((57, 0), (60, 0)), lambda day, hour: int(hour < 15))) == []


def test_a_holiday_and_a_rush_in_the_past_change_no_verdict() -> None:
    def habit(day: int, hour: int) -> int:
        return 1 if 42 <= day < 45 else 10 * office(day, hour) if 35 <= day < 38 else office(day, hour)

    assert set(silent_days(verdicts(70, out((57, 10), (60, 0)), habit))) - {42, 43, 44} == {57, 58, 59}


def test_days_of_an_outage_are_no_habit() -> None:
    found = verdicts(110, lambda day, hour: out((57, 10), (78, 0))(day, hour) or out((99, 9), (100, 0))(day, hour))

    assert silent_days(found) == [*range(57, 78), 99]


def test_a_source_that_stays_silent_is_retired_and_when_it_comes_back_it_gets_time_to_form_a_habit() -> None:
    found = verdicts(150, lambda day, hour: out((57, 0), (100, 0))(day, hour) or out((106, 0), (109, 0))(day, hour) or day >= 142)

    assert silent_days(found) == [*range(57, 57 + GONE_DAYS), *range(142, 150)]
    assert [day for day, verdict in enumerate(found) if verdict.retired] == list(range(57 + GONE_DAYS, 100))


def test_a_source_that_moved_most_of_its_calls_elsewhere_is_judged_by_its_new_self_after_a_while() -> None:
    found = verdicts(130, never, lambda day, hour: office(day, hour) if day < 57 else office(day, hour) // 20)

    assert max(silent_days(found)) <= 57 + GONE_DAYS
    assert not found[-1].retired


def test_an_operator_may_retire_a_source_at_once_until_it_is_heard_again() -> None:
    found = verdicts(70, out((57, 10), (64, 0)), retired={58: 57})

    assert silent_days(found) == [57]
    assert [day for day, verdict in enumerate(found) if verdict.retired] == [58, 59, 60, 61, 62, 63]


WORK = range(9, 17)
PLANS: Plans = {
    "web-only": {"web": WORK},
    "mostly-web": {"web": WORK, "mobile": (10, 15)},
    "hardly-web": {"web": (9,), "mobile": range(9, 18)},
    "mobile-only": {"mobile": WORK},
}


@cache
def before_outage() -> tuple[Mapping[str, AccountState], Mapping[int, DayRecord]]:
    lived = Deployment(PLANS).live(0, 83)
    for state in lived.states.values():
        state.mark_all()
    return lived.states, lived.records


def deployment(down: Down, plans: Plans | None = None) -> Deployment:
    """The accounts after twelve good weeks; web is out from now on as `down` says."""
    states, records = before_outage()
    copies = {account: loaded_from(state.rows()) for account, state in states.items()}
    return Deployment(plans or PLANS, {"web": down}, copies, dict(records))


def test_only_accounts_that_depend_on_the_silent_source_freeze_and_their_profiles_say_so_once() -> None:
    outage = out((85, 10), (87, 15))
    found = deployment(outage).live(84, 98)

    assert found.held == {"web-only": [85, 86, 87], "mostly-web": [85, 86, 87]}
    named = (SilentSource("web", midnight(85, 10)),)
    assert [(day, profile.account, profile.silent_sources) for day, profile in found.profiles] == [
        (85, "web-only", named),
        (85, "mostly-web", named),
        (88, "web-only", ()),
        (88, "mostly-web", ()),
    ]


@pytest.mark.parametrize("length", [1, 3, 7, 10, 21, 27])
def test_an_outage_and_its_thaw_move_no_band_and_hardly_a_score(length: int) -> None:
    found = deployment(out((84, 0), (84 + length, 0))).live(84, 84 + length + 42)

    plain = deployment(never).live(84, 84 + length + 42)
    assert found.told_since(84) == []
    for account, scores in found.scores.items():
        moved = [abs((score or 0) - (other or 0)) for score, other in zip(scores[length:], plain.scores[account][length:], strict=True)]
        # Whole weeks are cut out exactly; of others some weekdays count once more or less for four weeks.
        assert max(moved) <= (0 if length % 7 == 0 and account.endswith("only") else 400), account


def test_without_the_guard_the_same_outage_is_a_wave() -> None:
    states, records = before_outage()
    deaf = {day: ENGINE.merge(day, [], {}, {}, MONDAY) for day in range(DAY_ONE + 84, DAY_ONE + 126)}

    found = Deployment(PLANS, {"web": out((84, 0), (105, 0))}, dict(deployment(never).states), dict(records)).live(84, 125, deaf)

    assert ("web-only", Band.RED) in found.told_since(84)
    assert states


def test_a_silence_goes_on_after_an_outage_from_where_it_was() -> None:
    left: Plans = {**PLANS, "web-only": {}}
    quiet = deployment(out((94, 0), (115, 0)), left).live(84, 130)
    plain = deployment(never, left).live(84, 130)

    assert quiet.held["web-only"] == list(range(94, 115))
    before, outage = plain.scores["web-only"][:10], quiet.scores["web-only"][10:31]
    assert quiet.scores["web-only"][:10] == before
    assert set(outage) == {before[-1]}
    assert quiet.scores["web-only"][31:] == plain.scores["web-only"][10:26]
    # What comes to light with the data is said silently.
    assert {change.cause for change in quiet.told if change.as_of > midnight(94)} == {Cause.THAW}


def test_a_source_that_is_gone_for_good_freezes_for_four_weeks_and_then_silence_counts_again() -> None:
    found = deployment(out((84, 0), (999, 0))).live(84, 84 + GONE_DAYS + 60)

    assert found.held["web-only"] == list(range(84, 84 + GONE_DAYS))
    assert found.told_since(84)[:1] == [("web-only", Band.YELLOW)]
    assert ("web-only", Band.RED) in found.told_since(84)
    assert found.records[DAY_ONE + 84 + GONE_DAYS].sources["web"].retired


def test_a_day_that_nobody_saw_is_a_whole_day_and_no_norm() -> None:
    found = deployment(out((84, 0), (91, 0)), {"web-only": {"web": WORK}})
    del found.states["mostly-web"], found.states["hardly-web"], found.states["mobile-only"]
    before = found.records[DAY_ONE + 83].norms["default"]

    after = found.live(84, 90).records[DAY_ONE + 90].norms["default"]

    assert (after.typical, after.days) == (before.typical, before.days)
    assert after.worths[:7] == (100,) * 7


def test_a_replay_from_stored_rows_and_records_is_exact_through_an_outage() -> None:
    outage = out((85, 10), (97, 15))
    live = deployment(outage).live(84, 120)

    again = deployment(outage).live(84, 90, live.records)
    for state in again.states.values():
        state.mark_all()
    again.states = {account: loaded_from(state.rows()) for account, state in again.states.items()}
    again.live(91, 120, live.records)

    assert (again.scores, again.told, again.profiles) == (live.scores, live.told, live.profiles)
    assert [state.memory for state in again.states.values()] == [state.memory for state in live.states.values()]


outage_days = st.lists(st.booleans(), min_size=1, max_size=45)


@given(outage_days, st.integers(0, 12))
@settings(max_examples=40)
def test_a_day_more_of_silence_never_raises_the_score_while_the_guard_goes_on_and_off(silent: list[bool], last_use: int) -> None:
    state = loaded_from(before_outage()[0]["web-only"].rows())
    known = before_outage()[1][DAY_ONE + 83]
    day = 84 + last_use
    apply(ENGINE, state, [envelope(f"x{n}", 84 + n, source="web") for n in range(last_use)])
    norms: SegmentNorms = known.norms["default"]

    scores = []
    for number, is_out in enumerate([False, *silent]):
        verdict = SourceVerdict(events=0, silent=is_out, silent_since=MONDAY if is_out else None)
        record = DayRecord(
            day=MONDAY.date(),
            made_at=MONDAY,
            scorecard=known.scorecard,
            mapping=known.mapping,
            norms={"default": norms},
            sources={"web": verdict},
        )
        scores.append(ENGINE.close(state, DAY_ONE + day + number, record, Cause.CLOSE).assessment.score)

    counted = [score if score is not None else 0 for score in scores]
    assert all(after <= before for before, after in pairwise(counted)), scores


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=5), st.integers(0, 2**60 - 1), st.integers(100, 130))
@settings(max_examples=100)
def test_cutting_out_outages_keeps_every_other_day_once_and_in_order(gaps: list[tuple[int, int]], mask: int, origin: int) -> None:
    ranges: outages.Ranges = ()
    down = set()
    day = 100
    for pause, length in gaps:
        day += pause
        for _ in range(length):
            ranges = outages.added(ranges, day)
            down.add(day)
            day += 1
    out_days = set(outages.within(ranges, 0, 400))
    assert out_days == down
    assert all(begin - end > 1 for (_, end), (begin, _) in pairwise(ranges))
    seen = [one for one in range(60, day + 60) if one not in out_days]

    places = [outages.place_of(ranges, one) for one in seen]
    cut, start = outages.lived(ranges, mask, origin)

    assert places == list(range(places[0], places[0] + len(seen)))
    assert [outages.day_at(ranges, place) for place in places] == seen
    active = {origin + bit for bit in range(60) if mask >> bit & 1} - out_days
    assert {start + bit for bit in range(cut.bit_length()) if cut >> bit & 1} == {outages.place_of(ranges, one) for one in active}


def test_a_view_looks_at_whole_windows_of_days_that_were_seen() -> None:
    state = deployment(never).states["web-only"]
    state.memory.outages = ((DAY_ONE + 70, DAY_ONE + 76),)

    view = View(state, DAY_ONE + 83, None, live=False)

    assert (view.age, view.tenure) == (77, 84)
    assert view.active_days(28) == 20
    assert view.count(USE, view.as_of - 27, view.as_of) == 20 * len(WORK)
    assert view.users(28) == 3
    assert view.last_seen() == midnight(81).date()


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [("UTC", 20_000, 24), ("Europe/Berlin", 20_541, 23), ("Europe/Berlin", 20_751, 25), ("Asia/Kolkata", 20_000, 24)],
)
def test_each_hour_belongs_to_one_day(zone: str, day: int, hours: int) -> None:
    known = open_zone(zone)

    assert len(hours_of(known, day)) == hours
    assert hours_of(known, day).stop == hours_of(known, day + 1).start
    assert datetime.fromtimestamp(hours_of(known, day).start * 3600, UTC) >= known.start_of(day)


@pytest.mark.parametrize("day", [28, 29, 30])
def test_a_backtest_counts_a_source_by_the_hours_of_the_zone_s_days_as_live_scoring_does(day: int) -> None:
    machine, today = engine(zone="Europe/Berlin"), from_date(date(2026, 3, day))
    times = [
        moment
        for n in range(96)
        if machine.zone.day_of(moment := datetime(2026, 3, day - 1, 12, tzinfo=UTC) + n * timedelta(minutes=30)) == today
    ]
    parts: list[Part] = []

    def agree(_: int, part: Part) -> DayRecord:
        parts.append(part)
        return machine.merge(today, [part.sums], {"backtest": part.hours}, {}, machine.zone.end_of(today))

    rows = [Row("acme", "u1", "Report Viewed", at, ()) for at in times]
    Replay(machine, {}, agree).day(today, Caller(machine.mapper, ()).calls(rows))

    whole = len(times) // 2
    assert whole == (23 if day == 29 else 24)
    assert parts[0].hours == [2] * whole + [0] * (24 - whole)


def test_partitions_add_up_by_source_and_hour() -> None:
    hours = hours_of(ZONE, DAY_ONE)
    parts = [
        by_hour([("web", hours.start, 2), ("web", hours.start + 23, 1)], hours),
        by_hour([("web", hours.start, 3), ("app", hours.start + 1, 4)], hours),
    ]

    _, sources = merge_sums(PartitionSums([], part).encode() for part in parts)

    assert sources == {"web": [5, *[0] * 22, 1], "app": [0, 4, *[0] * 22]}
