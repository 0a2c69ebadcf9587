"""Pure. Which mapping and scorecard are in force when: published versions, activations with their moments, and the policy they make."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple, TypeVar

from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_common.mapping.usage import Usage

from churnsignal_scoring.health.scorecard import Scorecard

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""The first version of each kind has been in force for ever."""
T = TypeVar("T")
Timeline = tuple[tuple[datetime, T], ...]


class Kind(StrEnum):
    """What an activation puts into force. A shadow is a scorecard that runs beside the other one and alerts nobody; it may end."""

    MAPPING = "mapping"
    SCORECARD = "scorecard"
    SHADOW = "shadow"

    @property
    def published_as(self) -> "Kind":
        return Kind.SCORECARD if self is Kind.SHADOW else self


class Activation(NamedTuple):
    """From `effective_from` on `version` counts: for calls received since, or for the closes of days that end since."""

    id: int
    kind: Kind
    version: str | None
    effective_from: datetime
    author: str


class Mappings:
    """Several mappings, each for the calls received since its moment: a replay reads every call as it was read at first."""

    def __init__(self, timeline: Timeline[Mapper]) -> None:
        self._newest_first = timeline[::-1]

    def usage(self, envelope: Envelope) -> Usage:
        """Return what the call means; raises `msgspec.DecodeError` when the call is no JSON object."""
        received = envelope.received_at
        return next((mapper for since, mapper in self._newest_first if received >= since), self._newest_first[-1][1]).usage(envelope)


@dataclass(frozen=True)
class Policy:
    """`generation` is the newest activation known; `cards` are all scorecards by version: a day keeps the one that its record names."""

    generation: int
    mappings: Timeline[Mapper]
    scorecards: Timeline[Scorecard]
    shadows: Timeline[Scorecard | None]
    cards: Mapping[str, Scorecard]

    def reader(self) -> Mapper | Mappings:
        """Return what reads calls."""
        return self.mappings[0][1] if len(self.mappings) == 1 else Mappings(self.mappings)

    def mapping_at(self, moment: datetime) -> Mapper:
        return _at(self.mappings, moment)

    def scorecard_at(self, moment: datetime) -> Scorecard:
        return _at(self.scorecards, moment)

    def shadow_at(self, moment: datetime) -> Scorecard | None:
        """Return what runs beside it, if anything does."""
        return _at(self.shadows, moment) if self.shadows and self.shadows[0][0] <= moment else None


def fixed_policy(mapper: Mapper, scorecard: Scorecard, shadow: Scorecard | None = None) -> Policy:
    """Return the policy of one mapping and one scorecard: for backtests."""
    cards = {card.version: card for card in (scorecard, shadow) if card is not None}
    return Policy(0, ((ALWAYS, mapper),), ((ALWAYS, scorecard),), ((ALWAYS, shadow),), cards)


def policy_of(activations: Sequence[Activation], mappers: Mapping[str, Mapper], cards: Mapping[str, Scorecard]) -> Policy:
    """Return the policy; there is at least one mapping and one scorecard among the activations."""
    return Policy(
        generation=max(activation.id for activation in activations),
        mappings=tuple((at, mappers[str(version)]) for at, version in timeline(activations, Kind.MAPPING)),
        scorecards=tuple((at, cards[str(version)]) for at, version in timeline(activations, Kind.SCORECARD)),
        shadows=tuple((at, None if version is None else cards[version]) for at, version in timeline(activations, Kind.SHADOW)),
        cards=cards,
    )


def timeline(activations: Iterable[Activation], kind: Kind) -> list[tuple[datetime, str | None]]:
    """Return when which version of a kind is in force; of two at the same moment the one activated later wins."""
    found = sorted(((one.effective_from, one.id, one.version) for one in activations if one.kind is kind), key=lambda one: one[:2])
    return [(at, version) for at, _, version in found]


def _at(line: Timeline[T], moment: datetime) -> T:
    return next((thing for since, thing in reversed(line) if since <= moment), line[0][1])
