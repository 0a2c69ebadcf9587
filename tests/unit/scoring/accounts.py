"""Builders for the tests of the scoring core: calls, states, engines."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from churnsignal_common.contracts.days import DayRecord
from churnsignal_common.contracts.envelope import Envelope, Format
from churnsignal_common.contracts.risk import Cause
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.assessment import Settled
from churnsignal_scoring.health.days import from_date, open_zone
from churnsignal_scoring.health.scorecard import Scorecard
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.policy import load_mapping, load_scorecard

MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)
DAY_ONE = from_date(MONDAY.date())
SCORECARD = load_scorecard(None)
MAPPER = Mapper(load_mapping(None))
UTC_DAYS = open_zone("UTC")


def engine(scorecard: Scorecard = SCORECARD, zone: str = "UTC") -> AccountEngine:
    return AccountEngine(MAPPER, scorecard, open_zone(zone))


def envelope(
    call_id: str,
    day: float,
    *,
    event: str = "Report Viewed",
    user: str | None = "u1",
    kind: str = "track",
    source: str = "web",
    received_day: float | None = None,
    **rest: Any,
) -> Envelope:
    """A call on `day` (days after Monday, noon), received at once unless said otherwise."""
    call = {"type": kind, **({"event": event} if kind == "track" else {}), **rest}
    occurred = MONDAY + timedelta(days=day)
    return Envelope(
        id=call_id,
        source=source,
        account="acme",
        user=user,
        occurred_at=occurred,
        received_at=occurred if received_day is None else MONDAY + timedelta(days=received_day),
        call=msgspec.Raw(msgspec.json.encode(call)),
    )


def command(name: str, day: float, **call: Any) -> Envelope:
    occurred = MONDAY + timedelta(days=day)
    raw = msgspec.Raw(msgspec.json.encode(call))
    return Envelope(id=name, source="api", account="acme", occurred_at=occurred, received_at=occurred, format=Format.COMMAND, call=raw)


def apply(machine: AccountEngine, state: AccountState, envelopes: Iterable[Envelope]) -> AccountState:
    for sent in envelopes:
        usage = machine.mapper.usage(sent)
        if usage.ignored is None:
            machine.apply(state, sent, usage)
    return state


def using(days: Iterable[int], users: int = 1, each: int = 2) -> list[Envelope]:
    """Calls of an account that was used on these days."""
    return [
        envelope(f"d{day}u{user}n{number}", day + number / 100, user=f"u{user}")
        for day in days
        for user in range(users)
        for number in range(each)
    ]


def record(
    machine: AccountEngine, day: int, states: Sequence[AccountState] = (), previous: dict[int, DayRecord] | None = None
) -> DayRecord:
    return machine.merge(day, [machine.partial(states, day)], {}, previous or {}, machine.zone.end_of(day))


def close_days(machine: AccountEngine, state: AccountState, first: int, last: int, *, peers: Sequence[AccountState] = ()) -> list[Settled]:
    """Close the days after Monday from `first` to `last`, each with its record; returns what came of each."""
    records: dict[int, DayRecord] = {}
    closed = []
    for day in range(DAY_ONE + first, DAY_ONE + last + 1):
        records[day] = record(machine, day, [state, *peers], records)
        closed.append(machine.close(state, day, records[day], Cause.CLOSE))
    return closed
