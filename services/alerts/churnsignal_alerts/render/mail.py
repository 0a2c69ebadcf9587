"""Pure. A card as an e-mail: subject, plain text and HTML; autoescape is forced, links are only ours."""

from collections.abc import Mapping
from dataclasses import dataclass

from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.sentences import say
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from churnsignal_alerts.act import Act
from churnsignal_alerts.inert import clean
from churnsignal_alerts.render.card import Card, Tone
from churnsignal_alerts.render.picture import picture

# The Content-ID of the picture: unique within its mail, which is all that is asked of it.
PICTURE = "score@churnsignal"
_SUBJECT = 150
_COLOURS = {Tone.BAD: "#d43f3a", Tone.WARN: "#b9770e", Tone.GOOD: "#2e8b57", Tone.CALM: "#7a8594"}

_environment = Environment(
    loader=PackageLoader("churnsignal_alerts", "templates"),
    autoescape=select_autoescape(enabled_extensions=("html",), disabled_extensions=("txt",), default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class MailBody:
    """One e-mail's content."""

    subject: str
    text: str
    html: str
    picture: bytes | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A labelled link to one of our own pages. The first of a message is its main one."""

    label: str
    url: str


def mail_body(card: Card, locale: Locale, address: str, links: Mapping[tuple[Act, str], str], duplicate: str = "") -> MailBody:
    """Return the e-mail. `links` are signed addresses by act and episode; without them nothing can be done from the mail."""
    image = picture(card.history.scores, _COLOURS[card.tone]) if card.history else None
    facts = {
        "card": card,
        "picture": f"cid:{PICTURE}" if image else "",
        "lang": locale.value,
        "colour": _COLOURS[card.tone],
        "buttons": [
            Link(say(locale, f"button.{act}"), links[act, card.episodes[0]])
            for act in card.acts
            if not card.lines and (act, card.episodes[0]) in links
        ],
        "open": Link(say(locale, "button.open"), card.url) if card.url else None,
        "line_links": {
            line.episode: Link(say(locale, "button.acknowledge"), links[key])
            for line in card.lines
            if line.open and (key := (Act.ACKNOWLEDGE, line.episode)) in links
        },
        "state_label": say(locale, "label.state"),
        "how": say(locale, "email.how"),
        "footer": say(locale, "email.footer", address=clean(address), episode=card.episodes[0] if card.episodes else "–"),
        "duplicate": duplicate,
    }
    text = _environment.get_template("message.txt").render(facts)
    return MailBody(card.headline[:_SUBJECT], text, _environment.get_template("message.html").render(facts), image)


def page(name: str, **facts: object) -> str:
    """Return one of the pages behind the links."""
    return _environment.get_template(name).render(facts)
