"""Pure. What an account's band remembers between evaluations; it moves at day closes, and between them only to the worse."""

import msgspec

from churnsignal_common.contracts.risk import Band, Cause


class BandMemory(msgspec.Struct):
    """`since` is the day the band was entered, `sequence` the number of the last published change.

    `pending` is a band that the score has asked for during `pending_days` closes in a row. `mark` is the silent cause that
    changes carry until the band has settled for `mark_left` more closes. `entered` are the contributions at entry, by measure.
    `trend` are the scores of the last closes, newest last.
    """

    band: Band = Band.GREY
    since: int | None = None
    sequence: int = 0
    pending: Band | None = None
    pending_days: int = 0
    mark: Cause | None = None
    mark_left: int = 0
    closed_day: int | None = None
    score: int | None = None
    coverage: int = 0
    entered_score: int | None = None
    entered: dict[str, int] = {}
    previous_since: int | None = None
    frozen: bool = False
    trend: tuple[int | None, ...] = ()
