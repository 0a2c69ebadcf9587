"""The catalog: complete and natural in both languages, whatever the code."""

import re
import string
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from churnsignal_common.catalog import explain, formats, sentences
from churnsignal_common.catalog.locales import Both, Locale
from churnsignal_common.catalog.reasons import REASONS, Reason, reason_of
from churnsignal_common.contracts.examples import CHANGE
from churnsignal_common.contracts.risk import Band, Cause, Counterfactual, Driver, Finding, FindingKind

JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
EN, JA = Locale.EN, Locale.JA


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def texts(reason: Reason) -> dict[str, Both]:
    return {name: getattr(reason, name) for name in ("title", "usual", "plain", "bare", "next", "better")}


@pytest.mark.parametrize("key", sentences.keys())
def test_both_languages_take_the_same_facts(key: str) -> None:
    both = sentences._SENTENCES[key]

    assert both.en
    assert both.ja
    assert fields(both.en) == fields(both.ja)


@pytest.mark.parametrize("key", [key for key in sentences.keys() if fields(sentences._SENTENCES[key].en) == set()])  # noqa: SIM118 a function
def test_japanese_is_japanese_and_english_is_not(key: str) -> None:
    both = sentences._SENTENCES[key]

    assert JAPANESE.search(both.ja)
    assert not JAPANESE.search(both.en)


def test_no_sentence_shouts() -> None:
    everything = [both for key in sentences.keys() for both in (sentences._SENTENCES[key],)]  # noqa: SIM118 a function
    everything += [both for reason in REASONS.values() for both in texts(reason).values()]

    assert [both for both in everything if "!" in both.en + both.ja or "！" in both.ja] == []


@pytest.mark.parametrize("code", REASONS)
def test_a_reason_is_whole_in_both_languages(code: str) -> None:
    for name, both in texts(REASONS[code]).items():
        assert both.en
        assert both.ja
        assert fields(both.en) <= {"value", "baseline", "window", "band", "title"}, name
        assert fields(both.en) == fields(both.ja), name
    assert "value" not in fields(REASONS[code].bare.en)
    assert "baseline" not in fields(REASONS[code].plain.en)


def test_every_band_and_cause_has_a_name() -> None:
    for locale in Locale:
        assert all(sentences.band(locale, band) for band in Band)
        assert all(sentences.cause(locale, cause) for cause in Cause)


SENTENCES = [
    (Driver(code="silence", measure="silence", contribution=0, possible=1, value=19.0, baseline=2.0, unit="days"),
     "No use for 19 days; the usual pause is 2 days.", "19日間ご利用がありません(普段の間隔は2日)。"),
    (Driver(code="silence", measure="silence", contribution=0, possible=1, value=1.0, unit="days"), "No use for 1 day.", "1日間ご利用がありません。"),
    (Driver(code="active_days", measure="a", contribution=0, possible=1, value=4.0, baseline=15.0, unit="days", window_days=28),
     "Used on 4 days in the last 28 days, usually on 15 days.", "直近28日の利用は4日(普段は15日)。"),
    (Driver(code="active_days", measure="a", contribution=0, possible=1, value=0.0, baseline=0.0, unit="days", window_days=28),
     "Used on 0 days in the last 28 days.", "直近28日の利用は0日。"),
    (Driver(code="volume", measure="v", contribution=0, possible=1, value=1234.0, baseline=5000.0, unit="events", window_days=28),
     "1,234 events in the last 28 days; usually 5,000 events.", "直近28日の利用量は1,234件(普段は5,000件)。"),
    (Driver(code="breadth", measure="seats_used", contribution=0, possible=1, value=3.0, baseline=40.0, unit="users", window_days=28),
     "3 users active in the last 28 days; 40 users are paid for.", "直近28日の利用ユーザーは3名(契約は40名分)。"),
    (Driver(code="error_share", measure="e", contribution=0, possible=1, value=4.5, unit="percent", window_days=28),
     "4.5% of their actions failed in the last 28 days.", "直近28日の操作の4.5%がエラーです。"),
    (Driver(code="payment_failed", measure="p", contribution=0, possible=1), "A payment failed.", "お支払いの決済に失敗しました。"),
    (Driver(code="clicks.per_seat", measure="c", contribution=0, possible=1, value=0.25, baseline=0.5, unit="ratio", window_days=7),
     "Clicks per seat: 25% in the last 7 days; usually 50%.", "Clicks per seat: 直近7日で25%(普段は50%)。"),
    (Driver(code="{evil}", measure="c", contribution=0, possible=1), "(evil) has got worse.", "(evil)が悪化しています。"),
]  # fmt: skip


@pytest.mark.parametrize(("driver", "english", "japanese"), SENTENCES)
def test_a_driver_is_a_sentence_with_its_numbers(driver: Driver, english: str, japanese: str) -> None:
    assert explain.driver_sentence(EN, driver) == english
    assert explain.driver_sentence(JA, driver) == japanese


def test_the_reason_codes_of_scoring_are_all_known() -> None:
    measures = pytest.importorskip("churnsignal_scoring.health.measures").MEASURES

    assert {measure.code for measure in measures.values()} - set(REASONS) == set()
    assert {"cancelled", "payment_failed", "owner_deleted"} <= set(REASONS)


def test_the_strongest_drivers_come_first_and_what_took_nothing_is_no_reason() -> None:
    kept = Driver(code="volume", measure="v", contribution=1000, possible=1000)
    silent = Driver(code="error_share", measure="e", contribution=0, possible=5000, value=0.0)
    little = Driver(code="breadth", measure="b", contribution=950, possible=1000)

    found = explain.strongest([kept, silent, little, *CHANGE.drivers], 3)

    assert [driver.code for driver in found] == ["active_days", "silence"]
    assert [driver.code for driver in explain.strongest([kept, little], 3)] == ["breadth"]


def test_a_counterfactual_says_what_would_help() -> None:
    wanted = Counterfactual(code="active_days", measure="active_days", value=6.0, band=Band.YELLOW)

    assert (
        explain.counterfactual_sentence(EN, wanted, CHANGE.drivers[1])
        == "Using it on 6 days in the last 28 days would bring it back to yellow."
    )
    assert explain.counterfactual_sentence(JA, wanted, CHANGE.drivers[1]) == "直近28日の利用が6日まで増えると「注意」に戻ります。"


DAY = date(2026, 12, 20)


@pytest.mark.parametrize(
    ("code", "on", "english", "japanese"),
    [
        ("renewal_in_30_days", DAY, "The decision on the renewal is due by Dec 20, 2026.", "更新の判断期限は2026年12月20日です。"),
        ("renewal_in_30_days", None, "The decision on the renewal is due soon.", "更新の判断期限が近づいています。"),
        ("renewal", DAY, "The renewal is 21 days away.", "契約更新まで21日。"),
        ("trial_ending", DAY, "Trial ending: Dec 20, 2026", "trial ending: 2026年12月20日"),
        ("quiet_before_renewal", None, "Quiet before renewal: 21 days", "quiet before renewal: 21日"),
    ],
)
def test_a_finding_names_a_day_only_where_its_days_count_down_to_one(code: str, on: date | None, english: str, japanese: str) -> None:
    found = Finding(kind=FindingKind.RENEWAL, code=code, since=DAY, value=21, unit="days", on=on)

    assert [explain.finding_sentence(locale, found) for locale in (Locale.EN, Locale.JA)] == [english, japanese]


def test_an_unknown_code_has_a_next_step_too() -> None:
    assert reason_of("novel").next.en
    assert explain.next_step(JA, "novel").endswith("ください。")


def test_dates_amounts_and_scores_read_as_people_write_them() -> None:
    nine = datetime(2026, 11, 22, 0, 0, tzinfo=UTC)
    tokyo = ZoneInfo("Asia/Tokyo")

    assert formats.day(JA, date(2026, 11, 22)) == "2026年11月22日(日)"
    assert formats.moment(JA, nine, tokyo) == "2026年11月22日(日) 9:00 JST"
    assert formats.moment(EN, nine, tokyo) == "Sun, Nov 22, 2026, 09:00 JST"
    assert formats.per_year(JA, 1_200_000, "JPY") == "¥1,200,000 /年"
    assert formats.per_year(EN, 48_000.4, "usd") == "$48,000 a year"
    assert formats.amount(EN, 5, "<b>") == "5"
    assert formats.amount(EN, 5, "XQQ") == "XQQ5"
    assert (formats.score(4149), formats.score(4150), formats.score(None)) == ("41", "42", "–")


@pytest.mark.parametrize(
    ("span", "english", "japanese"),
    [
        (timedelta(days=12, hours=3), "12 days", "12日間"),
        (timedelta(hours=30), "30 hours", "30時間"),
        (timedelta(seconds=3), "1 minute", "1分間"),
    ],
)
def test_lengths_use_the_largest_sensible_unit(span: timedelta, english: str, japanese: str) -> None:
    assert (formats.span(EN, span), formats.span(JA, span)) == (english, japanese)


def test_a_trend_is_a_line_of_blocks() -> None:
    assert explain.sparkline([0, None, 5000, 10_000]) == "▁·▅█"
    assert explain.sparkline([*[0] * 64, *[10_000] * 32]) == "▁" * 16 + "█" * 8
    assert len(explain.sparkline([1] * 91)) <= 24
    # A fall fills the line; a wobble of a few points stays flat in the middle.
    assert explain.sparkline([7100, 6500, 4000, 2310]) == "█▇▃▁"
    assert set(explain.sparkline([8000, 8100, 8000])) <= set("▄▅")
    assert explain.sparkline([None, None]) == "··"


@pytest.mark.parametrize("locale", list(Locale))
def test_a_baseline_that_equals_the_value_is_not_told_twice(locale: Locale) -> None:
    driver = Driver(
        code="active_days", measure="active_days", contribution=0, possible=100, value=0.0, baseline=0.0, unit="days", window_days=28
    )

    alone = msgspec.structs.replace(driver, baseline=None)

    assert explain.driver_sentence(locale, driver) == explain.driver_sentence(locale, alone)
