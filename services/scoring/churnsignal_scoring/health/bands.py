"""Pure. The band machine: from the scores of day closes to a band that does not flap."""

import msgspec
from churnsignal_common.contracts.risk import Band

from churnsignal_scoring.health.scorecard import BandPolicy

_ORDER = {Band.GREEN: 0, Band.YELLOW: 1, Band.RED: 2}


class Standing(msgspec.Struct, frozen=True):
    """Where the score's own band stands, and how many closes in a row (`pending`, signed: worse is positive) asked for another."""

    band: Band
    pending: int = 0


def is_worse(band: Band, than: Band) -> bool:
    """Return whether `band` is worse; grey is neither better nor worse than any, except that red is worse than it."""
    if Band.GREY in (band, than):
        return band is Band.RED
    return _ORDER[band] > _ORDER[than]


def at_least(own: Band, forced: Band) -> Band:
    """Return the band to show when a fact forces one: the score's own only if that is worse."""
    return own if is_worse(own, forced) else forced


def wanted(policy: BandPolicy, current: Band, score: int | None, *, quiet: bool) -> Band:
    """Return the band that `score` asks for, coming from `current`: a band is left later than it is entered."""
    if score is None:
        return Band.GREY
    if score < policy.red_leave if current is Band.RED else score < policy.red_enter and quiet:
        return Band.RED
    if score >= (policy.green_leave if current is Band.GREEN else policy.green_enter):
        return Band.GREEN
    return Band.YELLOW


def settled(policy: BandPolicy, current: Band, score: int | None, *, quiet: bool, recovered: bool) -> Band:
    """Return the band that `score` asks for, dwell aside: red is left only once use is sustained."""
    asked = wanted(policy, current, score, quiet=quiet)
    return current if current is Band.RED and asked is not Band.GREY and not recovered else asked


def step(policy: BandPolicy, standing: Standing, score: int | None, *, quiet: bool, recovered: bool) -> Standing:
    """Return where the band stands after one more close.

    `quiet`: the silence has outlasted the account's own pauses, without which nothing turns red. `recovered`: use was sustained enough
    to leave red.
    """
    current = standing.band
    asked = settled(policy, current, score, quiet=quiet, recovered=recovered)
    if asked is current:
        return Standing(current)
    if current is Band.GREY:
        return Standing(asked)  # the first evidence is believed at once
    if asked is Band.GREY or is_worse(asked, current):
        pending = max(standing.pending, 0) + 1
        return Standing(asked) if pending >= policy.worse_closes else Standing(current, pending)
    pending = min(standing.pending, 0) - 1
    return Standing(asked) if -pending >= policy.better_closes else Standing(current, pending)
