"""Pure. One message about many accounts, ranked by what is at stake, with why each is there."""

from datetime import timedelta
from decimal import Decimal

from churnsignal_common.catalog import explain, formats
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.sentences import band, cause, say
from churnsignal_common.contracts.risk import Band

from churnsignal_alerts.act import Act
from churnsignal_alerts.decide import TRIGGERS
from churnsignal_alerts.episodes import DIGESTED, Episode, Kind, NoticeKind, State
from churnsignal_alerts.inert import clean
from churnsignal_alerts.render.card import Card, Line, Reader, Tone, lasted, state_line
from churnsignal_alerts.route import priority

_HEADLINES = {Kind.RISK: "summary.headline", Kind.EARLY_WARNING: "summary.headline.early_warning"}
_SEPARATOR = " · "


def summary(told: list[tuple[NoticeKind, Episode]], reader: Reader) -> Card:
    """Return the card of several notices for one person."""
    ranked = sorted(
        told,
        key=lambda pair: (not pair[1].active, not pair[1].kind.trouble, -priority(pair[1].change, pair[1].touched_at), pair[1].account),
    )
    locale = reader.locale
    bad = [e for kind, e in ranked if e.active and e.kind.trouble and kind is not NoticeKind.HANDED]
    kinds = {kind for kind, _ in told} - {NoticeKind.HANDED}
    digest = bool(kinds) and kinds <= DIGESTED
    everyone, at_risk = _accounts([episode for _, episode in ranked], locale), [e for e in bad if e.kind is Kind.RISK]
    counts = [
        say(locale, key, accounts=_accounts(some, locale)) for of, key in _HEADLINES.items() if (some := [e for e in bad if e.kind is of])
    ]
    headline = _SEPARATOR.join(counts) or say(locale, "summary.headline.mixed", accounts=everyone)
    if digest:
        headline = say(locale, "digest.headline", span=_span([episode for _, episode in ranked], reader), accounts=everyone)
    total = _total(bad, locale)
    return Card(
        tone=Tone.BAD if at_risk else Tone.WARN if bad else Tone.CALM,
        headline=headline,
        summary=_SEPARATOR.join(part for part in (headline, total) if part),
        sections=(("", tuple(part for part in (total, say(locale, "summary.intro") if len(bad) > 1 else "") if part)),),
        notes=(say(locale, "digest.why"),) if digest else _why(ranked, locale),
        lines=tuple(_line(kind, episode, reader) for kind, episode in ranked),
        acts=(Act.ACKNOWLEDGE,),
        episodes=tuple(episode.id for _, episode in ranked),
    )


def _accounts(episodes: list[Episode], locale: Locale) -> str:
    """Return how many accounts there are; one may be in several episodes."""
    return formats.quantity(locale, len({episode.account for episode in episodes}), "accounts")


def _span(episodes: list[Episode], reader: Reader) -> str:
    """Return the days that a digest is about: a close tells of the day that it ends."""
    days = sorted((e.change.as_of - timedelta(microseconds=1)).astimezone(reader.zone).date() for e in episodes)
    begin, end = (formats.weekday(reader.locale, day) for day in (days[0], days[-1]))
    return begin if days[0] == days[-1] else say(reader.locale, "digest.span", begin=begin, end=end)


def _total(episodes: list[Episode], locale: Locale) -> str:
    """Return the money at stake in each currency; nothing when nobody's revenue is known."""
    sums: dict[str, Decimal] = {}
    for account in {episode.account: episode.change.account for episode in episodes}.values():
        if account.arr is not None:
            key = (account.currency or "").upper()
            sums[key] = sums.get(key, Decimal(0)) + Decimal(str(account.arr))
    if not sums:
        return ""
    amounts = " + ".join(formats.per_year(locale, float(total), code) for code, total in sorted(sums.items()))
    return say(locale, "summary.total", amount=amounts)


def _why(ranked: list[tuple[NoticeKind, Episode]], locale: Locale) -> tuple[str, ...]:
    """Return why it is one message; a message about one account needs no reason."""
    silent = {episode.change.cause for kind, episode in ranked if not kind.alone and episode.change.cause.silent}
    words = [cause(locale, value) for value in sorted(silent)] or [say(locale, "summary.many")] * (len(ranked) > 1)
    return (say(locale, "summary.why", causes=formats.listed(locale, words)),) if words else ()


def _line(kind: NoticeKind, episode: Episode, reader: Reader) -> Line:
    locale, change, account = reader.locale, episode.change, episode.change.account
    facts = [formats.per_year(locale, account.arr, account.currency) if account.arr is not None else ""]
    if account.renewal_on:
        facts.append(say(locale, "summary.line.renewal", day=formats.plain_day(locale, account.renewal_on)))
    if episode.active and not episode.kind.trouble:
        facts.append(say(locale, f"kind.{episode.kind}"))
    elif episode.active:
        facts.append(say(locale, "summary.line.risk", after=formats.score(change.score_after), band=band(locale, change.to_band)))
    if kind is not NoticeKind.HANDED and (csm := reader.csm_of(episode)):
        facts.append(f"{say(locale, 'label.csm')}: {csm}")
    return Line(
        episode.id,
        clean(episode.name, 80),
        _SEPARATOR.join(fact for fact in facts if fact),
        clean(_reason(kind, episode, reader), 200),
        episode.active and episode.state is not State.ACKNOWLEDGED and kind is not NoticeKind.HANDED,
    )


def _reason(kind: NoticeKind, episode: Episode, reader: Reader) -> str:
    """Return why the account is in the list, and who does what about it."""
    locale, change = reader.locale, episode.change
    if kind is NoticeKind.HANDED:
        return say(locale, "summary.line.handed", to=reader.name_of(episode.csm or ""))
    if episode.active:
        if not episode.kind.trouble:
            found = [explain.finding_sentence(locale, one) for one in TRIGGERS[episode.kind].found(change)]
        elif change.knockout:
            found = [explain.knockout_sentence(locale, change.knockout)]
        else:
            found = [explain.driver_sentence(locale, driver) for driver in explain.strongest(change.drivers, 1)]
        said = [*found, *([] if episode.state is State.OPEN else [state_line(episode, reader)])]
        return ("" if locale is Locale.JA else " ").join(dict.fromkeys(said))
    missed = kind is NoticeKind.DIGEST
    if episode.state is State.CLOSED or (not episode.kind.trouble and not missed):
        return state_line(episode, reader)
    if not episode.kind.trouble:
        return say(locale, "summary.line.passed")
    key = "summary.line.missed" if missed else "summary.line.unscored" if change.to_band is Band.GREY else "summary.line.recovery"
    length, before = lasted(episode, reader), band(locale, episode.fall.to_band)
    return say(locale, key, length=length, band=before, after=formats.score(change.score_after))
