"""Pure. What tests of alerts start from: a change, a setup, people."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from churnsignal_alerts.decide import Verdict, apply, decide
from churnsignal_alerts.directory import Channel, Csm, directory_of
from churnsignal_alerts.episodes import Episode, Kind, State
from churnsignal_alerts.policy import Policy
from churnsignal_alerts.policy_file import default_text, parse_policy
from churnsignal_alerts.render.card import Reader
from churnsignal_alerts.route import Setup
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.contracts.examples import CHANGE
from churnsignal_common.contracts.risk import Band, Cause, RiskChanged

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
POLICY: Policy = parse_policy(default_text(), "routing.yaml")
BOTH = frozenset(Channel)
HANAKO = Csm("hanako", "佐藤 花子", "hanako@example.com", "U0HANAKO", Locale.JA, "Asia/Tokyo", "JP")
EMMA = Csm("emma", "Emma Stone", "emma@example.com", "U0EMMA", Locale.EN, "Europe/London", "GB")
READERS = {
    "ja": Reader(Locale.JA, ZoneInfo("Asia/Tokyo"), "hanako", directory_of([HANAKO, EMMA])),
    "en": Reader(Locale.EN, ZoneInfo("Europe/London"), "hanako", directory_of([HANAKO, EMMA])),
}


def change(sequence: int = 1, to: Band = Band.RED, **fields: Any) -> RiskChanged:
    """Return a change of the example account; fields of its profile are given with `profile_`."""
    profile = {name.removeprefix("profile_"): fields.pop(name) for name in list(fields) if name.startswith("profile_")}
    account = msgspec.structs.replace(CHANGE.account, **profile)
    values = {"from_band": Band.YELLOW, "as_of": NOON, "cause": Cause.CLOSE} | fields
    return msgspec.structs.replace(CHANGE, account=account, sequence=sequence, to_band=to, **values)


def setup(people: Iterable[Csm] = (HANAKO, EMMA), policy: Policy = POLICY, channels: frozenset[Channel] = BOTH) -> Setup:
    return Setup(directory_of(people), policy, channels)


def opened(**fields: Any) -> Episode:
    """Return the episode that the example change opens, as if told."""
    first = change()
    episode = apply(decide(Kind.RISK, None, first, NOON, POLICY.rules), Kind.RISK, None, first, POLICY.rules.flap_window)
    assert episode is not None
    values: dict[str, Any] = {"told": True, "csm": "hanako", **fields}
    return replace(episode, **values)


def recovered(after: timedelta = timedelta(days=3), **fields: Any) -> Episode:
    """Return the episode after it got better, its end told."""
    ended = NOON + after
    better = change(2, Band.YELLOW, from_band=Band.RED, as_of=ended, score_before=2310, score_after=4800)
    episode = apply(Verdict.TELL_RECOVERED, Kind.RISK, opened(), better, POLICY.rules.flap_window)
    assert episode is not None
    assert episode.state is State.RECOVERED
    values: dict[str, Any] = {"told": True, "over_told": True, **fields}
    return replace(episode, **values)
