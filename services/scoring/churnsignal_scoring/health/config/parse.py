"""Pure. Texts of mapping and scorecard to policy, with every mistake at its line."""

from hashlib import sha256
from itertools import pairwise
from typing import Any

from churnsignal_common.contracts.risk import Band

from churnsignal_scoring.health.config.document import Document, Path, read_document
from churnsignal_scoring.health.curves import Curve, curve
from churnsignal_scoring.health.mapping import Ignore, MappingConfig, Rule, plain_name
from churnsignal_scoring.health.measures import MEASURES
from churnsignal_scoring.health.measures.measure import Measure
from churnsignal_scoring.health.scorecard import BandPolicy, Knockout, MissingPolicy, Scorecard, Weighted

RESERVED = frozenset({"override", "outcome"})


def version_of(name: str, text: str) -> str:
    """Return the name with a fingerprint of the text: two texts never share a version."""
    return f"{name}-{sha256(text.encode()).hexdigest()[:8]}"


def parse_mapping(text: str, file: str, schema: dict[str, Any]) -> MappingConfig:
    """Return the mapping; raises `ConfigError`."""
    document = read_document(text, file, schema)
    value = document.value
    _refuse_reserved(document)
    ignore = value.get("ignore", {})
    return MappingConfig(
        version=version_of(value["name"], text),
        rules=tuple(_rule(row) for row in value.get("signals", [])),
        profile={fact: tuple(aliases) for fact, aliases in value.get("profile", {}).items()},
        ignore=Ignore(
            users=frozenset(ignore.get("users", [])),
            email_domains=frozenset(domain.casefold() for domain in ignore.get("email_domains", [])),
            accounts=frozenset(ignore.get("accounts", [])),
            events=frozenset(ignore.get("events", [])),
            user_agents=tuple(ignore.get("user_agents", [])),
        ),
    )


def _refuse_reserved(document: Document) -> None:
    taken: dict[str, str] = {}
    for fact, aliases in document.value.get("profile", {}).items():
        if fact in RESERVED:
            raise document.error(("profile", fact), f"{fact!r} is set by people through the API", "choose another name")
        for place, alias in enumerate((fact, *aliases)):
            other = taken.setdefault(plain_name(alias), fact)
            if other != fact:
                path: Path = ("profile", fact, place - 1) if place else ("profile", fact)
                raise document.error(path, f"{alias!r} is read as {other!r} already", "keep it in one place")
    for index, row in enumerate(document.value.get("signals", [])):
        for fact in row.get("facts", {}):
            if fact in RESERVED:
                raise document.error(("signals", index, "facts", fact), f"{fact!r} is set by people through the API", "choose another name")


def _rule(row: dict[str, Any]) -> Rule:
    where = row.get("where")
    return Rule(
        signal=row["signal"],
        events=tuple(row["events"]),
        active=row.get("active", True),
        where=None if where is None else (where["property"], tuple(where["in"])),
        facts=tuple(row.get("facts", {}).items()),
    )


def parse_scorecard(text: str, file: str, schema: dict[str, Any]) -> Scorecard:
    """Return the scorecard; raises `ConfigError`."""
    document = read_document(text, file, schema)
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
