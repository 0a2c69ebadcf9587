"""Flow. What the routes are built on."""

from dataclasses import dataclass

from churnsignal_common.clock import Clock
from churnsignal_common.runtime.health import Readiness
from churnsignal_common.runtime.tokens import Tokens

from churnsignal_alerts.commands import Desk
from churnsignal_alerts.links import Links
from churnsignal_alerts.people import People
from churnsignal_alerts.read import Reader
from churnsignal_alerts.send.slack import SlackSender
from churnsignal_alerts.settings import AlertsSettings


@dataclass(frozen=True, slots=True)
class Parts:
    """The doors and flows behind the API."""

    settings: AlertsSettings
    readiness: Readiness
    desk: Desk
    reader: Reader
    people: People
    links: Links
    clock: Clock
    tokens: Tokens
    slack: SlackSender | None = None
