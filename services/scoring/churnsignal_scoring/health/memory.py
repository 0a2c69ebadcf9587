"""Pure. What an account's band remembers between evaluations; it moves at day closes, and between them only to the worse."""

import msgspec
from churnsignal_common.contracts.risk import Band, Cause, Finding

# What a message draws: a quarter.
TREND_CLOSES = 90


class BandMemory(msgspec.Struct):
    """`band` is what people see since day `since`; `own` is what the score alone says, and `pending` how many closes in a row asked for another.

    `sequence` numbers the published changes. `mark` is the silent cause that changes carry until the band has settled for `mark_left` more
    closes. `entered*` are the score and the contributions at entry. `trend` are the scores of the last closes, newest last.
    `known_knockout` is the call that came by history and therefore alerts nobody. `findings` hold as of the last close; `told_score` and
    `told_knockout` are those of the last published change.
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
    frozen: bool = False
    trend: list[int | None] = []
    findings: tuple[Finding, ...] = ()
    told_score: int | None = None
    told_knockout: str | None = None
