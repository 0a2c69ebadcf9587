"""Pure. The text of a scorecard to policy, with every mistake at its line."""

from itertools import pairwise
from typing import Any

from churnsignal_common.contracts.risk import Band
from churnsignal_common.document import Document, Path, packaged_schema, read_document, version_of

from churnsignal_scoring.health.curves import Curve, curve
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.measures.measure import Measure
from churnsignal_scoring.health.scorecard import BandPolicy, Knockout, MissingPolicy, Scorecard, Weighted


def parse_scorecard(text: str, file: str) -> Scorecard:
    """Return the scorecard; raises `ConfigError`."""
    document = read_document(text, file, packaged_schema(__package__, "scorecard.schema.json"))
    value = document.value
    groups = value["groups"]
    _refuse_total(document, ("groups",), [group["weight"] for group in groups])
    rows = tuple(
        _weighted(document, ("groups", place, "measures", index), row, place)
        for place, group in enumerate(groups)
        for index, row in enumerate(group["measures"])
    )
    for place, group in enumerate(groups):
        _refuse_total(document, ("groups", place, "measures"), [row["share"] for row in group["measures"]])
    _refuse_twice(document, groups)
    evidence = value["evidence"]
    return Scorecard(
        version=version_of(value["name"], text),
        measures=rows,
        bands=_bands(document),
        coverage_floor=round(evidence["coverage_floor"] * 100),
        least_age_days=evidence["least_age_days"],
        segment_by=tuple(value.get("segment_by", [])),
        knockouts=tuple(_knockout(row) for row in value.get("knockouts", [])),
    )


def _refuse_total(document: Document, path: Path, weights: list[int]) -> None:
    if sum(weights) != 100:
        word = "weights" if path == ("groups",) else "shares"
        raise document.error(path, f"the {word} total {sum(weights)}", "make them total 100")


def _refuse_twice(document: Document, groups: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for place, group in enumerate(groups):
        for index, row in enumerate(group["measures"]):
            if row["measure"] in seen:
                raise document.error(("groups", place, "measures", index), f"{row['measure']!r} counts twice", "weigh it once")
            seen.add(row["measure"])


def _weighted(document: Document, path: Path, row: dict[str, Any], group: int) -> Weighted:
    measure = MEASURES.get(row["measure"])
    if measure is None:
        raise document.error((*path, "measure"), f"no measure is called {row['measure']!r}", f"use one of {', '.join(MEASURES)}")
    return Weighted(
        measure=measure,
        curve=_curve(document, (*path, "curve"), row["curve"], measure),
        share=row["share"],
        group=group,
        weight=document.value["groups"][group]["weight"],
        missing=MissingPolicy(row.get("missing", "skip")),
        options=_options(document, (*path, "options"), row.get("options", {}), measure),
    )


def _curve(document: Document, path: Path, knots: list[tuple[float, float]], measure: Measure) -> Curve:
    for index in range(1, len(knots)):
        if knots[index][0] <= knots[index - 1][0]:
            raise document.error((*path, index), "the knots do not rise from left to right", "sort them by their first number, each once")
    steps = [after[1] - before[1] for before, after in pairwise(knots)]
    wrong = next((index for index, step in enumerate(steps) if (step < 0) is measure.more_is_better and step != 0), None)
    if wrong is not None:
        way = "rise" if measure.more_is_better else "fall"
        more = "more" if measure.more_is_better else "less"
        raise document.error(
            (*path, wrong + 1), f"the points must {way}: {more} of {measure.name} is better", f"let the second numbers {way}"
        )
    return curve(knots)


def _options(document: Document, path: Path, given: dict[str, int], measure: Measure) -> dict[str, int]:
    for name in given:
        if name not in measure.options:
            known = ", ".join(measure.options) or "none"
            raise document.error((*path, name), f"{measure.name} has no option {name!r}", f"its options are: {known}")
    return {**measure.options, **given}


def _bands(document: Document) -> BandPolicy:
    bands = document.value["bands"]
    red, green, recovery = bands["red"], bands["green"], bands["recovery"]
    edges = [("red", "enter"), ("red", "leave"), ("green", "leave"), ("green", "enter")]
    for (name, edge), (next_name, next_edge) in pairwise(edges):
        if bands[name][edge] > bands[next_name][next_edge]:
            raise document.error(
                ("bands", next_name, next_edge),
                f"{next_name}.{next_edge} lies below {name}.{edge}",
                "keep red.enter <= red.leave <= green.leave <= green.enter",
            )
    if recovery["active_days"] > recovery["window_days"]:
        raise document.error(("bands", "recovery"), "more active days than the window has", "lower active_days or widen window_days")
    return BandPolicy(
        red_enter=round(red["enter"] * 100),
        red_leave=round(red["leave"] * 100),
        pause_percent=round(red.get("beyond_pauses", 0) * 100),
        unknown_pause_days=red.get("unknown_pause_days", 7),
        green_enter=round(green["enter"] * 100),
        green_leave=round(green["leave"] * 100),
        worse_closes=bands["dwell"]["worse_closes"],
        better_closes=bands["dwell"]["better_closes"],
        recovery_active_days=recovery["active_days"],
        recovery_window=recovery["window_days"],
    )


def _knockout(row: dict[str, Any]) -> Knockout:
    values = tuple(str(value).casefold() for value in row.get("values", []))
    return Knockout(row["code"], row["fact"], Band(row["band"]), row["within_days"], row.get("cleared_by"), values)
