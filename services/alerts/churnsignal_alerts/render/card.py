"""Pure. What a message says, before any medium: headline, facts, why, what next, state. Customers' strings are inert from here on."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from churnsignal_common.catalog import explain, formats
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.reasons import REASONS
from churnsignal_common.catalog.sentences import band, cause, say
from churnsignal_common.contracts.risk import Band, Counterfactual, RiskChanged

from churnsignal_alerts.act import Act
from churnsignal_alerts.decide import TRIGGERS
from churnsignal_alerts.delivery import UNCONFIGURED, Trouble
from churnsignal_alerts.directory import Channel, Directory
from churnsignal_alerts.episodes import WATCHDOG, Episode, Kind, NoticeKind, State, Task
from churnsignal_alerts.inert import clean
from churnsignal_alerts.policy import POOL

_DRIVERS = 3
_TASKS = 8
_NAME = 90
_LINE = 300
_SEPARATOR = " · "
_ARROW = " → "


class Tone(StrEnum):
    """The colour of a message."""

    BAD = "bad"
    WARN = "warn"
    GOOD = "good"
    CALM = "calm"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: their language and zone; their id as a recipient, and whom they may be told of by name."""

    locale: Locale
    zone: ZoneInfo
    id: str = ""
    directory: Directory = field(default_factory=Directory)

    def name_of(self, ident: str) -> str:
        """Return the name of a CSM or pool."""
        csm = self.directory.find(ident)
        return clean(csm.name if csm else ident.removeprefix(POOL), 60)

    def csm_of(self, episode: Episode) -> str:
        """Return the name of the CSM whose account it is; nothing when that is the reader, or nobody."""
        ident = episode.stands_for or episode.csm or ""
        return "" if ident == self.id or ident.startswith(POOL) else self.name_of(ident)

    def day_of(self, moment: datetime) -> date:
        return moment.astimezone(self.zone).date()


@dataclass(frozen=True, slots=True)
class Line:
    """One account in a summary."""

    episode: str
    title: str
    facts: str
    reason: str
    open: bool


@dataclass(frozen=True, slots=True)
class History:
    """The scores of the last closes, for a picture, with what it shows in words; `line` stands where no picture can be."""

    title: str
    words: str
    line: str
    scores: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """A message. `sections` are titled lists of sentences; `acts` are the buttons; `lines` are a summary's accounts."""

    tone: Tone
    headline: str
    summary: str
    facts: tuple[tuple[str, str], ...] = ()
    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()
    state: str = ""
    notes: tuple[str, ...] = ()
    acts: tuple[Act, ...] = ()
    lines: tuple[Line, ...] = ()
    episodes: tuple[str, ...] = field(default=())
    history: History | None = None
    url: str | None = None


_HEADLINES = {
    NoticeKind.RISK: "risk.headline",
    NoticeKind.REOPENED: "risk.headline.reopened",
    NoticeKind.RECOVERY: "headline.recovered",
    NoticeKind.UNSCORED: "headline.unscored",
    NoticeKind.REMINDER: "risk.headline.reminder",
    NoticeKind.WORSE: "risk.headline.worse",
    NoticeKind.MOVED: "risk.headline.moved",
    NoticeKind.NUDGE: "headline.nudge",
}
_BY_KIND = frozenset({NoticeKind.RISK, NoticeKind.REOPENED, NoticeKind.REMINDER, NoticeKind.WORSE, NoticeKind.ESCALATED})
# Slack's refusals of what a message holds: no address is wrong.
_OURS = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "markdown_text_conflict",
        "metadata_too_large",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
    }
)
_SETTINGS = {Channel.SLACK: "SLACK_BOT_TOKEN", Channel.EMAIL: "SMTP_URL", Channel.WEBHOOK: "CHURNSIGNAL_WEBHOOK_SECRETS"}
_FINDINGS = {Kind.OPPORTUNITY: Tone.GOOD, Kind.RENEWAL: Tone.CALM, Kind.ONBOARDING: Tone.WARN}
_TONES = {Band.RED: Tone.BAD, Band.YELLOW: Tone.WARN, Band.GREEN: Tone.GOOD, Band.GREY: Tone.CALM}


def card(kind: NoticeKind, episode: Episode, reader: Reader, now: datetime) -> Card:
    """Return the message of one episode."""
    if episode.account.startswith(WATCHDOG):
        return _watchdog(episode, reader)
    name = clean(episode.name, _NAME)
    headline = say(reader.locale, _headline(kind, episode), account=name)
    if kind is NoticeKind.ESCALATED and episode.active:
        headline = say(reader.locale, "headline.escalated", headline=headline)
    if kind in (NoticeKind.RECOVERY, NoticeKind.UNSCORED):
        return _ending(headline, kind, episode, reader)
    # What was told stays readable after the end: the reasons are those of the fall.
    change = episode.change if episode.active else episode.fall
    facts = _facts(change, episode, reader, now)
    return Card(
        tone=_FINDINGS.get(episode.kind, _TONES[change.to_band]) if episode.active else Tone.CALM,
        headline=headline,
        summary=_SEPARATOR.join([headline, facts[0][1], *_reasons(change, episode.kind, reader.locale)[:1]]),
        facts=facts,
        sections=tuple(
            _sections(
                change, episode.kind, _opening(kind, episode, reader, now), _next_steps(change, episode, reader.locale), reader.locale
            )
        ),
        state=state_line(episode, reader),
        notes=_notes(change, reader),
        acts=_acts(episode),
        episodes=(episode.id,),
        history=_history(change.trend, reader.locale),
    )


def _headline(kind: NoticeKind, episode: Episode) -> str:
    if episode.kind is Kind.RISK:
        return "risk.headline.over" if not episode.active and kind.needs_open else _HEADLINES.get(kind, "risk.headline")
    if not episode.active and kind.needs_open:
        return "headline.over"
    if kind is NoticeKind.MOVED:
        return "headline.moved"
    return f"{episode.kind}.headline" if kind in _BY_KIND else _HEADLINES[kind]


def _watchdog(episode: Episode, reader: Reader) -> Card:
    headline = say(reader.locale, "watchdog.headline")
    said = say(reader.locale, "watchdog.said", moment=formats.moment(reader.locale, episode.opened_at, reader.zone))
    return Card(Tone.CALM, headline, headline, sections=(("", (said,)),), episodes=(episode.id,))


def note_card(trouble: Trouble, locale: Locale) -> Card:
    """Return the message to the operator about a place that no longer takes messages."""
    where = trouble.channel.value if trouble.address == "*" else clean(f"{trouble.name} ({trouble.channel.value} {trouble.address})", _NAME)
    headline = say(locale, "trouble.headline", where=where)
    if trouble.reason == UNCONFIGURED:
        sentences: tuple[str, ...] = (say(locale, "trouble.unconfigured", setting=_SETTINGS[trouble.channel]),)
    else:
        sentences = (say(locale, "trouble.reason", reason=clean(trouble.reason, 120)), say(locale, _advice(trouble)))
    return Card(Tone.WARN, headline, headline, sections=(("", sentences),))


def _advice(trouble: Trouble) -> str:
    if trouble.address == "*":
        return "trouble.everywhere"
    if trouble.reason in _OURS:
        return "trouble.message"
    return "trouble.bounced" if trouble.bounced else "trouble.place"


def _ending(headline: str, kind: NoticeKind, episode: Episode, reader: Reader) -> Card:
    change, locale = episode.change, reader.locale
    length, before = lasted(episode, reader), band(locale, episode.fall.to_band)
    if kind is NoticeKind.UNSCORED:
        text = [say(locale, "unscored.after", length=length, band=before)]
    else:
        days = [formats.short_day(locale, reader.day_of(when)) for when in (episode.since, episode.ended_at or change.as_of)]
        text = [
            say(locale, "recovered.after", length=length, band=before, from_day=days[0], to_day=days[1]),
            say(
                locale, "recovered.now", before=formats.score(change.score_before), after=formats.score(change.score_after),
                to_band=band(locale, change.to_band),
            ),
        ]  # fmt: skip
    facts = ((say(locale, "label.worth"), _worth(change, locale)), *_csm(episode, reader))
    return Card(_TONES[change.to_band], headline, _SEPARATOR.join([headline, text[0]]), facts, (("", tuple(text)),), episodes=(episode.id,))


def lasted(episode: Episode, reader: Reader) -> str:
    """Return how long the last fall lasted: from two days on in the reader's calendar days, so that it fits the dates beside it."""
    ended = episode.ended_at or episode.change.as_of
    days = (reader.day_of(ended) - reader.day_of(episode.since)).days
    return formats.span(reader.locale, timedelta(days=days) if days >= 2 else ended - episode.since)


def _facts(change: RiskChanged, episode: Episode, reader: Reader, now: datetime) -> tuple[tuple[str, str], ...]:
    locale, account, today = reader.locale, change.account, reader.day_of(now)
    found = [
        (say(locale, "label.worth" if episode.kind.trouble else "label.contract"), _worth(change, locale)),
        (say(locale, "label.renewal"), _renewal(account.renewal_on, account.notice_days, today, locale)),
        (say(locale, "label.score"), _score(change, locale)),
        (say(locale, "label.since"), _since(change, episode, reader)),
    ]
    if change.last_seen:
        found.append((say(locale, "label.last_use"), formats.day(locale, change.last_seen)))
    if episode.touched_at:
        found.append((say(locale, "label.touched"), formats.day(locale, reader.day_of(episode.touched_at))))
    return (*found, *_csm(episode, reader))


def _csm(episode: Episode, reader: Reader) -> list[tuple[str, str]]:
    csm = reader.csm_of(episode)
    return [(say(reader.locale, "label.csm"), csm)] if csm else []


def _history(trend: tuple[int | None, ...], locale: Locale) -> History | None:
    known = [score for score in trend if score is not None]
    if len(known) < 2:
        return None
    first, last, lowest = (formats.score(score) for score in (known[0], known[-1], min(known)))
    title = say(locale, "label.trend", days=formats.quantity(locale, len(trend), "days"))
    between = "" if lowest in (first, last) else say(locale, "trend.lowest", lowest=lowest)
    words = say(locale, "trend.ends", first=first, last=last) + between
    return History(title, words, f"{first} {explain.sparkline(trend)} {last}{between}", trend)


def _worth(change: RiskChanged, locale: Locale) -> str:
    account = change.account
    seats = formats.quantity(locale, account.seats, "seats") if account.seats is not None else ""
    if account.arr is None:
        return say(locale, "worth.seats", amount=say(locale, "worth.unknown"), seats=seats) if seats else say(locale, "worth.unknown")
    money = formats.per_year(locale, account.arr, account.currency)
    return say(locale, "worth.seats", amount=money, seats=seats) if seats else money


def _renewal(day: date | None, notice_days: int | None, today: date, locale: Locale) -> str:
    if day is None:
        return say(locale, "renewal.unknown")
    left = (day - today).days
    shown, span = formats.day(locale, day), formats.quantity(locale, abs(left), "days")
    if left == 0:
        return say(locale, "renewal.today", day=shown)
    if left < 0:
        return say(locale, "renewal.past", day=shown, left=span)
    if notice_days and 0 < notice_days < left:
        return say(locale, "renewal.notice", day=shown, left=span, notice=formats.short_day(locale, day - timedelta(days=notice_days)))
    return say(locale, "renewal.ahead", day=shown, left=span)


def _score(change: RiskChanged, locale: Locale) -> str:
    bands = [band(locale, one) for one in dict.fromkeys((change.from_band, change.to_band)) if one]
    if change.score_after is None:
        return _ARROW.join(bands)
    scores = dict.fromkeys(formats.score(one) for one in (change.score_before, change.score_after) if one is not None)
    # A fact that forces a band moves no score.
    shown = list(scores)[-1:] if change.knockout and len(bands) > 1 else scores
    return say(locale, "score", score=_ARROW.join(shown), bands=_ARROW.join(bands))


def _since(change: RiskChanged, episode: Episode, reader: Reader) -> str:
    day = formats.day(reader.locale, reader.day_of(episode.since))
    if change.previous_band_since is None or change.from_band in (None, Band.GREY, change.to_band):
        return day
    assert change.from_band is not None
    before = formats.short_day(reader.locale, change.previous_band_since)
    return say(reader.locale, "since.before", day=day, before=before, from_band=band(reader.locale, change.from_band))


def _reasons(change: RiskChanged, kind: Kind, locale: Locale) -> list[str]:
    if not kind.trouble:
        said = (clean(explain.finding_sentence(locale, one), _LINE) for one in TRIGGERS[kind].found(change))
        return list(dict.fromkeys(said))[:_TASKS]
    found = [explain.knockout_sentence(locale, change.knockout)] if change.knockout else []
    found += [
        explain.driver_sentence(locale, driver) for driver in explain.strongest(change.drivers, _DRIVERS) if driver.code != change.knockout
    ]
    return [clean(sentence, _LINE) for sentence in found[:_DRIVERS]]


def _next_steps(change: RiskChanged, episode: Episode, locale: Locale) -> list[str]:
    """Return the steps of the episode's playbook with their days; without one, what is advised for the strongest reasons."""
    if episode.tasks:
        return [_task(task, locale) for task in episode.tasks[:_TASKS]]
    if not episode.kind.trouble:
        known = [one.code for one in TRIGGERS[episode.kind].found(change) if one.code in REASONS]
        # The newest checkpoint says what is to be done now.
        return [explain.next_step(locale, known[-1]) if known else say(locale, f"finding.{episode.kind}")]
    codes = [change.knockout] if change.knockout else [driver.code for driver in explain.strongest(change.drivers, _DRIVERS)]
    return list(dict.fromkeys(explain.next_step(locale, code) for code in codes))[:_DRIVERS]


def _task(task: Task, locale: Locale) -> str:
    words = task.text.get(locale) or next(iter(task.text.values()), "")
    key = "task.open" if task.done_at is None else "task.done"
    return say(locale, key, step=words, day=formats.short_day(locale, task.due), by=clean(task.done_by or "", 60))


def _sections(change: RiskChanged, kind: Kind, opening: list[str], steps: list[str], locale: Locale) -> list[tuple[str, tuple[str, ...]]]:
    sections = [("", tuple(opening))] if opening else []
    if reasons := _reasons(change, kind, locale):
        sections.append((say(locale, "label.why" if kind.trouble else "label.found"), tuple(reasons)))
    if steps:
        sections.append((say(locale, "label.next"), tuple(clean(step, _LINE) for step in steps)))
    # What a better score needs is no help against a fact that forces the band.
    if change.counterfactual and not change.knockout and kind.trouble:
        sections.append((say(locale, "label.better"), (_better(change, change.counterfactual, locale),)))
    return sections


def _opening(kind: NoticeKind, episode: Episode, reader: Reader, now: datetime) -> list[str]:
    locale = reader.locale
    if kind is NoticeKind.REOPENED:
        times, day = formats.quantity(locale, episode.flips + 1, "times"), formats.short_day(locale, reader.day_of(episode.opened_at))
        return [say(locale, "reopened.times", times=times, day=day, band=band(locale, episode.fall.to_band))]
    if kind is NoticeKind.REMINDER:
        return [say(locale, "reminder.snooze" if episode.kind is Kind.RISK else "reminder.again")]
    if kind is NoticeKind.WORSE:
        return [say(locale, "reminder.worse" if episode.kind.trouble and not episode.change.knockout else "reminder.more")]
    if kind in (NoticeKind.NUDGE, NoticeKind.ESCALATED):
        length = formats.span(locale, now - max(episode.since, episode.acted_at or episode.since))
        key = "nudge.open" if kind is NoticeKind.NUDGE else "escalated.from"
        return [say(locale, key, length=length, owner=reader.name_of(episode.csm or ""))]
    if kind is NoticeKind.MOVED:
        return [say(locale, "moved.from", length=formats.span(locale, now - episode.since))]
    return []


def _better(change: RiskChanged, wanted: Counterfactual, locale: Locale) -> str:
    driver = next((driver for driver in change.drivers if driver.measure == wanted.measure), None)
    return clean(explain.counterfactual_sentence(locale, wanted, driver), _LINE)


def _notes(change: RiskChanged, reader: Reader) -> tuple[str, ...]:
    locale = reader.locale
    coverage = formats.percent(locale, change.coverage / 10_000)
    found = [say(locale, "coverage", coverage=coverage, moment=formats.moment(locale, change.as_of, reader.zone))]
    if change.account.plan:
        found.append(say(locale, "plan", plan=clean(change.account.plan, 40)))
    if change.cause.silent:
        found.append(say(locale, "cause.silent", cause=cause(locale, change.cause)))
    for silent in change.account.silent_sources:
        since = formats.moment(locale, silent.since, reader.zone)
        found.append(say(locale, "frozen.source", source=clean(silent.source, 40), moment=since))
    return tuple(found)


def state_line(episode: Episode, reader: Reader) -> str:
    """Return who does what about the episode, for the foot of a message."""
    locale, by = reader.locale, clean(episode.by or "Churnsignal", 60)
    acted = formats.moment(locale, episode.acted_at, reader.zone) if episode.acted_at else ""
    match episode.state:
        case State.OPEN:
            return say(locale, "state.open")
        case State.ACKNOWLEDGED:
            return say(locale, "state.acknowledged", by=by, moment=acted)
        case State.SNOOZED:
            until = formats.moment(locale, episode.until, reader.zone) if episode.until else ""
            return say(locale, "state.snoozed.worse" if episode.worse_only else "state.snoozed", by=by, moment=until)
        case State.RECOVERED:
            ended = episode.ended_at or episode.change.as_of
            return say(
                locale,
                "state.recovered" if episode.kind.trouble else "state.passed",
                day=formats.day(locale, reader.day_of(ended)),
            )
        case State.CLOSED:
            outcome = say(locale, f"outcome.{episode.outcome}") if episode.outcome else ""
            said = say(locale, "state.closed", by=by, outcome=outcome)
            # What we say ourselves of an account that is gone is for the log.
            return say(locale, "state.closed.why", said=said, note=clean(episode.note, 200)) if episode.by and episode.note else said


def _acts(episode: Episode) -> tuple[Act, ...]:
    if not episode.active:
        return ()
    return (Act.SNOOZE, Act.CLOSE) if episode.state is State.ACKNOWLEDGED else (Act.ACKNOWLEDGE, Act.SNOOZE, Act.CLOSE)
