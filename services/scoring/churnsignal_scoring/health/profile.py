"""Pure. What is known of an account beside its use: profile, segment and place in its life, from facts as they came."""

from enum import StrEnum
from functools import cached_property
from hashlib import blake2b

import msgspec
from churnsignal_common.contracts.risk import AccountProfile

from churnsignal_scoring.health.days import from_date, from_us
from churnsignal_scoring.health.values import as_date, as_number, as_text
from churnsignal_scoring.health.view import View

_TEXTS = ("name", "plan", "currency", "owner", "tier", "timezone", "country", "parent")
_NUMBERS = ("seats", "notice_days")
_DAYS = ("renewal_on", "created_on")
PROFILE_NUMBERS = frozenset((*_NUMBERS, "arr", "mrr"))
PROFILE_DAYS = frozenset((*_DAYS, "paused_until"))
PROFILE_FACTS = frozenset((*_TEXTS, *PROFILE_NUMBERS, *PROFILE_DAYS, "segment", "lifecycle", "outcome"))
DEFAULT_SEGMENT = "default"


class Lifecycle(StrEnum):
    """Where an account is in its life. In the last four it holds still: no score moves, no band changes."""

    TRIAL = "trial"
    ONBOARDING = "onboarding"
    ACTIVE = "active"
    CHURNED = "churned"
    PAUSED = "paused"
    IGNORED = "ignored"
    MERGED = "merged"

    @cached_property
    def holds(self) -> bool:
        return self in (Lifecycle.CHURNED, Lifecycle.PAUSED, Lifecycle.IGNORED, Lifecycle.MERGED)


_SAID = {
    **{life.value: life for life in Lifecycle if life is not Lifecycle.MERGED},
    "cancelled": Lifecycle.CHURNED,
    "canceled": Lifecycle.CHURNED,
    "subscribed": Lifecycle.ACTIVE,
    "customer": Lifecycle.ACTIVE,
}
LIFECYCLES = frozenset(_SAID)


def lifecycle(view: View) -> Lifecycle:
    """Return the account's place in its life: the later of what its traits say and of what people recorded as its outcome."""
    if view.state.merged_into is not None:
        return Lifecycle.MERGED
    facts = view.state.facts
    if "lifecycle" not in facts and "outcome" not in facts:
        return Lifecycle.ACTIVE
    said, outcome = view.version("lifecycle"), view.version("outcome")
    if outcome is not None and outcome.value is not None and (said is None or outcome.stamp > said.stamp):
        return Lifecycle.CHURNED if outcome.value == "churned" else Lifecycle.ACTIVE
    found = Lifecycle.ACTIVE if said is None else _SAID.get(str(said.value).casefold(), Lifecycle.ACTIVE)
    if found is Lifecycle.PAUSED:
        until = as_date(view.fact("paused_until"))
        if until is not None and from_date(until) <= view.as_of:
            return Lifecycle.ACTIVE
    return found


def segment(view: View, by: tuple[str, ...]) -> str:
    """Return the first known of the facts `by`, as one word whatever its case."""
    for name in by:
        value = view.fact(name) if name in view.state.facts else None
        if value is not None and str(value).strip():
            return str(value).strip().casefold()
    return DEFAULT_SEGMENT


def read_profile(view: View, segment_name: str, life: Lifecycle) -> AccountProfile:
    """Return the profile; what cannot be read as what it should be is left out, never guessed."""
    texts = {name: as_text(view.fact(name)) for name in _TEXTS}
    numbers = {name: _amount(view.fact(name)) for name in _NUMBERS}
    days = {name: as_date(view.fact(name)) for name in _DAYS}
    # Facts that were taken over from a merged account have no time of their own.
    versions = (view.version(name) for name in PROFILE_FACTS)
    changed = max((version.occurred_us for version in versions if version is not None and version.occurred_us > 0), default=None)
    return AccountProfile(
        account=view.state.account,
        name=texts["name"],
        plan=texts["plan"],
        arr=revenue(view),
        currency=texts["currency"],
        seats=_whole(numbers["seats"]),
        renewal_on=days["renewal_on"],
        notice_days=_whole(numbers["notice_days"]),
        owner=texts["owner"],
        segment=segment_name,
        tier=texts["tier"],
        timezone=texts["timezone"],
        country=texts["country"],
        lifecycle=life.value,
        parent=texts["parent"],
        created_on=days["created_on"],
        updated_at=None if changed is None else from_us(changed),
        merged_into=view.state.merged_into,
        silent_sources=view.state.memory.silent,
    )


def fingerprint(profile: AccountProfile) -> str:
    """Return what tells a changed profile from one that was only said again."""
    said = msgspec.json.encode(msgspec.structs.replace(profile, updated_at=None))
    return blake2b(said, digest_size=8).hexdigest()


def revenue(view: View) -> float | None:
    """Return a year's revenue: what was said last, a month's twelve times."""
    versions = (view.version("arr"), 1), (view.version("mrr"), 12)
    said = [(version.stamp, version.value, times) for version, times in versions if version is not None and version.value is not None]
    if not said:
        return None
    _, value, times = max(said)
    amount = _amount(value)
    return None if amount is None else amount * times


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _amount(value: object) -> float | None:
    number = as_number(value)
    return None if number is None or number < 0 else number
