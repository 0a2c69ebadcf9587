"""A mistake in a configuration file is told with its file, line, path and how to mend it."""

from importlib.resources import files
from pathlib import Path

import pytest
from churnsignal_common.contracts.risk import Band, FindingKind
from churnsignal_common.document import ConfigError
from churnsignal_scoring.health.calendars import Calendar
from churnsignal_scoring.health.curves import Curve
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.profile import Lifecycle
from churnsignal_scoring.health.scorecard import BandIs, BandPolicy, Calendars, FactHolds, Flag, MeasureHolds, Whom
from churnsignal_scoring.policy import load_mapping, load_scorecard

SHIPPED = files("churnsignal_scoring.health.config")
SCORECARD = SHIPPED.joinpath("scorecard.yaml").read_text()
MAPPING = files("churnsignal_common.mapping").joinpath("mapping.yaml").read_text()


def changed(text: str, old: str, new: str, folder: Path) -> tuple[Path, int]:
    """Write the default with one change; return the file and the line of the change."""
    assert text.count(old) >= 1
    path = folder / "config.yaml"
    path.write_text(text.replace(old, new, 1))
    return path, text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "problem", "fix"),
    [
        ("    weight: 5\n", "    weight: 6\n", "the weights total 101", "make them total 100"),
        ("        share: 100\n", "        share: 99\n", "the shares total 99", "make them total 100"),
        ("measure: volume", "measure: volumes", "no measure is called 'volumes'", "use one of active_days"),
        ("measure: volume", "measure: silence", "the points must fall", "let the second numbers fall"),
        ("[50, 58.5]", "[20, 58.5]", "the knots do not rise", "sort them"),
        ("[50, 58.5]", "[50, 12]", "the points must rise", "let the second numbers rise"),
        ("[50, 58.5]", "[50, 158.5]", "158.5 is greater than the maximum of 100", "keep it between 0 and 100"),
        ("[50, 58.5]", "[50, .nan]", "not a finite number", "write a plain number"),
        ("coverage_floor: 50", "coverage_flor: 50", "unknown key 'coverage_flor'", "use one of coverage_floor, least_age_days"),
        ("least_age_days: 7", "least_age_days: soon", "'soon' is not of type 'integer'", "write a value of type integer"),
        (
            "green: {enter: 74, leave: 70}",
            "green: {enter: 74, leave: 49}",
            "green.leave lies below red.leave",
            "keep red.enter <= red.leave",
        ),
        ("recovery: {active_days: 3", "recovery: {active_days: 15", "more active days than the window has", "lower active_days"),
        ("band: red, within_days: 14", "band: blue, within_days: 14", "'blue' is not one of", "use one of red, yellow"),
        ("  # A week: one whole", "  coverage_floor: 40\n  # A week: one whole", "written twice", "keep one of the two"),
        ("groups:\n", "groups: [\n", "not YAML", "mind indentation"),
    ],
)
def test_a_wrong_scorecard_is_refused_with_place_and_fix(old: str, new: str, problem: str, fix: str, tmp_path: Path) -> None:
    path, _ = changed(SCORECARD, old, new, tmp_path)

    with pytest.raises(ConfigError) as raised:
        load_scorecard(path)

    assert problem in str(raised.value)
    assert fix in str(raised.value)
    assert str(raised.value).startswith(f"{path}:{raised.value.line}: ")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[50, 58.5]", "[50, 12]"),
        ("least_age_days: 7", "least_age_days: soon"),
        ("coverage_floor: 50", "coverage_flor: 50"),
        ("measure: volume", "measure: x"),
    ],
)
def test_the_line_is_the_line_of_the_mistake(old: str, new: str, tmp_path: Path) -> None:
    path, line = changed(SCORECARD, old, new, tmp_path)

    with pytest.raises(ConfigError) as raised:
        load_scorecard(path)

    assert raised.value.line == line


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("signal: login", "signal: Log in", "does not match"),
        ("  seats: [", "  seats: [plan_name, ", "'plan_name' is read as 'plan' already"),
        ("payment_status: [billing_status]", "outcome: [billing_status]", "'outcome' is set by people"),
        ("facts: {nps: score}", "facts: {override: score}", "'override' is set by people"),
        ("ignore:\n  users: []", "ignore:\n  users: none", "'none' is not of type 'array'"),
    ],
)
def test_a_wrong_mapping_is_refused(old: str, new: str, problem: str, tmp_path: Path) -> None:
    path, line = changed(MAPPING, old, new, tmp_path)

    with pytest.raises(ConfigError, match=problem) as raised:
        load_mapping(path)

    assert line <= raised.value.line <= line + 1


@pytest.mark.parametrize("text", ["", "- 1\n", "just words\n"])
def test_a_file_that_is_no_mapping_of_keys_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "scorecard.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match="is not of type 'object'"):
        load_scorecard(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_mapping(tmp_path / "nothing.yaml")


def test_two_texts_never_share_a_version(tmp_path: Path) -> None:
    path, _ = changed(SCORECARD, "least_age_days: 7", "least_age_days: 8", tmp_path)

    assert load_scorecard(path).version != load_scorecard(None).version


def test_the_shipped_weights_total_a_hundred() -> None:
    rows = load_scorecard(None).measures

    assert sum({row.group: row.weight for row in rows}.values()) == 100


WHOLE = """
name: whole
segment_by: [plan]
evidence: {coverage_floor: 62.5, least_age_days: 9}
calendars:
  by: region
  default: {weekend: [sat, sun]}
  known: {IL: {weekend: [fri, sat], holidays: [1970-01-11, 1970-01-21..1970-01-23]}}
groups:
  - {group: use, weight: 60, measures: [{measure: recency, share: 30, as: since, code: quiet, curve: [[0, 100], [7.5, 50], [7.5, 25], [30, 0]], options: {signal: login}},
                                        {measure: count, share: 70, missing: bad, ramp: [{from_day: 0, curve: [[0, 0], [1, 100]]}, {from_day: 90, curve: [[0, 0], [2, 100]]}]}]}
  - {group: value, weight: 40, measures: [{measure: adoption, curve: [[0, 0], [100, 100]], options: {features: [export], plans: {Pro: [export, alert]}}},
                                          {measure: nps, missing: neutral, curve: [[0, 0], [10, 100]]}]}
bands:
  red: {enter: 40.5, leave: 45, beyond_pauses: 1.5}
  green: {enter: 75, leave: 70.25}
  dwell: {worse_closes: 2, better_closes: 3}
  recovery: {active_days: 4, window_days: 4}
knockouts:
  - {code: lost, fact: cancelled, band: red, within_days: 90, cleared_by: renewed}
  - {code: risky, band: yellow, when: [{measure: recency, at_least: 3.5, options: {signal: login}}, {fact: lifecycle, values: [" Trial "]}, {own_band: [green, yellow]}]}
findings:
  - {code: grow, kind: renewal, measure: adoption, at_most: 0}
variants:
  - name: young
    when: {segment: [" Pro "], lifecycle: [trial], tenure_below_days: 30}
    bands:
      red: {enter: 10, leave: 10, beyond_pauses: 0, unknown_pause_days: 2}
      green: {enter: 10, leave: 10}
      dwell: {worse_closes: 1, better_closes: 1}
      recovery: {active_days: 1, window_days: 7}
"""  # fmt: skip


def test_a_scorecard_means_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "scorecard.yaml"
    path.write_text(WHOLE)

    card = load_scorecard(path)

    since, times, adoption, nps = card.measures
    login = {"signal": "login"}
    assert (card.segment_by, card.coverage_floor, card.least_age_days, card.name) == (("plan",), 6_250, 9, "default")
    assert (since.name, since.code, since.measure.name, since.share, since.group, since.weight) == ("since", "quiet", "recency", 30, 0, 60)
    assert (since.curves, since.missing, since.options) == (((0, Curve((0, 750, 750, 3_000), (10_000, 5_000, 2_500, 0))),), "skip", login)
    assert (times.name, times.code, times.share, times.missing) == ("count", "count", 70, "bad")
    assert times.curves == ((0, Curve((0, 100), (0, 10_000))), (90, Curve((0, 200), (0, 10_000))))
    assert (adoption.share, adoption.group, adoption.weight, nps.share, nps.missing) == (1, 1, 40, 1, "neutral")
    assert adoption.options == {"features": ("export",), "plans": {"pro": ("export", "alert")}, "window_days": 28}
    assert card.bands == BandPolicy(4_050, 4_500, 150, 7, 7_500, 7_025, 2, 3, 4, 4)
    assert card.knockouts == (
        Flag("lost", Band.RED, (FactHolds("cancelled", 90, "renewed"),)),
        Flag(
            "risky",
            Band.YELLOW,
            (
                MeasureHolds(MEASURES["recency"], login, at_least=350),
                FactHolds("lifecycle", values=("trial",)),
                BandIs((Band.GREEN, Band.YELLOW)),
            ),
        ),
    )
    assert [(flag.fact, flag.only_from) for flag in card.knockouts] == [("cancelled", None), ("lifecycle", (Band.GREEN, Band.YELLOW))]
    holds = MeasureHolds(MEASURES["adoption"], MEASURES["adoption"].options, at_most=0)
    assert card.findings == (Flag("grow", None, (holds,), FindingKind.RENEWAL),)
    known = Calendar(frozenset({4, 5}), frozenset({10, 20, 21, 22}))
    assert card.calendars == Calendars("region", Calendar(frozenset({5, 6})), {"il": known})
    ((whom, young),) = card.variants
    assert whom == Whom(("pro",), (Lifecycle.TRIAL,), 30)
    assert (young.name, young.version, young.bands) == ("young", card.version, BandPolicy(1_000, 1_000, 0, 2, 1_000, 1_000, 1, 1, 1, 7))
    assert (young.measures, young.calendars, young.variants) == (card.measures, None, ())
