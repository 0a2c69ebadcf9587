"""An explanation in words: what it is, why, what would make it better, and what else to know, in both languages."""

from collections.abc import Callable
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from churnsignal_common.contracts.risk import Band
from churnsignal_scoring.health.assessment import Explanation
from churnsignal_scoring.health.days import to_date
from churnsignal_scoring.health.kept import decode, unfold
from churnsignal_scoring.health.measures.measure import Missing
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.narrate import words

from tests.unit.scoring.accounts import DAY_ONE, SCORECARD, apply, close_days, command, engine, envelope, record, using

ENGINE = engine()
HAND = {"band": "green", "reason": "新しい担当者", "author": "eve", "expires_at": "2026-05-01T00:00:00Z"}


def account(last: int, *calls: str) -> Explanation:
    """An account used daily for sixty days, with some more calls at the end, as of the close of the day `last`."""
    state = apply(ENGINE, AccountState("acme"), using(range(60), users=3))
    close_days(ENGINE, state, 0, last - 1)
    known = {
        "failed": envelope("p", last, event="Payment Failed", user=None),
        "hand": command("o", last, type="override.set", **HAND),
        "churned": command("c", last, type="outcome.recorded", outcome="churned", author="eve"),
    }
    apply(ENGINE, state, [known[name] for name in calls])
    close_days(ENGINE, state, last, last)
    return ENGINE.explain(state, record(ENGINE, DAY_ONE + last, [state]), DAY_ONE + last)


def without_one_that_suffices(why: Explanation) -> Explanation:
    return replace(why, counterfactual=None)


def of_some_use(why: Explanation) -> Explanation:
    """Users mean nothing where seats are counted: then nobody need hear that they are not known."""
    return replace(why, missing={"volume": Missing.NO_DATA, "users": Missing.NOT_APPLICABLE})


def as_it_is(why: Explanation) -> Explanation:
    return why


@pytest.mark.parametrize(
    ("last", "calls", "change", "band", "part", "sentence", "japanese"),
    [
        (60, ["failed"], as_it_is, "red", "better", "It stays red while this holds: A payment failed", "次の状態が続く間は危険のままです: "),
        (72, [], as_it_is, "yellow", "better", "That has to hold for 14 days in a row.", "その状態が14日続く必要があります。"),
        (95, [], without_one_that_suffices, "red", "better", "No single change is enough", "1つの改善だけでは足りません"),
        (95, [], as_it_is, "red", "better", "with use on 3 days in the last 14 days (or in its usual pause, if longer).", "直近14日(普段の利用間隔のほうが長ければその間)に3日の利用が必要です。"),
        (95, ["hand"], as_it_is, "green", "notes", "eve set it to green until Fri, May 1, 2026, 00:00 UTC: 新しい担当者. Without that it would be red.", "eve が"),
        (95, [], as_it_is, "red", "notes", "Points since its band last changed: Days with use -22, Silence -4, Volume of use -2.", "判定が最後に変わってからの点数の増減: "),
        (60, ["churned"], as_it_is, "green", "notes", "The account has churned, so it holds still.", "解約済みのため"),
        (60, [], of_some_use, "green", "notes", "Without a value: Volume of use.", "値がない指標: 利用量。"),
    ],
)  # fmt: skip
def test_a_reader_is_told_what_helps_and_what_else_to_know(
    last: int, calls: list[str], change: Callable[[Explanation], Explanation], band: str, part: str, sentence: str, japanese: str
) -> None:
    told = words("Acme", to_date(DAY_ONE + last), change(account(last, *calls)), SCORECARD, ZoneInfo("UTC"))

    assert told["en"]["headline"].split(": ")[1].split(",")[0] == band
    assert sentence in " ".join(told["en"][part])
    assert japanese in " ".join(told["ja"][part])


def test_where_nothing_is_wrong_nothing_has_to_become_better() -> None:
    told = words("Acme", to_date(DAY_ONE + 60), account(60), SCORECARD, ZoneInfo("UTC"))

    assert (told["en"]["better"], told["ja"]["better"]) == ([], [])


def test_the_band_that_a_hand_hides_is_told() -> None:
    why = account(95, "hand")

    assert (why.assessment.band, why.computed) == (Band.GREEN, Band.RED)


def test_what_is_kept_of_a_close_says_what_would_help_in_the_words_of_the_alert() -> None:
    state = apply(ENGINE, AccountState("acme"), using(range(60), users=3))
    closes = (one for day in range(100) for one in close_days(ENGINE, state, day, day))
    settled = next(one for one in closes if one.change is not None and one.change.to_band is Band.YELLOW)

    assert settled.change
    assert settled.closed
    assert settled.closed.reasons
    kept = unfold(decode(settled.closed.reasons()), SCORECARD, settled.assessment)
    assert settled.change.counterfactual
    assert settled.change.counterfactual.code == "silence"
    assert kept.counterfactual == settled.change.counterfactual
