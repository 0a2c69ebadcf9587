"""Pure. From a message's notices to what is handed to the channel: which still matter, which card, which links."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.sentences import say

from churnsignal_alerts.act import Act
from churnsignal_alerts.delivery import Delivery
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.episodes import Episode, NoticeKind, State
from churnsignal_alerts.links import Links, Ticket
from churnsignal_alerts.outcome import Outgoing
from churnsignal_alerts.policy import Policy
from churnsignal_alerts.render.card import Card, Reader, card, note_card
from churnsignal_alerts.render.mail import mail_body
from churnsignal_alerts.render.slack import slack_body
from churnsignal_alerts.render.summary import summary
from churnsignal_alerts.render.webhook import webhook_body
from churnsignal_alerts.route import Setup


@dataclass(frozen=True, slots=True)
class Content:
    """One notice of a message with its episode as it is now."""

    notice: int
    kind: NoticeKind
    episode: Episode


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message goes beside its address: the thread it answers, or the message it edits; and whether it may be there already."""

    thread: str | None = None
    edit: str | None = None
    duplicate: bool = False


def wanted(content: Content, now: datetime) -> bool:
    """Return whether it should still be told: a call to act is void once somebody acted or the trouble is over."""
    if not content.kind.needs_open:
        return True
    episode = content.episode
    return episode.state is State.OPEN or (episode.state is State.SNOOZED and episode.until is not None and episode.until <= now)


def compose(delivery: Delivery, contents: list[Content], place: Place, setup: Setup, links: Links, now: datetime) -> Outgoing:
    """Return the message in the reader's language, ready to hand over."""
    policy = setup.policy
    reader = Reader(Locale(delivery.locale), ZoneInfo(delivery.zone), delivery.recipient, setup.directory)
    shown = note_card(delivery.note, reader.locale) if delivery.note else _card(contents, reader, now)
    if len(contents) == 1:
        shown = replace(shown, url=policy.account_link(contents[0].episode.account))
    note = say(reader.locale, "email.duplicate") if place.duplicate else ""
    slack = slack_body(shown, reader.locale, note) if delivery.channel is Channel.SLACK else None
    urls = _links(shown, delivery, policy, links, now) if delivery.channel is Channel.EMAIL else {}
    mail = mail_body(shown, reader.locale, delivery.address, urls, note) if delivery.channel is Channel.EMAIL else None
    told = [(content.kind, content.episode) for content in contents]
    hook = webhook_body(told, shown.headline, reader.locale, now) if delivery.channel is Channel.WEBHOOK else None
    return Outgoing(
        delivery.key,
        delivery.address,
        delivery.name,
        shown.episodes,
        slack,
        mail,
        place.thread,
        place.edit,
        place.duplicate,
        hook,
    )


def _card(contents: list[Content], reader: Reader, now: datetime) -> Card:
    only = contents[0]
    if len(contents) == 1 and only.kind in (NoticeKind.SUMMARY, NoticeKind.LINE):
        # A summary of one is the one message.
        return card(NoticeKind.RISK, only.episode, reader, now)
    if len(contents) == 1 and only.kind.alone:
        return card(only.kind, only.episode, reader, now)
    return summary([(content.kind, content.episode) for content in contents], reader)


def _links(shown: Card, delivery: Delivery, policy: Policy, links: Links, now: datetime) -> Mapping[tuple[Act, str], str]:
    if not links.on:
        return {}
    expires = now + policy.link_valid
    acts = [(act, shown.episodes[0]) for act in shown.acts] if not shown.lines else []
    acts += [(Act.ACKNOWLEDGE, line.episode) for line in shown.lines if line.open]
    return {(act, episode): links.url(Ticket(act, episode, delivery.recipient, expires)) for act, episode in acts}
