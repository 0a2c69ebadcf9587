"""Pure. Replay events through the engine in event time, closing each day as live scoring does."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from churnsignal_common.contracts.days import DayRecord
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.risk import Band, Cause, RiskChanged

from churnsignal_scoring.backtest.calls import Call
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.sources import HABIT_WEEKS, HOURS
from churnsignal_scoring.health.state import AccountState

SOURCE = "backtest"
RECORDS_KEPT = HABIT_WEEKS * 7


class Answer(NamedTuple):
    """What the score was at a day's close. No score: not enough evidence."""

    account: str
    day: int
    score: int | None
    band: Band


class Transition(NamedTuple):
    """A change of band."""

    account: str
    at: datetime
    band: Band


@dataclass(slots=True)
class Replay:
    """Accounts moving through event time. An account is closed from its first call until the day it ends (`ends`): it is `living`."""

    engine: AccountEngine
    ends: Mapping[str, int]
    states: dict[str, AccountState] = field(default_factory=dict)
    records: dict[int, DayRecord] = field(default_factory=dict)
    living: list[AccountState] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    calls: int = 0
    hours: list[int] = field(default_factory=list)

    def day(self, day: int, calls: Iterable[Call]) -> None:
        """Apply the day's calls and close it."""
        self.hours = [0] * HOURS
        for call in calls:
            if self.ends.get(call.account, day) >= day:
                self._apply(call, day)
        self.living = [state for state in self.living if self.ends.get(state.account, day) >= day]
        record = self._record(day)
        for state in self.living:
            self._note(state.account, self.engine.close(state, day, record, Cause.CLOSE).change)
            state.clean()

    def answer(self, account: str, day: int) -> Answer:
        """Return the last closed score; an account that nothing was heard of is grey."""
        state = self.states.get(account)
        return Answer(account, day, None, Band.GREY) if state is None else Answer(account, day, state.memory.score, state.memory.band)

    def _apply(self, call: Call, day: int) -> None:
        state = self.states.get(call.account)
        if state is None:
            state = self.states[call.account] = AccountState(call.account)
            self.living.append(state)
        self.calls += 1
        envelope = Envelope(
            id=str(self.calls),
            source=SOURCE,
            account=call.account,
            user=call.user,
            occurred_at=call.at,
            received_at=call.at,
            call=call.body,
        )
        usage = self.engine.mapper.usage(envelope)
        if usage.ignored is None:
            self.engine.apply(state, envelope, usage)
            self.hours[call.at.hour] += 1
            # Between closes only facts can move a band; live scoring settles after every batch, which comes to the same.
            if usage.facts or not state.segment:
                self._note(call.account, self.engine.settle(state, call.at, self.records.get(day - 1), day - 1, history=False).change)

    def _record(self, day: int) -> DayRecord:
        end = self.engine.zone.end_of(day)
        record = self.engine.merge(day, [self.engine.partial(self.living, day)], {SOURCE: self.hours}, self.records, end)
        self.records[day] = record
        self.records.pop(day - RECORDS_KEPT - 1, None)
        return record

    def _note(self, account: str, change: RiskChanged | None) -> None:
        if change is not None and change.from_band is not change.to_band:
            self.transitions.append(Transition(account, change.as_of, change.to_band))


def run(
    replay: Replay, days: Iterator[tuple[int, Iterable[Call]]], asked: Mapping[int, list[str]], tick: Callable[[int], None]
) -> list[Answer]:
    """Replay all days, the empty ones too, up to the last event or question; return an answer to each question, in order of days."""
    answers: list[Answer] = []
    today: int | None = None

    def close(day: int, calls: Iterable[Call]) -> None:
        replay.day(day, calls)
        answers.extend(replay.answer(account, day) for account in asked.get(day, ()))
        tick(day)

    for day, calls in days:
        for empty in range(min([day, *asked]) if today is None else today + 1, day):
            close(empty, ())
        close(day, calls)
        today = day
    for empty in range(min(asked, default=0) if today is None else today + 1, max(asked, default=0) + 1):
        close(empty, ())
    return answers
