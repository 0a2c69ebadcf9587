"""Pure. What is kept of a day's evaluation, so that it can be explained for ever: small, by place in the scorecard that the day record names."""

import msgspec
from churnsignal_common.contracts.risk import AccountProfile, Band, Counterfactual, Finding, Override

from churnsignal_scoring.health.assessment import Assessment, Explanation, Look, by_hand
from churnsignal_scoring.health.days import from_date, to_date
from churnsignal_scoring.health.evaluate import Evaluation, add_up
from churnsignal_scoring.health.explain import Seen, counterfactual, drivers, missing, seen
from churnsignal_scoring.health.measures.measure import Missing, Reading
from churnsignal_scoring.health.memory import BandMemory
from churnsignal_scoring.health.scorecard import Scorecard

_MISSING = tuple(Missing)
_Kept = tuple[int, int | None, int | None, int | None, int, str | None]


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """The reasons of one evaluation. `computed` is the band without the hand that overrides.

    `readings` are (value, baseline, events, users, allowed, event id), or which of the reasons there is none; `tenure` says which curves counted.
    """

    variant: str
    lifecycle: str
    held: str | None
    knockout: str | None
    computed: Band
    override: Override | None
    points: tuple[int | None, ...]
    readings: tuple[_Kept | int, ...]
    entered: tuple[int | None, ...]
    last_seen: int | None
    last_call: str | None
    tenure: int
    findings: tuple[Finding, ...]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Kept).decode


def keep(look: Look, memory: BandMemory, verdict: Assessment, found: tuple[Finding, ...]) -> Kept:
    """Return what is needed to explain the evaluation later."""
    last = seen(look.view)
    return Kept(
        look.card.name,
        verdict.lifecycle,
        verdict.held,
        verdict.knockout,
        look.computed(memory.own),
        by_hand(look, memory.own),
        look.found.points,
        tuple(_reading(reading) for reading in look.found.readings),
        tuple(memory.entered.get(row.name) for row in look.card.measures),
        None if last.on is None else from_date(last.on),
        last.call,
        look.view.tenure,
        found,
    )


def _reading(reading: Reading | Missing) -> _Kept | int:
    if isinstance(reading, Missing):
        return _MISSING.index(reading)
    return reading.value, reading.baseline, reading.events, reading.users, reading.allowed, reading.event_id


def unfold(kept: Kept, card: Scorecard, verdict: Assessment, profile: AccountProfile | None = None) -> Explanation:
    """Return the explanation that was kept; `card` is the variant that counted."""
    readings = tuple(_MISSING[one] if isinstance(one, int) else Reading(0, *one) for one in kept.readings)
    shares = card.shares(sum(1 << place for place, points in enumerate(kept.points) if points is not None))
    found = Evaluation(add_up(kept.points, shares), verdict.coverage, readings, kept.points, shares)
    entered = {row.name: part for row, part in zip(card.measures, kept.entered, strict=True) if part is not None}
    last = Seen(None if kept.last_seen is None else to_date(kept.last_seen), kept.last_call)
    return Explanation(
        verdict,
        drivers(card, found, entered, last),
        _better(kept, card, found, verdict),
        profile,
        missing(card, found),
        kept.findings,
        kept.variant,
        kept.computed,
        kept.override,
    )


def _better(kept: Kept, card: Scorecard, found: Evaluation, verdict: Assessment) -> Counterfactual | None:
    # Where a fact or a hand forces the band, no measure would help.
    if verdict.score is None or kept.knockout is not None or kept.override is not None:
        return None
    return counterfactual(card, found, kept.computed, kept.tenure)
