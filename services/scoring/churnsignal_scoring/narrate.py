"""Pure. Put an explanation into words, in both languages, from the catalog that alerts speak by."""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from churnsignal_common.catalog import explain, formats
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.sentences import band, say
from churnsignal_common.contracts.risk import Band, Override

from churnsignal_scoring.health.assessment import Explanation
from churnsignal_scoring.health.measures.measure import Missing
from churnsignal_scoring.health.scorecard import BandPolicy, Scorecard

STRONGEST = 3
POINT = 100


def words(name: str, on: date, why: Explanation, card: Scorecard, zone: ZoneInfo) -> dict[str, Any]:
    """Return the same in each language: what it is, why, what would make it better, and what else to know."""
    return {
        locale.value: {
            "headline": headline(locale, name, on, why),
            "why": reasons(locale, why, STRONGEST),
            "better": better(locale, why, card.bands, zone),
            "notes": notes(locale, on, why, card, zone),
        }
        for locale in Locale
    }


def headline(locale: Locale, name: str, on: date, why: Explanation) -> str:
    verdict = why.assessment
    key = "explain.headline" if verdict.score is not None else "explain.headline.unscored"
    day, score = formats.day(locale, on), formats.score(verdict.score)
    return say(locale, key, account=name, day=day, band=band(locale, verdict.band), score=score)


def reasons(locale: Locale, why: Explanation, count: int) -> list[str]:
    """Return what forces the band, and then the measures that cost the most."""
    forced = why.assessment.knockout
    found = [explain.knockout_sentence(locale, forced)] if forced else []
    found += [explain.driver_sentence(locale, driver) for driver in explain.strongest(why.drivers, count) if driver.code != forced]
    return found[:count]


def better(locale: Locale, why: Explanation, policy: BandPolicy, zone: ZoneInfo) -> list[str]:
    """Return what would bring a better band; nothing where there is none, or where nothing moves."""
    verdict = why.assessment
    if verdict.held or verdict.band in (Band.GREEN, Band.GREY):
        return []
    if why.override is not None:
        return [say(locale, "explain.better.override", band=band(locale, verdict.band), until=_until(locale, why.override, zone))]
    if verdict.knockout:
        fact = explain.knockout_sentence(locale, verdict.knockout)
        return [say(locale, "explain.better.fact", band=band(locale, verdict.band), fact=fact)]
    if why.counterfactual is None:
        return [say(locale, "explain.better.several"), _dwell(locale, verdict.band, policy)]
    driver = next((driver for driver in why.drivers if driver.measure == why.counterfactual.measure), None)
    return [explain.counterfactual_sentence(locale, why.counterfactual, driver), _dwell(locale, verdict.band, policy)]


def _dwell(locale: Locale, shown: Band, policy: BandPolicy) -> str:
    closes = formats.quantity(locale, policy.better_closes, "days")
    if shown is not Band.RED or not policy.recovery_active_days:
        return say(locale, "explain.dwell", closes=closes)
    used = formats.quantity(locale, policy.recovery_active_days, "days")
    return say(locale, "explain.dwell.red", closes=closes, used=used, window=explain.window(locale, policy.recovery_window))


def notes(locale: Locale, on: date, why: Explanation, card: Scorecard, zone: ZoneInfo) -> list[str]:
    """Return who set it by hand, why it holds still, what it rests on, what moved and what has no value."""
    verdict, said = why.assessment, why.override
    found = [say(locale, f"explain.held.{verdict.held}")] if verdict.held else []
    if said is not None:
        computed = band(locale, why.computed)
        facts = {"by": said.author, "reason": said.reason, "until": _until(locale, said, zone), "computed": computed}
        found.append(say(locale, "explain.override", band=band(locale, said.band), **facts))
    found.append(say(locale, "coverage", coverage=formats.percent(locale, verdict.coverage / 10_000), moment=formats.day(locale, on)))
    moved = sorted((driver for driver in why.drivers if abs(driver.moved or 0) >= POINT), key=lambda driver: -abs(driver.moved or 0))
    if moved:
        points = [f"{explain.title(locale, driver.code)} {(driver.moved or 0) / POINT:+.0f}" for driver in moved[:STRONGEST]]
        found.append(say(locale, "explain.moved", measures=formats.listed(locale, points)))
    codes = {row.name: row.code for row in card.measures}
    lacking = [name for name, reason in why.missing.items() if reason is not Missing.NOT_APPLICABLE]
    titles = list(dict.fromkeys(explain.title(locale, codes[name]) for name in lacking))
    if titles:
        found.append(say(locale, "explain.missing", measures=formats.listed(locale, titles)))
    return found


def _until(locale: Locale, override: Override, zone: ZoneInfo) -> str:
    return formats.moment(locale, override.expires_at, zone)
