"""Pure. Why a score is what it is: drivers with their evidence, and the smallest change that would help."""

from datetime import date

import msgspec
from churnsignal_common.contracts.risk import Band, Counterfactual, Driver, Evidence

from churnsignal_scoring.health.curves import FULL
from churnsignal_scoring.health.evaluate import Evaluation
from churnsignal_scoring.health.measures.measure import Missing, Reading
from churnsignal_scoring.health.scorecard import MILLION, BandPolicy, Scorecard, Weighted
from churnsignal_scoring.health.view import View


class Seen(msgspec.Struct, frozen=True):
    """The last use as the evaluation saw it: its day, and the call where that is still known."""

    on: date | None
    call: str | None


def seen(view: View) -> Seen:
    call = view.last_call()
    return Seen(view.last_seen(), None if call is None else call[1])


def drivers(scorecard: Scorecard, found: Evaluation, entered: dict[str, int], last: Seen) -> tuple[Driver, ...]:
    """Return the measures that count, those that cost the most first; their contributions total the score."""
    parts = zip(scorecard.measures, found.points, found.readings, found.shares, found.contributions, strict=True)
    rows = [_driver(row, read, share, part, entered, last) for row, points, read, share, part in parts if points is not None]
    return tuple(sorted(rows, key=lambda driver: (driver.contribution - driver.possible, driver.measure)))


def _driver(row: Weighted, reading: Reading | Missing, share: int, contribution: int, entered: dict[str, int], last: Seen) -> Driver:
    name = row.name
    return Driver(
        code=row.code,
        measure=name,
        contribution=contribution,
        # Rounding may give a measure one hundredth more than its weight.
        possible=max(contribution, share * FULL // MILLION),
        value=reading.value / 100 if isinstance(reading, Reading) else None,
        baseline=reading.baseline / 100 if isinstance(reading, Reading) and reading.baseline is not None else None,
        unit=row.measure.unit,
        window_days=row.window_days,
        moved=contribution - entered[name] if name in entered else None,
        evidence=_evidence(reading, last),
    )


def _evidence(reading: Reading | Missing, last: Seen) -> Evidence:
    if isinstance(reading, Missing):
        return Evidence(last_seen=last.on)
    # What said it, else the last use.
    sample = reading.event_id or last.call
    return Evidence(events=reading.events, users=reading.users, last_seen=last.on, event_ids=() if sample is None else (sample,))


def missing(scorecard: Scorecard, found: Evaluation) -> dict[str, Missing]:
    """Return which measures have no value, and why: what coverage lacks."""
    read = zip(scorecard.measures, found.readings, strict=True)
    return {row.name: reading for row, reading in read if isinstance(reading, Missing)}


def counterfactual(scorecard: Scorecard, found: Evaluation, own: Band, tenure: int) -> Counterfactual | None:
    """Return the single measure that has to move the least for the next better band, and where to; None when no single one suffices."""
    target = next_better(scorecard.bands, own)
    if target is None:
        return None
    band, threshold = target
    best: tuple[int, int, Counterfactual] | None = None
    for place, row in enumerate(scorecard.measures):
        points, reading, share = found.points[place], found.readings[place], found.shares[place]
        if points is None or not isinstance(reading, Reading) or share == 0:
            continue
        needed = points + -(-(threshold - found.score + 1) * MILLION // share)
        curve = row.curve_at(tenure)
        value = curve.value_for(needed) if needed <= FULL else None
        if value is not None and (best is None or needed - points < best[0]):
            told = _told(row, reading, value, rising=curve.rising)
            best = (needed - points, place, Counterfactual(code=row.code, measure=row.name, value=told, band=band))
    return None if best is None else best[2]


def next_better(policy: BandPolicy, own: Band) -> tuple[Band, int] | None:
    """Return the next better band and the score that asks for it."""
    if own is Band.RED:
        return Band.YELLOW, policy.red_leave
    return (Band.GREEN, policy.green_enter) if own is Band.YELLOW else None


def _told(row: Weighted, reading: Reading, value: int, *, rising: bool) -> float:
    """Return the curve's value in the unit people are told: days, users and events come whole, rounded to the safe side."""
    told = row.measure.tell(reading, value)
    if row.measure.unit == "percent":
        return told / 100
    return float(-(-told // 100) if rising else told // 100)
