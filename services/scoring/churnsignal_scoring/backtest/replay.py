"""Pure. Replay events through the engine in event time, closing each day as live scoring does."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from churnsignal_common.contracts.days import DayRecord
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.risk import Band, Cause, RiskChanged

from churnsignal_scoring.backtest.calls import SOURCE
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.days import EPOCH_ORDINAL
from churnsignal_scoring.health.norms import Partial
from churnsignal_scoring.health.sources import HOURS
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.ledger import Ledger
from churnsignal_scoring.sums import by_hour, hours_of


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


class Part(NamedTuple):
    """What one share of the accounts contributes to a day record: its sums, and its calls by hour of the day."""

    sums: Partial
    hours: list[int]


Agree = Callable[[int, Part], DayRecord]
"""Answers the part of a day with the day's record."""


@dataclass(slots=True)
class Register:
    """The day records, made of the parts of all shares."""

    engine: AccountEngine
    ledger: Ledger = field(default_factory=Ledger)

    def record(self, day: int, parts: Sequence[Part]) -> DayRecord:
        hours = [sum(counts) for counts in zip(*(part.hours for part in parts), strict=True)]
        end = self.engine.zone.end_of(day)
        record = self.engine.merge(day, [part.sums for part in parts], {SOURCE: hours}, self.ledger.records, end)
        self.ledger.learn(day, record)
        return record


@dataclass(slots=True)
class Replay:
    """A share of the accounts moving through event time. An account is closed from its first call until the day it ends (`ends`): it is `living`."""

    engine: AccountEngine
    ends: Mapping[str, int]
    agree: Agree
    states: dict[str, AccountState] = field(default_factory=dict)
    living: list[AccountState] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    calls: int = 0
    heard: Counter[int] = field(default_factory=Counter)
    record: DayRecord | None = None

    def day(self, day: int, calls: Iterable[Envelope]) -> None:
        """Apply the day's calls and close it."""
        self.heard.clear()
        for call in calls:
            account = call.account or ""
            if self.ends.get(account, day) >= day:
                self._apply(account, call, day)
        self.living = [state for state in self.living if self.ends.get(state.account, day) >= day]
        hours = hours_of(self.engine.zone, day)
        heard = by_hour(((SOURCE, hour, count) for hour, count in self.heard.items() if hour in hours), hours)
        part = Part(self.engine.partial(self.living, day), heard.get(SOURCE, [0] * HOURS))
        self.record = record = self.agree(day, part)
        for state in self.living:
            self._note(state.account, self.engine.close(state, day, record, Cause.CLOSE).change)
            state.clean()

    def answer(self, account: str, day: int) -> Answer:
        """Return the last closed score; an account that nothing was heard of is grey."""
        state = self.states.get(account)
        return Answer(account, day, None, Band.GREY) if state is None else Answer(account, day, state.memory.score, state.memory.band)

    def _apply(self, account: str, call: Envelope, day: int) -> None:
        state = self.states.get(account)
        if state is None:
            state = self.states[account] = AccountState(account)
            self.living.append(state)
        self.calls += 1
        usage = self.engine.mapper.usage(call)
        if usage.ignored is None:
            self.engine.apply(state, call, usage)
            at = call.occurred_at
            self.heard[(at.toordinal() - EPOCH_ORDINAL) * 24 + at.hour] += 1
            # Between closes only facts can move a band; live scoring settles after every batch, which comes to the same.
            if usage.facts or not state.segment:
                self._note(account, self.engine.settle(state, at, self.record, day - 1, history=False).change)

    def _note(self, account: str, change: RiskChanged | None) -> None:
        if change is not None and change.from_band is not change.to_band:
            self.transitions.append(Transition(account, change.as_of, change.to_band))


def run(replay: Replay, span: range, days: Iterable[tuple[int, Iterable[Envelope]]], asked: Mapping[int, list[str]]) -> list[Answer]:
    """Replay all days of `span`, those without calls too; return an answer to each question, in order of days."""
    answers: list[Answer] = []
    coming = iter(days)
    day, calls = next(coming, (span.stop, ()))
    for today in span:
        if day == today:
            replay.day(today, calls)
            day, calls = next(coming, (span.stop, ()))
        else:
            replay.day(today, ())
        answers.extend(replay.answer(account, today) for account in asked.get(today, ()))
    return answers
