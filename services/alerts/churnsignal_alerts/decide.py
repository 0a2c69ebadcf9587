"""Pure. Whether a risk change is told, and how: (episode, change, now, rules) -> a verdict that names its reason."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import assert_never

from churnsignal_common.contracts.risk import MARKEDLY, Band, Cause, Finding, FindingKind, RiskChanged

from churnsignal_alerts.episodes import Episode, Kind, NoticeKind, Outcome, State, episode_id


class Verdict(StrEnum):
    """What to do with a change, in the words of the timeline and the metric."""

    TELL = "entered the band"
    TELL_AGAIN = "came back within the flap window"
    HOLD_FLAP = "came back before its recovery was told"
    DIGEST_FLAPPING = "came back too often: a line in the digest"
    SUMMARISE = "came to light silently: a line in one summary"
    SUMMARISE_LATE = "too old when it reached us: a line in one summary"
    HOLD_OPEN = "already open"
    TELL_WORSE = "became worse"
    TELL_MORE = "the scorecard points out more"
    TELL_RECOVERED = "recovered"
    SUMMARISE_RECOVERED = "recovered silently: a line in one summary"
    DIGEST_MISSED = "recovered before the first notice: a line in the digest"
    TELL_UNSCORED = "no longer enough data to say"
    MERGED = "the account was merged into another"
    OVERTAKEN = "became worse: the other kind tells"
    PASSED = "no longer so"
    NOTHING = "nothing open and nothing to open"
    OFF = "this kind is switched off"


@dataclass(frozen=True, slots=True)
class Rules:
    """When changes are told. A change older than `stale_after` when it reaches us is history: a line in a summary."""

    kinds: frozenset[Kind]
    flap_window: timedelta
    flap_limit: int
    stale_after: timedelta


@dataclass(frozen=True, slots=True)
class Trigger:
    """What opens an episode of a kind: a band, and which band takes over from it; or what the scorecard points out."""

    band: Band | None = None
    overtaken_by: Band | None = None
    finding: FindingKind | None = None

    def found(self, change: RiskChanged) -> tuple[Finding, ...]:
        return tuple(one for one in change.findings if one.kind is self.finding)

    def holds(self, change: RiskChanged) -> bool:
        return change.to_band is self.band or bool(self.found(change))

    def began(self, change: RiskChanged) -> datetime:
        """Return since when it is so; a finding may be old when its kind is switched on."""
        days = [one.since for one in self.found(change)]
        return min(change.as_of, datetime.combine(max(days) + timedelta(days=1), time(), UTC)) if days else change.as_of

    def is_news(self, before: RiskChanged, after: RiskChanged) -> bool:
        """Return whether `after` says something that `before` did not: a fall into the band, or a finding that has begun since."""
        if self.band is not None:
            return after.from_band is not after.to_band
        known = {(one.code, one.since) for one in self.found(before)}
        return any((one.code, one.since) not in known for one in self.found(after))


TRIGGERS = {
    Kind.RISK: Trigger(Band.RED),
    Kind.EARLY_WARNING: Trigger(Band.YELLOW, Band.RED),
    Kind.OPPORTUNITY: Trigger(finding=FindingKind.OPPORTUNITY),
    Kind.RENEWAL: Trigger(finding=FindingKind.RENEWAL),
    Kind.ONBOARDING: Trigger(finding=FindingKind.ONBOARDING),
}


def decide(kind: Kind, episode: Episode | None, change: RiskChanged, now: datetime, rules: Rules) -> Verdict:
    """Return the verdict; `episode` is the account's newest of this kind."""
    trigger = TRIGGERS[kind]
    open_now = episode is not None and episode.active
    if kind not in rules.kinds and not open_now:
        return Verdict.OFF
    if trigger.holds(change):
        return _entered(trigger, episode, change, now, rules)
    if episode is None or not open_now:
        return Verdict.NOTHING
    return _left(episode, change, trigger)


def _entered(trigger: Trigger, episode: Episode | None, change: RiskChanged, now: datetime, rules: Rules) -> Verdict:
    if episode is not None and episode.active:
        return _went_on(trigger, episode, change)
    if episode is not None and episode.state is State.CLOSED and not trigger.is_news(episode.change, change):
        # A person ended it; that it goes on as it was is no news.
        return Verdict.NOTHING
    if change.cause.silent:
        return Verdict.SUMMARISE
    if now - trigger.began(change) > rules.stale_after:
        return Verdict.SUMMARISE_LATE
    if episode is None or not came_back(episode, change.as_of, rules.flap_window):
        return Verdict.TELL
    return _again(episode, rules)


def _went_on(trigger: Trigger, episode: Episode, change: RiskChanged) -> Verdict:
    more = trigger.finding is not None and trigger.is_news(episode.change, change)
    if trigger.band is not None and has_new_fact(episode.change, change):
        # What somebody is at work on, or has put off, was not this.
        return Verdict.TELL_WORSE
    if episode.state is State.SNOOZED:
        worse = more or (trigger.band is not None and is_lower(episode.change, change))
        return Verdict.TELL_WORSE if episode.worse_only and worse else Verdict.HOLD_OPEN
    return Verdict.TELL_MORE if more else Verdict.HOLD_OPEN


def has_new_fact(before: RiskChanged, after: RiskChanged) -> bool:
    """Return whether another fact than before forces the band."""
    return after.knockout is not None and after.knockout != before.knockout


def is_lower(before: RiskChanged, after: RiskChanged) -> bool:
    """Return whether the score is markedly lower than before."""
    return after.score_after is not None and before.score_after is not None and before.score_after - after.score_after >= MARKEDLY


def _again(episode: Episode, rules: Rules) -> Verdict:
    if not episode.told:
        return Verdict.TELL
    if not episode.over_told:
        return Verdict.HOLD_FLAP
    return Verdict.TELL_AGAIN if episode.flips < rules.flap_limit else Verdict.DIGEST_FLAPPING


def came_back(episode: Episode, at: datetime, window: timedelta) -> bool:
    """Return whether trouble at `at` continues an episode that had recovered; one that a person closed stays closed."""
    return episode.state is State.RECOVERED and episode.ended_at is not None and at - episode.ended_at <= window


def _left(episode: Episode, change: RiskChanged, trigger: Trigger) -> Verdict:
    if change.to_band is trigger.overtaken_by:
        return Verdict.OVERTAKEN
    if not episode.told:
        return Verdict.DIGEST_MISSED
    if change.cause is Cause.MERGED:
        return Verdict.MERGED
    if trigger.finding is not None:
        return Verdict.PASSED
    if change.to_band is Band.GREY:
        return Verdict.TELL_UNSCORED
    return Verdict.SUMMARISE_RECOVERED if change.cause.silent else Verdict.TELL_RECOVERED


# What each verdict makes us tell; a verdict that is not here tells nothing.
NOTICES = {
    Verdict.TELL: NoticeKind.RISK,
    Verdict.TELL_AGAIN: NoticeKind.REOPENED,
    Verdict.TELL_WORSE: NoticeKind.WORSE,
    Verdict.TELL_MORE: NoticeKind.WORSE,
    Verdict.SUMMARISE: NoticeKind.SUMMARY,
    Verdict.SUMMARISE_LATE: NoticeKind.SUMMARY,
    Verdict.DIGEST_FLAPPING: NoticeKind.LINE,
    Verdict.DIGEST_MISSED: NoticeKind.DIGEST,
    Verdict.SUMMARISE_RECOVERED: NoticeKind.NEWS,
    Verdict.TELL_RECOVERED: NoticeKind.RECOVERY,
    Verdict.TELL_UNSCORED: NoticeKind.UNSCORED,
}


def apply(verdict: Verdict, kind: Kind, episode: Episode | None, change: RiskChanged, window: timedelta) -> Episode | None:
    """Return the episode after the change, None when there is none."""
    match verdict:
        case Verdict.NOTHING | Verdict.OFF:
            return None
        case Verdict.TELL | Verdict.TELL_AGAIN | Verdict.HOLD_FLAP | Verdict.DIGEST_FLAPPING | Verdict.SUMMARISE | Verdict.SUMMARISE_LATE:
            again = episode is not None and came_back(episode, change.as_of, window)
            return _reopened(episode, change) if again and episode else _opened(kind, change)
        case Verdict.HOLD_OPEN:
            assert episode is not None
            return replace(episode, change=change)
        case Verdict.TELL_WORSE | Verdict.TELL_MORE:
            assert episode is not None
            return replace(episode, state=State.OPEN, change=change, until=None, worse_only=False, rung=0)
        case (
            Verdict.TELL_RECOVERED
            | Verdict.SUMMARISE_RECOVERED
            | Verdict.DIGEST_MISSED
            | Verdict.TELL_UNSCORED
            | Verdict.OVERTAKEN
            | Verdict.PASSED
        ):
            assert episode is not None
            return replace(episode, state=State.RECOVERED, ended_at=change.as_of, change=change, until=None, worse_only=False, next_at=None)
        case Verdict.MERGED:
            assert episode is not None
            # It is over for good: trouble goes on, if it does, under the other account.
            return replace(end(episode, change.as_of, Outcome.NO_ACTION, f"merged into {change.account.merged_into}"), change=change)
        case _:
            assert_never(verdict)


def end(episode: Episode, at: datetime, outcome: Outcome, note: str) -> Episode:
    """Return an episode that is closed because of what is known of the account."""
    over = replace(episode, state=State.CLOSED, ended_at=at, until=None, worse_only=False, next_at=None, outcome=outcome, note=note)
    # Whoever was at work on it did not close it.
    return replace(over, by=None, acted_at=at)


def _opened(kind: Kind, change: RiskChanged) -> Episode:
    account = change.account.account
    return Episode(
        episode_id(account, kind, change.sequence),
        account,
        kind,
        State.OPEN,
        change.as_of,
        change,
        change,
        change.as_of,
        score_before=change.score_before,
    )


def _reopened(episode: Episode, change: RiskChanged) -> Episode:
    # With a new owner nobody has been told yet: the person is chosen afresh.
    same = change.account.owner == episode.fall.account.owner
    return replace(
        episode, state=State.OPEN, change=change, fall=change, since=change.as_of, flips=episode.flips + 1, ended_at=None, over_told=False,
        csm=episode.csm if same else None, pinned=episode.pinned and same, by=None, acted_at=None, until=None, outcome=None,
        score_before=change.score_before, rung=0,
    )  # fmt: skip
