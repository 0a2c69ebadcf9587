"""Pure. The text of a scorecard to policy, with every mistake at its line."""

from dataclasses import replace
from datetime import date
from functools import lru_cache
from itertools import pairwise
from typing import Any

from churnsignal_common.contracts.risk import Band, FindingKind
from churnsignal_common.document import Document, Path, packaged_schema, read_document, version_of

from churnsignal_scoring.health.calendars import Calendar
from churnsignal_scoring.health.curves import Curve, curve
from churnsignal_scoring.health.days import from_date
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.measures.measure import Measure
from churnsignal_scoring.health.profile import Lifecycle
from churnsignal_scoring.health.scorecard import (
    BandIs,
    BandPolicy,
    Calendars,
    Condition,
    FactHolds,
    Flag,
    MeasureHolds,
    MissingPolicy,
    Scorecard,
    Weighted,
    Whom,
)

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


# A start reads the same text for its check, its seed, its engines and what is in force.
@lru_cache(maxsize=8)
def parse_scorecard(text: str, file: str) -> Scorecard:
    """Return the scorecard; raises `ConfigError`."""
    document = read_document(text, file, packaged_schema(__package__, "scorecard.schema.json"))
    value = document.value
    version = version_of(value["name"], text)
    calendars = _calendars(document) if "calendars" in value else None
    _refuse_names(document, value.get("variants", []))
    variants = tuple(
        (
            _whom(document, ("variants", place, "when"), row["when"]),
            _card(document, ("variants", place), {**value, **row}, version, row["name"]),
        )
        for place, row in enumerate(value.get("variants", []))
    )
    return replace(_card(document, (), value, version, "default"), calendars=calendars, variants=variants)


def _refuse_names(document: Document, rows: list[dict[str, Any]]) -> None:
    # What is kept of a day names the variant that counted.
    seen = {"default"}
    for place, row in enumerate(rows):
        if row["name"] in seen:
            raise document.error(
                ("variants", place, "name"), f"{row['name']!r} is the name of another part already", "give it a name of its own"
            )
        seen.add(row["name"])


def _card(document: Document, path: Path, value: dict[str, Any], version: str, name: str) -> Scorecard:
    """Return the default, or a variant at `path` with what it does not say taken from the default."""

    def at(key: str) -> Path:
        return (*path, key) if (*path, key) in document.lines else (key,)

    groups, evidence = value["groups"], value["evidence"]
    _refuse_total(document, at("groups"), [group["weight"] for group in groups])
    rows = tuple(
        _weighted(document, (*at("groups"), place, "measures", index), row, place, group)
        for place, group in enumerate(groups)
        for index, row in enumerate(group["measures"])
    )
    for place, group in enumerate(groups):
        given = [row["share"] for row in group["measures"] if "share" in row]
        if given:  # without any, all are equal
            _refuse_total(document, (*at("groups"), place, "measures"), given if len(given) == len(group["measures"]) else [])
    _refuse_twice(document, at("groups"), groups)
    return Scorecard(
        version=version,
        measures=rows,
        bands=_bands(document, at("bands"), value["bands"]),
        coverage_floor=round(evidence["coverage_floor"] * 100),
        least_age_days=evidence["least_age_days"],
        segment_by=tuple(value.get("segment_by", [])),
        knockouts=_flags(document, at("knockouts"), value.get("knockouts", [])),
        findings=_flags(document, at("findings"), value.get("findings", [])),
        name=name,
    )


def _refuse_total(document: Document, path: Path, weights: list[int]) -> None:
    if sum(weights) != 100:
        word = "weights" if path[-1] == "groups" else "shares"
        found = f"the {word} total {sum(weights)}" if weights else "some measures have a share and some have none"
        raise document.error(path, found, "make them total 100")


def _refuse_twice(document: Document, path: Path, groups: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for place, group in enumerate(groups):
        for index, row in enumerate(group["measures"]):
            name = row.get("as", row["measure"])
            if name in seen:
                raise document.error(
                    (*path, place, "measures", index), f"{name!r} counts twice", "weigh it once, or give one a name with `as`"
                )
            seen.add(name)


def _weighted(document: Document, path: Path, row: dict[str, Any], place: int, group: dict[str, Any]) -> Weighted:
    measure = _measure(document, path, row)
    return Weighted(
        name=row.get("as", measure.name),
        code=row.get("code", measure.code),
        measure=measure,
        curves=_curves(document, path, row, measure),
        share=row.get("share", 1),
        group=place,
        weight=group["weight"],
        missing=MissingPolicy(row.get("missing", "skip")),
        options=_options(document, (*path, "options"), row.get("options", {}), measure),
    )


def _measure(document: Document, path: Path, row: dict[str, Any]) -> Measure:
    measure = MEASURES.get(row["measure"])
    if measure is None:
        raise document.error((*path, "measure"), f"no measure is called {row['measure']!r}", f"use one of {', '.join(MEASURES)}")
    return measure


def _curves(document: Document, path: Path, row: dict[str, Any], measure: Measure) -> tuple[tuple[int, Curve], ...]:
    if ("curve" in row) == ("ramp" in row):
        raise document.error(path, "a measure has either a curve or a ramp", "write one of the two")
    if "curve" in row:
        return ((0, _curve(document, (*path, "curve"), row["curve"], measure)),)
    steps = [
        (step["from_day"], _curve(document, (*path, "ramp", index, "curve"), step["curve"], measure))
        for index, step in enumerate(row["ramp"])
    ]
    if steps[0][0] != 0:
        raise document.error((*path, "ramp", 0, "from_day"), "the first curve does not begin at day 0", "begin with from_day: 0")
    for index, ((day, before), (next_day, after)) in enumerate(pairwise(steps), 1):
        if next_day <= day:
            raise document.error((*path, "ramp", index, "from_day"), "the days do not rise", "sort the curves by from_day")
        if any(after.points(x) > before.points(x) for x in (*before.xs, *after.xs)):
            problem = "an older account would get more points for the same"
            raise document.error((*path, "ramp", index, "curve"), problem, "let curves ask for more with age: age alone must not heal")
    return tuple(steps)


def _curve(document: Document, path: Path, knots: list[tuple[float, float]], measure: Measure) -> Curve:
    for index in range(1, len(knots)):
        if knots[index][0] < knots[index - 1][0] or (index > 1 and knots[index][0] == knots[index - 2][0]):
            problem = "the knots do not rise from left to right"
            raise document.error((*path, index), problem, "sort them by their first number; at most two may share one, which is a step")
    better = measure.more_is_better
    if better is None:
        better = knots[-1][1] >= knots[0][1]
    steps = [after[1] - before[1] for before, after in pairwise(knots)]
    wrong = next((index for index, step in enumerate(steps) if (step < 0) is better and step != 0), None)
    if wrong is not None:
        way, more = ("rise", "more") if better else ("fall", "less")
        raise document.error(
            (*path, wrong + 1), f"the points must {way}: {more} of {measure.name} is better", f"let the second numbers {way}"
        )
    return curve(knots)


def _options(document: Document, path: Path, given: dict[str, Any], measure: Measure) -> dict[str, Any]:
    return {**measure.options, **{name: _option(document, (*path, name), name, value, measure) for name, value in given.items()}}


def _option(document: Document, path: Path, name: str, value: Any, measure: Measure) -> Any:
    if name not in measure.options:
        known = ", ".join(measure.options) or "none"
        raise document.error(path, f"{measure.name} has no option {name!r}", f"its options are: {known}")
    match measure.options[name], value:
        case int(), int() if not isinstance(value, bool):
            least, most = measure.limit(name)
            if not least <= value <= most:
                raise document.error(path, f"{name} of {measure.name} cannot be {value}", f"write {least} to {most}")
            return value
        case str(), str():
            return value
        case tuple(), list() if all(isinstance(item, str) for item in value):
            return tuple(value)
        case dict(), dict() if all(isinstance(row, list) and all(isinstance(item, str) for item in row) for row in value.values()):
            return {key.casefold(): tuple(row) for key, row in value.items()}
    shape = {int: "a whole number", str: "a name", tuple: "a list of names", dict: "a list of names for each name"}
    raise document.error(path, "not of the right kind", f"write {shape[type(measure.options[name])]}")


def _bands(document: Document, path: Path, bands: dict[str, Any]) -> BandPolicy:
    red, green, recovery = bands["red"], bands["green"], bands["recovery"]
    edges = [("red", "enter"), ("red", "leave"), ("green", "leave"), ("green", "enter")]
    for (name, edge), (next_name, next_edge) in pairwise(edges):
        if bands[name][edge] > bands[next_name][next_edge]:
            raise document.error(
                (*path, next_name, next_edge),
                f"{next_name}.{next_edge} lies below {name}.{edge}",
                "keep red.enter <= red.leave <= green.leave <= green.enter",
            )
    if recovery["active_days"] > recovery["window_days"]:
        raise document.error((*path, "recovery"), "more active days than the window has", "lower active_days or widen window_days")
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


def _flags(document: Document, path: Path, rows: list[dict[str, Any]]) -> tuple[Flag, ...]:
    return tuple(_flag(document, (*path, place), row) for place, row in enumerate(rows))


def _flag(document: Document, path: Path, row: dict[str, Any]) -> Flag:
    # A rule of one condition may say it without a list.
    alone = any(key in row for key in ("fact", "measure"))
    if alone == ("when" in row):
        raise document.error(
            path, "a rule has one condition of its own or a list of them", "write fact or measure here, or conditions under when"
        )
    conditions = [(path, row)] if alone else [((*path, "when", index), one) for index, one in enumerate(row["when"])]
    band = Band(row["band"]) if "band" in row else None
    kind = FindingKind(row.get("kind", FindingKind.OPPORTUNITY))
    return Flag(row["code"], band, tuple(_condition(document, where, one) for where, one in conditions), kind)


def _condition(document: Document, path: Path, row: dict[str, Any]) -> Condition:
    kinds = [key for key in ("fact", "measure", "own_band") if key in row]
    if len(kinds) != 1:
        raise document.error(path, "a condition is about a fact, a measure or the own band", "write one of fact, measure and own_band")
    match kinds[0]:
        case "fact":
            values = tuple(str(value).strip().casefold() for value in row.get("values", []))
            return FactHolds(row["fact"], row.get("within_days"), row.get("cleared_by"), values)
        case "measure":
            measure = _measure(document, path, row)
            if "at_least" not in row and "at_most" not in row:
                raise document.error(path, "nothing to compare the measure with", "add at_least or at_most")
            if row.get("at_least", float("-inf")) > row.get("at_most", float("inf")):
                raise document.error(path, "at_least lies above at_most, so that it never holds", "swap the two, or leave one out")
            limits = [None if row.get(name) is None else round(row[name] * 100) for name in ("at_least", "at_most")]
            return MeasureHolds(measure, _options(document, (*path, "options"), row.get("options", {}), measure), *limits)
        case _:
            return BandIs(tuple(Band(band) for band in row["own_band"]))


def _whom(document: Document, path: Path, row: dict[str, Any]) -> Whom:
    if not row:
        raise document.error(path, "fits every account", "say which: segment, lifecycle or tenure_below_days")
    segments = tuple(str(name).strip().casefold() for name in row.get("segment", []))
    return Whom(segments, tuple(Lifecycle(name) for name in row.get("lifecycle", [])), row.get("tenure_below_days"))


def _calendars(document: Document) -> Calendars:
    rows = document.value["calendars"]
    known = {name.casefold(): _calendar(document, ("calendars", "known", name), row) for name, row in rows.get("known", {}).items()}
    default = _calendar(document, ("calendars", "default"), rows.get("default", {}))
    return Calendars(rows.get("by", "country"), default, known)


def _calendar(document: Document, path: Path, row: dict[str, Any]) -> Calendar:
    holidays: set[int] = set()
    for index, text in enumerate(row.get("holidays", [])):
        try:
            first, _, last = str(text).partition("..")
            start = from_date(date.fromisoformat(first))
            end = from_date(date.fromisoformat(last)) if last else start
        except ValueError as error:
            where = (*path, "holidays", index)
            raise document.error(where, f"{text!r} is no day", "write 2026-05-03, or 2026-05-03..2026-05-06 for several") from error
        holidays.update(range(start, end + 1))
    return Calendar(frozenset(WEEKDAYS.index(name) for name in row.get("weekend", [])), frozenset(holidays))
