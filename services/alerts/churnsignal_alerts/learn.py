"""Pure. What people's feedback and outcomes say of the alerts: how precise each kind and reason is, and which threshold would be better."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from churnsignal_common.catalog import explain
from churnsignal_common.catalog.reasons import REASONS
from churnsignal_common.contracts.risk import RiskChanged

from churnsignal_alerts.decide import TRIGGERS
from churnsignal_alerts.episodes import Episode, Feedback, Kind, Outcome

OTHER = "other"
# An account that was saved or did churn was rightly told; what needed no action, or was known, says nothing against the score.
_RIGHT = frozenset({Feedback.USEFUL.value, Outcome.SAVED.value, Outcome.CHURNED.value})
_WRONG = frozenset({Feedback.FALSE_ALARM.value, Outcome.FALSE_ALARM.value})
# When to suggest: precision below `WANTED` over at least `LEAST` judged alerts, and a threshold that would still have told `KEEP` of them.
WANTED, LEAST, KEEP = 0.6, 20, 5


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was said of one alert: about which kind and reason, at which score (hundredths), and in which words."""

    episode: str
    account: str
    kind: Kind
    reason: str
    score: int | None
    words: frozenset[str]

    @property
    def right(self) -> bool | None:
        """Return whether the alert was right; None when nobody said. Feedback and outcome that differ: it was of use."""
        if self.words & _RIGHT:
            return True
        return False if self.words & _WRONG else None


@dataclass(frozen=True, slots=True)
class Advice:
    """A better threshold for a kind: alerts above `threshold` (hundredths) were mostly wrong. `behind` are the lessons that it rests on."""

    kind: Kind
    judged: int
    precision: float
    threshold: int
    would_be: float
    still_told: int
    right_ones_lost: int
    behind: tuple[Lesson, ...]


def reason_of(kind: Kind, fall: RiskChanged) -> str:
    """Return why an alert was raised, as a code of the catalog: what was pointed out, the fact that forced it, else the strongest driver."""
    if found := TRIGGERS[kind].found(fall):
        return found[-1].code if found[-1].code in REASONS else OTHER
    strongest = explain.strongest(fall.drivers, 1)
    code = fall.knockout or (strongest[0].code if strongest else OTHER)
    return code if code in REASONS else OTHER


def lesson_of(episode: Episode) -> Lesson:
    """Return what an episode teaches."""
    words = frozenset(word.value for word in (episode.feedback, episode.outcome) if word)
    return Lesson(episode.id, episode.account, episode.kind, reason_of(episode.kind, episode.fall), episode.fall.score_after, words)


def precision(lessons: Iterable[Lesson]) -> float | None:
    """Return the part of the judged alerts that was right; None when none was judged."""
    judged = [lesson.right for lesson in lessons if lesson.right is not None]
    return sum(judged) / len(judged) if judged else None


def tally(lessons: Sequence[Lesson]) -> list[tuple[Kind, str, Counter[str], float | None]]:
    """Return the words and the precision of each kind and reason, the most frequent first."""
    groups: dict[tuple[Kind, str], list[Lesson]] = {}
    for lesson in lessons:
        groups.setdefault((lesson.kind, lesson.reason), []).append(lesson)
    ranked = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(kind, reason, Counter(w for one in group for w in one.words), precision(group)) for (kind, reason), group in ranked]


def recommend(lessons: Sequence[Lesson]) -> list[Advice]:
    """Return a threshold for each kind whose alerts are too often wrong; nothing where the scores cannot tell right from wrong."""
    found = []
    # A finding does not hang on the score.
    for kind in (kind for kind in Kind if kind.trouble):
        judged = [one for one in lessons if one.kind is kind and one.right is not None and one.score is not None]
        now = precision(judged)
        if now is None or len(judged) < LEAST or now >= WANTED:
            continue
        advice = _better(kind, judged, now)
        if advice is not None:
            found.append(advice)
    return found


def _better(kind: Kind, judged: list[Lesson], now: float) -> Advice | None:
    # From the highest on: the first that is precise enough keeps the most.
    for threshold in sorted({one.score for one in judged if one.score is not None}, reverse=True):
        kept = [one for one in judged if one.score is not None and one.score <= threshold]
        would_be = precision(kept)
        if len(kept) < KEEP or would_be is None:
            return None
        if would_be >= WANTED:
            lost = sum(one.right is True for one in judged if one not in kept)
            return Advice(kind, len(judged), now, threshold, would_be, len(kept), lost, tuple(judged))
    return None
