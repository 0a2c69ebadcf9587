"""Pure. A message for machines: the notices with their episodes as JSON, in the payload form of the Standard Webhooks."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from churnsignal_common.catalog import explain
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.contracts.risk import RiskChanged

from churnsignal_alerts.decide import TRIGGERS
from churnsignal_alerts.episodes import Episode, NoticeKind

TYPE = "churnsignal.alert.v1"


class Told(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One notice: `kind` says what happened, `reasons` are the strongest drivers, or what the scorecard points out, in words; `change` is the record of risk.changes.v1."""

    kind: NoticeKind
    episode: str
    episode_kind: str
    state: str
    opened_at: datetime
    ended_at: datetime | None = None
    csm: str | None = None
    reasons: tuple[str, ...] = ()
    change: RiskChanged


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a webhook. `text` is the headline in the receiver's language."""

    type: str = TYPE
    timestamp: datetime
    text: str
    data: tuple[Told, ...]


def webhook_body(contents: Sequence[tuple[NoticeKind, Episode]], headline: str, locale: Locale, now: datetime) -> bytes:
    """Return the bytes to sign and send."""
    return msgspec.json.encode(Alert(timestamp=now, text=headline, data=tuple(_told(kind, episode, locale) for kind, episode in contents)))


def _told(kind: NoticeKind, episode: Episode, locale: Locale) -> Told:
    found = TRIGGERS[episode.kind].found(episode.change)
    reasons = tuple(explain.finding_sentence(locale, one) for one in found) or tuple(
        explain.driver_sentence(locale, driver) for driver in explain.strongest(episode.change.drivers, 3)
    )
    return Told(
        kind=kind, episode=episode.id, episode_kind=episode.kind, state=episode.state, opened_at=episode.opened_at, ended_at=episode.ended_at,
        csm=episode.csm, reasons=reasons, change=episode.change,
    )  # fmt: skip
