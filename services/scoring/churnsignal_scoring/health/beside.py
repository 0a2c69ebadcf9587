"""Pure. Another scorecard beside the one in force: the band it asks for, and how its band moves from close to close while it alerts nobody."""

from typing import NamedTuple

from churnsignal_common.contracts.risk import Band

from churnsignal_scoring.health.assessment import Look
from churnsignal_scoring.health.bands import Standing, settled, step
from churnsignal_scoring.health.measures.silence import is_quiet, is_sustained
from churnsignal_scoring.health.memory import BandMemory, Shadow, Side


class Asked(NamedTuple):
    """The band that a scorecard asks for once the band has settled, and its score."""

    band: Band
    score: int | None


def shape(look: Look, own: Band) -> tuple[bool, bool]:
    """Return whether the silence has outlasted the account's own pauses, and whether its use is sustained enough to leave red."""
    policy = look.card.bands
    if own is Band.RED:
        return False, is_sustained(look.view, policy.recovery_active_days, policy.recovery_window)
    low = look.score is not None and look.score < policy.red_enter
    return low and is_quiet(look.view, policy.pause_percent, policy.unknown_pause_days), False


def moved(look: Look, standing: Standing) -> Standing:
    """Return where the score's own band stands after one more close."""
    quiet, recovered = shape(look, standing.band)
    return step(look.card.bands, standing, look.score, quiet=quiet, recovered=recovered)


def asked(memory: BandMemory, look: Look) -> Asked:
    """Return what the scorecard of `look` asks for, dwell aside."""
    if look.life.holds or memory.frozen:
        return Asked(memory.band, memory.score)
    return Asked(look.shown(_settled(memory, look)), look.score)


def _settled(memory: BandMemory, look: Look) -> Band:
    quiet, recovered = shape(look, memory.own)
    return settled(look.card.bands, memory.own, look.score, quiet=quiet, recovered=recovered)


def beside(memory: BandMemory, shown: Band, look: Look, version: str) -> Shadow:
    """Return what the scorecard of `look` remembers after a close at which the one in force has `shown` its band.

    It begins with the band it asks for, as a preview does, and from then on waits as any scorecard does.
    """
    before = memory.shadow if memory.shadow is not None and memory.shadow.version == version else None
    held, day = look.life.holds or memory.frozen, look.view.as_of
    if before is None:
        own, pending = (memory.own if held else _settled(memory, look)), 0
        band, score = asked(memory, look)
        return Shadow(version, day, own, pending, _side(None, shown, memory.score, day, memory), _side(None, band, score, day, memory))
    if held:
        return before
    standing = moved(look, Standing(before.own, before.pending))
    in_force = _side(before.in_force, shown, memory.score, day, memory)
    shadow = _side(before.shadow, look.shown(standing.band), look.score, day, memory)
    return Shadow(version, before.since, standing.band, standing.pending, in_force, shadow)


def _side(before: Side | None, band: Band, score: int | None, day: int, memory: BandMemory) -> Side:
    red = band is Band.RED
    if before is None:
        return Side(band, score, 0, day if red else None)
    # A change with a silent cause is told to nobody, whichever scorecard it comes from.
    turned = red and before.band is not Band.RED and memory.mark is None
    first = day if red and before.first_red is None else before.first_red
    return Side(band, score, before.turned_red + turned, first)
