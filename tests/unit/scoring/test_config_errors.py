"""A mistake in a configuration file is told with its file, line, path and how to mend it."""

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from churnsignal_common.contracts.risk import Band, FindingKind
from churnsignal_common.document import ConfigError
from churnsignal_scoring.health.calendars import Calendar
from churnsignal_scoring.health.config.parse import WEEKDAYS, parse_scorecard
from churnsignal_scoring.health.curves import Curve
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.profile import Lifecycle
from churnsignal_scoring.health.scorecard import BandIs, BandPolicy, Calendars, FactHolds, Flag, MeasureHolds, MissingPolicy, Whom
from churnsignal_scoring.policy import load_mapping, load_scorecard

SHIPPED = files("churnsignal_scoring.health.config")
SAAS = SHIPPED.joinpath("examples/saas.scorecard.yaml").read_text()
SCHEMA = json.loads(SHIPPED.joinpath("scorecard.schema.json").read_text())
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
      red: {enter: 10, leave: 10, unknown_pause_days: 2}
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
    assert (times.curve_at(89), times.curve_at(90)) == tuple(drawn for _, drawn in times.curves)
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
    assert (card.variant("young"), card.variant("default")) == (young, card)


RAMP = "{from_day: 14, curve: [[7, 100], [14, 50], [30, 0]]}"
WRONG = [
    # what is written, what in its place, the problem, the fix; where the problem is told when not on that line
    ("weight: 45", "weight: 46", "the weights total 101", "make them total 100", "groups:\n  - group: engagement"),
    ("silence, share: 40", "silence, share: 41", "the shares total 101", "make them total 100", "measures:\n      - {measure: silence"),
    ("{measure: nps, ", "{measure: nps, share: 25, ", "some have none", "make them total 100", "measures:\n      - {measure: nps"),
    ("share: 40, curve: [[0, 100]", "share: 140, curve: [[0, 100]", "140 is greater than the maximum", "keep it between 1 and 100", ""),
    ("measure: slope", "measure: slop", "no measure is called 'slop'", "use one of", ""),
    ("{measure: csat, ", "{measure: nps, ", "'nps' counts twice", "give one a name with `as`", ""),
    ("[0, 80], [10, 100]", "[0, 80], [-5, 100]", "the knots do not rise", "at most two may share one, which is a step", ""),
    ("[60, 60], [100, 20]", "[60, 60], [100, 70]", "the points must fall", "let the second numbers fall", ""),
    ("[0, 80], [10, 100]", "[0, 80], [10, 100, 5]", "is too long", "a knot is [value, points 0..100]", ""),
    ("curve: [[1, 0], [3, 40], [5, 100]]", "curve: [[1, 0]]", "is too short", "at least two knots", ""),
    ("            ramp:\n", "            curve: [[0, 100], [9, 0]]\n            ramp:\n", "a curve or a ramp", "write one of the two", "- measure: time_to_value"),
    ("{from_day: 0, curve", "{from_day: 1, curve", "does not begin at day 0", "begin with from_day: 0", ""),
    (RAMP, RAMP.replace("14, curve", "0, curve"), "the days do not rise", "sort the curves by from_day", ""),
    (RAMP, RAMP.replace("[7, 100]", "[20, 100]").replace("[14, 50]", "[40, 80]").replace("[30, 0]", "[90, 0]"), "more points for the same", "age alone must not heal", ""),
    ("curve: [[1, 0], [3, 40], [5, 100]]", "curve: [[1, 0], [1, 40], [1, 100]]", "the knots do not rise", "at most two may share one", ""),
    ("{milestone: report_built}", "{milestones: report_built}", "has no option 'milestones'", "its options are: milestone", ""),
    ("enterprise: [Report Built,", "pro: [Report Built], enterprise: [1,", "not of the right kind", "write a list of names for each name", ""),
    ("enterprise: [Report Built, Export Finished, SSO Login]", "enterprise: Report Built", "not of the right kind", "write a list of names for each name", ""),
    ("{milestone: report_built}", "{milestone: [report_built]}", "not of the right kind", "write a name", ""),
    ("window_days: 14, least", "window_days: 0, least", "window_days of active_days cannot be 0", "write 1 to 364", ""),
    ("missing: bad", "missing: worst", "'worst' is not one of", "use one of skip, neutral, bad", ""),
    ("when: {lifecycle: [trial, onboarding]}", "when: {}", "fits every account", "segment, lifecycle or tenure_below_days", ""),
    ("[trial, onboarding]", "[trail, onboarding]", "'trail' is not one of", "use one of trial, onboarding, active", ""),
    ("- name: trial and onboarding", "- name: default", "the name of another part already", "give it a name of its own", ""),
    ("green: {enter: 72, leave: 68}", "green: {enter: 60, leave: 68}", "green.enter lies below green.leave", "keep red.enter <= red.leave", ""),
    ("worse_closes: 1", "worse_closes: 0", "0 is less than the minimum of 1", "keep it between 1 and 90", ""),
    ("worse_closes: 1, ", "", "'worse_closes' is a required property", "add worse_closes", "dwell:"),
    ("recovery: {active_days: 3", "recovery: {active_days: 15", "more active days than the window has", "widen window_days", ""),
    ("coverage_floor: 50, least_age_days: 7", "coverage_floor: 500, least_age_days: 7", "greater than the maximum of 100", "keep it between 0 and 100", ""),
    ("band: red, fact: cancelled, within_days: 90, cleared_by: renewed", "band: red", "a rule has one condition of its own", "write fact or measure here", ""),
    ("band: red, fact: cancelled", "band: grey, fact: cancelled", "'grey' is not one of", "use one of", ""),
    ("code: cancelled", "code: Cancelled!", "does not match", "write what fits ^[a-z]", ""),
    ("{own_band: [yellow]}", "{}", "about a fact, a measure or the own band", "write one of fact, measure and own_band", ""),
    ("{own_band: [yellow]}", "{own_band: [amber]}", "'amber' is not one of", "use one of green, yellow, red, grey", ""),
    ("{measure: renewal, at_most: 90}", "{measure: renewal}", "nothing to compare the measure with", "add at_least or at_most", ""),
    ("{measure: renewal, at_most: 90}", "{measure: renewal, at_least: 91, at_most: 90}", "at_least lies above at_most", "swap the two", ""),
    ("measure: seats_used, at_least: 90", "measure: seats, at_least: 90", "no measure is called 'seats'", "use one of", ""),
    ("2026-01-12", "2026-13-12", "'2026-13-12' is no day", "write 2026-05-03", ""),
    ("weekend: [sat, sun]", "weekend: [saturday, sun]", "'saturday' is not one of", "use one of mon", ""),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "problem", "fix", "told_at"), WRONG, ids=[row[2] for row in WRONG])
def test_each_kind_of_mistake_is_told_at_its_line_with_what_to_write_instead(
    old: str, new: str, problem: str, fix: str, told_at: str
) -> None:
    place = SAAS.index(old)
    anchor = SAAS.rindex(told_at, 0, place + 200) if told_at else place

    with pytest.raises(ConfigError) as raised:
        parse_scorecard(SAAS[:place] + new + SAAS[place + len(old) :], "scorecard.yaml")

    line = SAAS[:anchor].count("\n") + 1
    assert problem in raised.value.problem
    assert fix in raised.value.fix
    assert str(raised.value).startswith(f"scorecard.yaml:{line}: ")


def test_the_schema_that_editors_read_allows_just_what_the_code_knows() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    measure = SCHEMA["$defs"]["groups"]["items"]["properties"]["measures"]["items"]["properties"]
    whom = SCHEMA["properties"]["variants"]["items"]["properties"]["when"]["properties"]

    assert set(measure["missing"]["enum"]) == {policy.value for policy in MissingPolicy}
    assert set(whom["lifecycle"]["items"]["enum"]) == {life.value for life in Lifecycle if not life.holds}
    assert set(SCHEMA["$defs"]["condition"]["properties"]["own_band"]["items"]["enum"]) == {band.value for band in Band}
    assert tuple(SCHEMA["$defs"]["calendar"]["properties"]["weekend"]["items"]["enum"]) == WEEKDAYS
