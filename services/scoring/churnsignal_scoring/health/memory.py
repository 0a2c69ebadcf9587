"""Pure. What an account's band remembers between evaluations; it moves at day closes, and between them only to the worse."""

import sys
from array import array

import msgspec
from churnsignal_common.contracts.risk import Band, Cause, Finding, SilentSource

from churnsignal_scoring.health.outages import Ranges

# What a message draws: a quarter.
TREND_CLOSES = 90
_SCORE_BYTES = 2


class Side(msgspec.Struct, frozen=True, array_like=True):
    """How one of two scorecards has stood since they run side by side: how often it turned red when that was news, and the first close it was red at."""

    band: Band
    score: int | None
    turned_red: int = 0
    first_red: int | None = None


class Shadow(msgspec.Struct, frozen=True):
    """A scorecard beside the one in force, since the close of day `since`; `own` and `pending` are its own band memory."""

    version: str
    since: int
    own: Band
    pending: int
    in_force: Side
    shadow: Side


class BandMemory(msgspec.Struct, omit_defaults=True):
    """`band` is what people see since day `since`; `own` is what the score alone says, and `pending` how many closes in a row asked for another.

    `sequence` numbers the published changes. `mark` is the silent cause that changes carry until the band has settled for `mark_left` more
    closes. `entered*` are the score and the contributions at entry. `trend` packs the scores of the last closes in two bytes each.
    `known_knockout` is the call that came by history and therefore alerts nobody. `hand` is the call by which a person last set or ended an
    override. `red_children` are how many accounts directly below were red as of the last day record. `findings` hold as of the last close; `told_score` and `told_knockout` are those of the last published change. `fed` are the
    sources the account depends on, `silent` those of them that freeze it, and `outages` the days on which it was frozen. `shadow` is what
    another scorecard remembers beside this.
    """

    band: Band = Band.GREY
    since: int | None = None
    previous_since: int | None = None
    sequence: int = 0
    own: Band = Band.GREY
    pending: int = 0
    mark: Cause | None = None
    mark_left: int = 0
    closed_day: int | None = None
    score: int | None = None
    coverage: int = 0
    entered_score: int | None = None
    entered: dict[str, int] = {}
    known_knockout: str | None = None
    hand: str | None = None
    fed: tuple[str, ...] = ()
    silent: tuple[SilentSource, ...] = ()
    outages: Ranges = ()
    red_children: int = 0
    trend: bytes = b""
    findings: tuple[Finding, ...] = ()
    told_score: int | None = None
    told_knockout: str | None = None
    shadow: Shadow | None = None

    @property
    def frozen(self) -> bool:
        """Return whether the score holds still, because nobody can see what the account does."""
        return bool(self.silent)

    @property
    def scores(self) -> tuple[int | None, ...]:
        """Return the scores of the last closes, newest last; None where there was none."""
        return tuple(None if score < 0 else score for score in array("h", self.trend))

    def note(self, score: int | None) -> None:
        """Add the score of one more close."""
        self.trend = self.trend[-_SCORE_BYTES * (TREND_CLOSES - 1) :] + (-1 if score is None else score).to_bytes(
            _SCORE_BYTES, sys.byteorder, signed=True
        )
