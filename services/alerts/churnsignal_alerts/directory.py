"""Pure. The customer success managers: who they are, how to reach them, who stands in for them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from zoneinfo import ZoneInfo

from churnsignal_common.catalog.locales import Locale

from churnsignal_alerts.hours import Hours


class Channel(StrEnum):
    """A way to reach a person."""

    SLACK = "slack"
    EMAIL = "email"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Csm:
    """One customer success manager. `away_from`..`away_until` are whole days in their zone, both included; `channels` in order of preference."""

    id: str
    name: str
    email: str | None = None
    slack: str | None = None
    locale: Locale = Locale.EN
    zone: str | None = None
    country: str | None = None
    hours: Hours | None = None
    channels: tuple[Channel, ...] = (Channel.SLACK,)
    manager: str | None = None
    delegate: str | None = None
    away_from: date | None = None
    away_until: date | None = None
    active: bool = True

    def address(self, channel: Channel) -> str | None:
        return {Channel.SLACK: self.slack, Channel.EMAIL: self.email}.get(channel)

    def away_on(self, day: date) -> bool:
        """Return whether they are on leave on `day`; without an end, until told otherwise."""
        if self.away_from is None and self.away_until is None:
            return False
        return (self.away_from is None or self.away_from <= day) and (self.away_until is None or day <= self.away_until)


@dataclass(slots=True)
class Directory:
    """All CSMs, found by id, by e-mail or by Slack user, whatever the case of the letters."""

    csms: dict[str, Csm] = field(default_factory=dict)
    _by_key: dict[str, Csm] = field(default_factory=dict)

    def find(self, key: str | None) -> Csm | None:
        return self._by_key.get(key.strip().casefold()) if key else None


def directory_of(csms: Iterable[Csm]) -> Directory:
    """Return the directory; an id wins over an equal e-mail of somebody else."""
    people = {csm.id: csm for csm in sorted(csms, key=lambda csm: csm.id)}
    by_key: dict[str, Csm] = {}
    for key in ("slack", "email", "id"):
        by_key.update({value.strip().casefold(): csm for csm in people.values() if (value := getattr(csm, key))})
    return Directory(people, by_key)


def zone_of(name: str | None, default: ZoneInfo) -> ZoneInfo:
    """Return the zone, which was checked when it was stored; the default for none."""
    return ZoneInfo(name) if name else default
