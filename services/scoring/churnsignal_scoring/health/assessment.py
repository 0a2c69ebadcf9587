"""Pure. What an evaluation of an account comes to: the score with everything beside it that decides the band."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from churnsignal_common.contracts.days import DayRecord
from churnsignal_common.contracts.risk import AccountProfile, Band, Counterfactual, Driver, Finding, Override, RiskChanged

from churnsignal_scoring.health.bands import at_least
from churnsignal_scoring.health.days import from_us
from churnsignal_scoring.health.evaluate import Evaluation
from churnsignal_scoring.health.knockouts import Forced
from churnsignal_scoring.health.measures.measure import Missing
from churnsignal_scoring.health.profile import Lifecycle
from churnsignal_scoring.health.scorecard import Scorecard
from churnsignal_scoring.health.view import View

FROZEN = "frozen"


class Assessment(msgspec.Struct, frozen=True, array_like=True):
    """What the score says as of the end of `as_of`. `held` is why the account holds still (churned, paused, ignored, frozen).

    `score` is null when there is not enough evidence; `band` is what people see, after memory, knock-outs and override.
    """

    as_of: int
    score: int | None
    coverage: int
    band: Band
    segment: str
    lifecycle: str
    knockout: str | None
    held: str | None
    record_day: int | None


class Ranks(msgspec.Struct, frozen=True):
    """Where lists show the account: by its score (the worst first), and by what is at risk. As of the last close or news of it.

    Not of every call: a list in order needs an index, and an index on what each call moves would cost every write.
    """

    standing: int
    at_risk: int


UNSCORED = 10_001
"""Grey accounts have no score and come last when the worst come first."""
LAST = Ranks(UNSCORED, 0)


class Closed(msgspec.Struct, frozen=True):
    """What a day closed with: the band as of its end, whatever was told since, and the last change of band by then.

    `reasons` packs what explains it, for those who keep it: ask before the next call is applied.
    """

    band: Band
    sequence: int
    reasons: Callable[[], bytes] | None


class Settled(msgspec.Struct, frozen=True):
    """What came of an evaluation. `change` is already counted in the state's sequence; `profile` and `ranks` are set when they changed."""

    assessment: Assessment
    change: RiskChanged | None
    profile: AccountProfile | None
    ranks: Ranks | None = None
    closed: Closed | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the score is what it is: contributions of `drivers` sum exactly to the score.

    `missing` are the measures without a value, and why; `findings` what the scorecard points out besides; `variant` the scorecard's part
    that counts for the account; `computed` the band without the hand that overrides. `profile` is not kept of the past.
    """

    assessment: Assessment
    drivers: tuple[Driver, ...]
    counterfactual: Counterfactual | None
    profile: AccountProfile | None
    missing: dict[str, Missing]
    findings: tuple[Finding, ...]
    variant: str
    computed: Band
    override: Override | None


class Look(msgspec.Struct, frozen=True):
    """One evaluation with everything that decides the band."""

    view: View
    found: Evaluation
    score: int | None
    segment: str
    life: Lifecycle
    card: Scorecard
    knockouts: tuple[Forced, ...]
    override: Forced | None
    record: DayRecord | None

    def asked(self) -> dict[str, int]:
        """Return what of the newest day it stands on."""
        return self.view.state.newest(self.view.asked.union(*self.found.asked))

    def knockout(self, own: Band) -> Forced | None:
        """Return the first knock-out in force while the score's own band is `own`."""
        for one in self.knockouts:
            if one.only_from is None or own in one.only_from:
                return one
        return None

    def shown(self, own: Band) -> Band:
        """Return what people should see while the score's own band is `own`: a hand overrides, a fact forces, else the score."""
        if self.override is None:
            return self.computed(own) if self.knockouts else own
        return self.override.band

    def computed(self, own: Band) -> Band:
        """Return the same without the hand."""
        knockout = self.knockout(own)
        return own if knockout is None else at_least(own, knockout.band)


class Live(msgspec.Struct, frozen=True, array_like=True):
    """What an account's last live evaluation came to: by which day's norms and scorecard, and what of the newest day it asked for."""

    of_day: int
    asked: dict[str, int]
    verdict: Assessment
    found: Evaluation


def by_hand(look: Look, own: Band) -> Override | None:
    """Return the override in force, as people set it."""
    said = None if look.override is None else look.override.fact
    if said is None:
        return None
    told = {name: said.value[name] for name in ("band", "reason", "author", "expires_at")}
    return msgspec.convert(told | {"since": from_us(said.occurred_us), "computed": look.computed(own)}, Override)


def forced_by(look: Look, own: Band, band: Band) -> str | None:
    """Return the reason code of what forced `band`, if the score's `own` did not."""
    forced = look.override or look.knockout(own)
    return forced.code if forced is not None and forced.band is band else None


def exists(view: View) -> bool:
    return view.first is not None or any(versions[-1].day <= view.end for versions in view.state.facts.values())
