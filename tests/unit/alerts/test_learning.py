"""What feedback and outcomes teach."""

from churnsignal_alerts.episodes import Feedback, Kind, Outcome
from churnsignal_alerts.learn import KEEP, LEAST, OTHER, WANTED, Lesson, lesson_of, reason_of, recommend, tally
from hypothesis import given
from hypothesis import strategies as st

from tests.support.alerts import change, opened


def said(score: int, word: str, count: int = 1, reason: str = "silence") -> list[Lesson]:
    return [Lesson(f"ep_{score}_{word}_{n}", "acme", Kind.RISK, reason, score, frozenset({word})) for n in range(count)]


def test_an_episode_teaches_its_reason_its_score_and_what_was_said() -> None:
    lesson = lesson_of(opened(feedback=Feedback.USEFUL, outcome=Outcome.NO_ACTION))

    assert (lesson.reason, lesson.score, lesson.right) == ("active_days", 2310, True)
    assert lesson_of(opened(outcome=Outcome.NO_ACTION)).right is None
    assert lesson_of(opened(outcome=Outcome.FALSE_ALARM)).right is False
    assert lesson_of(opened(feedback=Feedback.ALREADY_KNOWN, outcome=Outcome.CHURNED)).right is True


def test_a_reason_is_always_of_the_catalog() -> None:
    assert reason_of(Kind.RISK, change(knockout="payment_failed")) == "payment_failed"
    assert reason_of(Kind.RISK, change(knockout="made up by somebody")) == OTHER
    assert reason_of(Kind.RISK, change(drivers=())) == OTHER


def test_words_are_counted_by_kind_and_reason() -> None:
    rows = tally(said(100, "useful", 3) + said(100, "false_alarm", 1) + said(200, "no_action", 1, reason="errors"))

    assert [(kind, reason, dict(words), share) for kind, reason, words, share in rows] == [
        (Kind.RISK, "silence", {"useful": 3, "false_alarm": 1}, 0.75),
        (Kind.RISK, "errors", {"no_action": 1}, None),
    ]


def test_where_alerts_at_high_scores_are_mostly_wrong_the_highest_threshold_that_is_good_enough_is_suggested() -> None:
    lessons = said(1_000, "saved", 8) + said(2_000, "false_alarm", 4) + said(3_000, "useful", 1) + said(3_500, "false_alarm", 12)

    advice = recommend(lessons)

    assert [(one.threshold, one.still_told, one.right_ones_lost, one.judged) for one in advice] == [(3_000, 13, 0, 25)]
    assert (round(advice[0].precision, 2), round(advice[0].would_be, 2)) == (0.36, 0.69)
    assert set(advice[0].behind) == set(lessons)


def test_good_alerts_few_words_and_scores_that_tell_nothing_bring_no_suggestion() -> None:
    assert recommend(said(1_000, "saved", 30)) == []
    assert recommend(said(1_000, "false_alarm", 19)) == []
    assert recommend(said(1_000, "false_alarm", 40) + said(1_000, "saved", 10)) == []
    assert recommend(said(3_000, "saved", 10) + said(1_000, "false_alarm", 40)) == []


scored = st.tuples(st.integers(0, 4_000), st.sampled_from(["useful", "saved", "churned", "false_alarm", "no_action"]))


@given(st.lists(scored, max_size=80))
def test_a_suggestion_is_always_more_precise_than_what_is_and_rests_on_enough(drawn: list[tuple[int, str]]) -> None:
    lessons = [lesson for place, (score, word) in enumerate(drawn) for lesson in said(score, word, 1, f"r{place}")]

    for advice in recommend(lessons):
        assert advice.would_be >= WANTED > advice.precision
        assert KEEP <= advice.still_told < advice.judged
        assert advice.judged >= LEAST
