"""Read one measure of an account made of calls."""

from typing import Any

from churnsignal_common.contracts.envelope import Envelope
from churnsignal_scoring.health.calendars import EVERY_DAY, Calendar
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.measures.measure import Missing, Reading
from churnsignal_scoring.health.norms import Norms
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.health.view import View

from tests.unit.scoring.accounts import DAY_ONE, apply, engine, envelope

ENGINE = engine()
TEAMS = Norms(100, (0,), (0,) * 30, {"users": 50})


def lived(calls: list[Envelope]) -> AccountState:
    """The account after the calls."""
    return apply(ENGINE, AccountState("acme"), calls)


def read(
    name: str, calls: list[Envelope], day: int, norms: Norms | None = None, *, calendar: Calendar = EVERY_DAY, **options: Any
) -> Reading | Missing:
    """What the measure reads as of the end of `day` (days after Monday)."""
    return read_of(lived(calls), name, day, norms, calendar=calendar, **options)


def read_of(
    state: AccountState, name: str, day: int, norms: Norms | None = None, *, calendar: Calendar = EVERY_DAY, **options: Any
) -> Reading | Missing:
    """The same of a state that is there."""
    measure = MEASURES[name]
    view = View(state, DAY_ONE + day, norms, live=False)
    view.calendar = calendar
    return measure.read(view, {**measure.options, **options})


def value(name: str, calls: list[Envelope], day: int, norms: Norms | None = None, **options: Any) -> int:
    """The same as a number on the curve."""
    found = read(name, calls, day, norms, **options)
    assert isinstance(found, Reading), found
    return found.measured


def profile(day: float, **traits: Any) -> Envelope:
    return envelope(f"profile{day}{sorted(traits)}", day, kind="group", traits=traits, user=None)
