"""Door. A replay over several processes: each takes a share of the accounts, and all agree on each day's record before they close it."""

import multiprocessing
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import polars as pl
from churnsignal_common.contracts.days import DayRecord
from churnsignal_common.mapping.mapper import Mapper

from churnsignal_scoring.backtest.calls import Caller
from churnsignal_scoring.backtest.files import Events
from churnsignal_scoring.backtest.replay import Agree, Answer, Part, Register, Replay, Transition, run
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.days import open_zone
from churnsignal_scoring.policy import load_mapping, load_scorecard

EVENTS_A_SHARE = 50_000
"""Starting a process costs more than it saves below this."""


class Policies(NamedTuple):
    """What the engine goes by: files, or the defaults."""

    mapping: Path | None
    scorecard: Path | None
    day_zone: str

    def engine(self) -> AccountEngine:
        return AccountEngine(Mapper(load_mapping(self.mapping)), load_scorecard(self.scorecard), open_zone(self.day_zone))


@dataclass(frozen=True, slots=True)
class Share:
    """The events and questions of some of the accounts."""

    policies: Policies
    span: range
    events: Events
    asked: dict[int, list[str]]
    ends: dict[str, int]


class Outcome(NamedTuple):
    """What came of a share, or of all of them together."""

    answers: list[Answer]
    transitions: list[Transition]
    accounts: int
    calls: int


def replay(policies: Policies, events: Events, questions: pl.DataFrame, ends: dict[str, int], tick: Callable[[int], None]) -> Outcome:
    """Replay everything, on as many processors as there are and as pays."""
    days = [*events.frame["day"].unique(), *questions["day"].unique()]
    span = range(min(days, default=0), max(days, default=-1) + 1)
    count = min(os.cpu_count() or 1, 1 + len(events.frame) // EVENTS_A_SHARE)
    shares = [Share(policies, span, part, asked, ends) for part, asked in _split(events, questions, count)]
    register = Register(policies.engine())
    if count == 1:

        def agree(day: int, part: Part) -> DayRecord:
            tick(day)
            return register.record(day, [part])

        return _work(shares[0], agree)
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in shares]
    workers = [spawn.Process(target=_worker, args=(share, theirs), daemon=True) for share, (_, theirs) in zip(shares, pipes, strict=True)]
    for worker, (_, theirs) in zip(workers, pipes, strict=True):
        worker.start()
        theirs.close()
    ours = [mine for mine, _ in pipes]
    for day in span:
        record = register.record(day, [pipe.recv() for pipe in ours])
        for pipe in ours:
            pipe.send(record)
        tick(day)
    return _together([pipe.recv() for pipe in ours])


def _split(events: Events, questions: pl.DataFrame, count: int) -> Iterable[tuple[Events, dict[int, list[str]]]]:
    for number in range(count):
        mine = pl.col("account_id").hash() % count == number
        asked = questions.filter(mine).group_by("day").agg("account_id")
        yield Events(events.frame.filter(mine), events.names), dict(asked.iter_rows())


def _worker(share: Share, pipe: Connection) -> None:
    def agree(_: int, part: Part) -> DayRecord:
        pipe.send(part)
        record: DayRecord = pipe.recv()
        return record

    pipe.send(_work(share, agree))


def _work(share: Share, agree: Agree) -> Outcome:
    engine = share.policies.engine()
    mine = Replay(engine, share.ends, agree)
    caller = Caller(engine.mapper, share.events.names)
    answers = run(mine, share.span, ((day, caller.calls(rows)) for day, rows in share.events.by_day()), share.asked)
    return Outcome(answers, mine.transitions, len(mine.states), mine.calls)


def _together(parts: list[Outcome]) -> Outcome:
    return Outcome(
        sorted((answer for part in parts for answer in part.answers), key=lambda answer: (answer.day, answer.account)),
        sorted((change for part in parts for change in part.transitions), key=lambda change: (change.at, change.account)),
        sum(part.accounts for part in parts),
        sum(part.calls for part in parts),
    )
