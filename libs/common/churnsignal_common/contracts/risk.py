"""Pure. The record on risk.changes.v1 and its parts: the account's profile, the drivers, why and since when."""

from datetime import date, datetime
from enum import StrEnum

import msgspec


class Band(StrEnum):
    """How an account does. Grey: not enough evidence to say."""

    GREY = "grey"
    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


class Cause(StrEnum):
    """What moved the band. The silent ones reach people as one summary, never one by one."""

    EVENT = "event"
    CLOSE = "close"
    HISTORY = "history"
    FIRST = "first"
    SCORECARD = "scorecard"
    MAPPING = "mapping"
    THAW = "thaw"
    CATCH_UP = "catch_up"
    MERGED = "merged"

    @property
    def silent(self) -> bool:
        return self not in (Cause.EVENT, Cause.CLOSE)


NEAR_DAYS = 180
# A fall of the score that is news within a band: five points, in hundredths.
MARKEDLY = 500


def at_risk(arr: float | None, score: int | None, renewal_on: date | None, on: date) -> int:
    """Return the order in which accounts need somebody: revenue x risk, up to twice as much the nearer the renewal; in ten-thousandths.

    Without a score half is at risk; accounts without a known revenue come after those with one, by their risk.
    """
    risk = 10_000 - (5_000 if score is None else score)
    nearness = 0 if renewal_on is None else max(0, NEAR_DAYS - max(0, (renewal_on - on).days))
    money = min(int(arr or 0), 10**12)
    return (money * risk + risk) * (NEAR_DAYS + nearness) // NEAR_DAYS


class SilentSource(msgspec.Struct, frozen=True):
    """A source that was judged silent, and since when: together they name one outage."""

    source: str
    since: datetime


class AccountProfile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of an account, on accounts.v1 and inside each risk change. `arr` is a year's revenue in `currency`'s major unit.

    `owner` is the CSM's id or e-mail as the source gave it; alerts matches it against its directory. `merged_into` is the account that this one
    has become a part of. `silent_sources` are the sources that the account depends on and that were silent at its last close: until they are
    heard again its silence says nothing and its band moves by facts only. The profile is published when they change, so that
    alerts can mute the account from the first outage on until the list is empty.
    """

    account: str
    name: str | None = None
    plan: str | None = None
    arr: float | None = None
    currency: str | None = None
    seats: int | None = None
    renewal_on: date | None = None
    notice_days: int | None = None
    owner: str | None = None
    segment: str | None = None
    tier: str | None = None
    timezone: str | None = None
    country: str | None = None
    lifecycle: str | None = None
    parent: str | None = None
    created_on: date | None = None
    updated_at: datetime | None = None
    merged_into: str | None = None
    silent_sources: tuple[SilentSource, ...] = ()


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a driver rests on."""

    events: int | None = None
    users: int | None = None
    last_seen: date | None = None
    event_ids: tuple[str, ...] = ()


class Driver(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measure's part in the score. The `contribution`s of all drivers sum exactly to the score, in hundredths.

    `code` is stable and names a sentence in the catalog. `possible` is what the measure could have given (hundredths);
    `moved` is its change since the band was entered. `value` and `baseline` are in `unit`, over `window_days`.
    """

    code: str
    measure: str
    contribution: int
    possible: int
    value: float | None = None
    baseline: float | None = None
    unit: str = ""
    window_days: int | None = None
    moved: int | None = None
    evidence: Evidence = Evidence()


class Counterfactual(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest single change that would bring a better band: `measure` at `value` makes it `band`."""

    code: str
    measure: str
    value: float
    band: Band


class FindingKind(StrEnum):
    """What a finding is about."""

    OPPORTUNITY = "opportunity"
    RENEWAL = "renewal"
    ONBOARDING = "onboarding"


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the scorecard points out beside the band, since the close of day `since`: `code` names a sentence in the catalog, `value` is in `unit`.

    `on` is the day that `value` counts down to, if it does.
    """

    kind: FindingKind
    code: str
    since: date
    value: float | None = None
    unit: str = ""
    on: date | None = None


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """A band that a person set by hand, until `expires_at`. `computed` is what it would be without that."""

    band: Band
    computed: Band
    reason: str
    author: str
    since: datetime
    expires_at: datetime


class RiskChanged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change of band, or news within it (then `from_band` is `to_band`): other findings, another knock-out, a red score that fell further.

    `sequence` has no gaps within an account. Scores and coverage are hundredths (0..10000), null when grey. `findings` are all that hold.
    """

    account: AccountProfile
    sequence: int
    from_band: Band | None
    to_band: Band
    score_before: int | None = None
    score_after: int | None = None
    coverage: int
    drivers: tuple[Driver, ...]
    knockout: str | None = None
    override: Override | None = None
    counterfactual: Counterfactual | None = None
    previous_band_since: date | None = None
    scorecard: str
    day_record: date | None = None
    as_of: datetime
    last_seen: date | None = None
    cause: Cause
    trend: tuple[int | None, ...] = ()
    findings: tuple[Finding, ...] = ()


class RiskChangedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """CloudEvents 1.0 structured JSON around a `RiskChanged`; `id` is account:sequence."""

    specversion: str = "1.0"
    id: str
    source: str = "churnsignal/scoring"
    type: str = "churnsignal.risk.changed.v1"
    subject: str
    time: datetime
    datacontenttype: str = "application/json"
    data: RiskChanged


def risk_event(change: RiskChanged) -> RiskChangedEvent:
    """Return `change` in its CloudEvents coat."""
    name = change.account.account
    return RiskChangedEvent(id=f"{name}:{change.sequence}", subject=name, time=change.as_of, data=change)


risk_decoder = msgspec.json.Decoder(RiskChangedEvent)
profile_decoder = msgspec.json.Decoder(AccountProfile)
