"""Pure. One message about many accounts, ranked by what is at stake, with why each is there."""

from datetime import timedelta
from decimal import Decimal

from churnsignal_common.catalog import explain, formats
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.sentences import cause, say

from churnsignal_alerts.act import Act
from churnsignal_alerts.decide import TRIGGERS
from churnsignal_alerts.episodes import DIGESTED, Episode, NoticeKind
from churnsignal_alerts.inert import clean
from churnsignal_alerts.render.card import Card, Line, Reader, Tone, lasted
from churnsignal_alerts.route import priority

# As many as Slack's 50 blocks and total size carry with room to spare; the rest is counted, and listed by the API.
SHOWN = 20
_SEPARATOR = " · "


def summary(told: list[tuple[NoticeKind, Episode]], reader: Reader) -> Card:
    """Return the card of several notices for one person."""
    ranked = sorted(
        told,
        key=lambda pair: (not pair[1].active, not pair[1].kind.trouble, -priority(pair[1].change, pair[1].touched_at), pair[1].account),
    )
    locale = reader.locale
    bad = [e for kind, e in ranked if e.active and e.kind.trouble and kind is not NoticeKind.HANDED]
    digest = all(kind in DIGESTED or kind is NoticeKind.HANDED for kind, _ in told)
    everyone = formats.quantity(locale, len(ranked), "accounts")
    at_risk = formats.quantity(locale, len(bad), "accounts")
    headline = say(locale, "summary.headline", accounts=at_risk) if bad else say(locale, "summary.headline.mixed", accounts=everyone)
    if digest:
        headline = say(locale, "digest.headline", span=_span([episode for _, episode in ranked], reader), accounts=everyone)
    total = _total(bad, locale)
    left = len(ranked) - SHOWN
    return Card(
        tone=Tone.BAD if bad else Tone.CALM,
        headline=headline,
        summary=_SEPARATOR.join(part for part in (headline, total) if part),
        sections=(("", tuple(part for part in (total, say(locale, "summary.intro") if len(bad) > 1 else "") if part)),),
        notes=(say(locale, "digest.why") if digest else say(locale, "summary.why", causes=_causes(ranked, locale)),),
        lines=tuple(_line(kind, episode, reader) for kind, episode in ranked[:SHOWN]),
        more=say(locale, "summary.more", accounts=formats.quantity(locale, left, "accounts")) if left > 0 else "",
        acts=(Act.ACKNOWLEDGE,),
        episodes=tuple(episode.id for _, episode in ranked),
    )


def _span(episodes: list[Episode], reader: Reader) -> str:
    """Return the days that a digest is about: a close tells of the day that it ends."""
    days = sorted((e.change.as_of - timedelta(microseconds=1)).astimezone(reader.zone).date() for e in episodes)
    begin, end = (formats.weekday(reader.locale, day) for day in (days[0], days[-1]))
    return begin if days[0] == days[-1] else say(reader.locale, "digest.span", begin=begin, end=end)


def _total(episodes: list[Episode], locale: Locale) -> str:
    """Return the money at stake in each currency; nothing when nobody's revenue is known."""
    sums: dict[str, Decimal] = {}
    for episode in episodes:
        account = episode.change.account
        if account.arr is not None:
            key = (account.currency or "").upper()
            sums[key] = sums.get(key, Decimal(0)) + Decimal(str(account.arr))
    if not sums:
        return ""
    amounts = " + ".join(formats.per_year(locale, float(total), code) for code, total in sorted(sums.items()))
    return say(locale, "summary.total", amount=amounts)


def _causes(ranked: list[tuple[NoticeKind, Episode]], locale: Locale) -> str:
    silent = {episode.change.cause for kind, episode in ranked if not kind.alone and episode.change.cause.silent}
    words = [cause(locale, value) for value in sorted(silent)]
    return ("、" if locale is Locale.JA else ", ").join(words) or say(locale, "summary.many")


def _line(kind: NoticeKind, episode: Episode, reader: Reader) -> Line:
    locale, change, account = reader.locale, episode.change, episode.change.account
    after = formats.score(change.score_after)
    facts = [formats.per_year(locale, account.arr, account.currency) if account.arr is not None else ""]
    if account.renewal_on:
        facts.append(say(locale, "summary.line.renewal", day=formats.plain_day(locale, account.renewal_on)))
    if kind is NoticeKind.HANDED:
        reason = say(locale, "summary.line.handed", to=(episode.csm or "").removeprefix("pool:"))
    elif episode.active and not episode.kind.trouble:
        facts.append(say(locale, f"kind.{episode.kind}"))
        reason = _SEPARATOR.join(dict.fromkeys(explain.finding_sentence(locale, one) for one in TRIGGERS[episode.kind].found(change)))
    elif episode.active:
        facts.append(say(locale, "summary.line.risk", after=after))
        strongest = explain.strongest(change.drivers, 1)
        reason = explain.knockout_sentence(locale, change.knockout) if change.knockout else ""
        reason = reason or (explain.driver_sentence(locale, strongest[0]) if strongest else "")
    else:
        key = "summary.line.missed" if kind is NoticeKind.DIGEST else "summary.line.recovery"
        key = key if episode.kind.trouble else "summary.line.passed"
        reason = say(locale, key, length=lasted(episode, reader), after=after)
    return Line(
        episode.id,
        clean(episode.name, 80),
        _SEPARATOR.join(fact for fact in facts if fact),
        clean(reason, 200),
        episode.active and kind is not NoticeKind.HANDED,
    )
