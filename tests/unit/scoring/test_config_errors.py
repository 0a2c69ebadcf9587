"""A mistake in a configuration file is told with its file, line, path and how to mend it."""

from importlib.resources import files
from pathlib import Path

import pytest
from churnsignal_common.document import ConfigError
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
