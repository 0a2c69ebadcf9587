"""Pure. Put drivers, knock-outs and counterfactuals into sentences with their numbers and baselines."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from churnsignal_common.catalog import formats
from churnsignal_common.catalog.locales import Both, Locale
from churnsignal_common.catalog.reasons import REASONS, reason_of
from churnsignal_common.catalog.sentences import band
from churnsignal_common.contracts.risk import Counterfactual, Driver, Finding

_WINDOW = Both("the last {days}", "直近{days}")
_SO_FAR = Both("so far", "これまで")
# Of these, none is no reason: a silent account meets no errors, and loses the points all the same.
_BAD_WHEN_MANY = frozenset({"error_share", "errors", "tickets"})
_BLOCKS = "▁▂▃▄▅▆▇█"
# Hundredths of a score that a line of blocks spans at least, so that a wobble does not look like a fall.
_SPAN = 2_000


def window(locale: Locale, days: int | None) -> str:
    """Return `the last 28 days` or `直近28日`; without a window, `so far`."""
    if days is None:
        return _SO_FAR.to(locale)
    return _WINDOW.to(locale).format(days=formats.quantity(locale, days, "days"))


def lost(driver: Driver) -> int:
    """Return how much of the score the driver took away, in hundredths."""
    return driver.possible - driver.contribution


def strongest(drivers: Iterable[Driver], count: int) -> list[Driver]:
    """Return the drivers that took the most away, worst first: those that lost a good part of what they could give."""
    reasons = [driver for driver in drivers if lost(driver) > 0 and not (driver.code in _BAD_WHEN_MANY and not driver.value)]
    ranked = sorted(reasons, key=lambda driver: (-lost(driver), driver.code))
    return [driver for place, driver in enumerate(ranked) if place == 0 or lost(driver) * 4 >= driver.possible][:count]


def driver_sentence(locale: Locale, driver: Driver) -> str:
    """Return what the driver saw: its value, what is usual, and over which window."""
    reason = reason_of(driver.code)
    span = window(locale, driver.window_days)
    if driver.value is None:
        sentence = reason.bare.to(locale)
    else:
        value = formats.quantity(locale, driver.value, driver.unit)
        baseline = "" if driver.baseline is None else formats.quantity(locale, driver.baseline, driver.unit)
        # "0 days; usually 0 days" explains nothing.
        template = reason.usual if baseline not in ("", value) else reason.plain
        sentence = template.to(locale).format(value=value, baseline=baseline, window=span)
    return sentence[:1].upper() + sentence[1:]


def title(locale: Locale, code: str) -> str:
    """Return the short name of a reason."""
    return reason_of(code).title.to(locale)


def knockout_sentence(locale: Locale, code: str) -> str:
    """Return the one fact that forced the band."""
    return reason_of(code).bare.to(locale)


def finding_sentence(locale: Locale, finding: Finding) -> str:
    """Return what the scorecard points out, with its value; of a code that the catalog does not know, its name.

    What counts the days to a day names the day, unless its sentence counts: it may be told, or read, some days later.
    """
    known = REASONS.get(finding.code)
    value = None if finding.value is None else formats.quantity(locale, finding.value, finding.unit)
    if known is None or known.dated:
        value = formats.plain_day(locale, finding.on) if finding.on is not None else None if known else value
    if known is None:
        name = title(locale, finding.code)
        return name if value is None else f"{name}: {value}"
    return known.bare.to(locale) if value is None else known.plain.to(locale).format(value=value, baseline="", window="")


def next_step(locale: Locale, code: str) -> str:
    """Return what the playbook advises for a reason."""
    return reason_of(code).next.to(locale)


def counterfactual_sentence(locale: Locale, change: Counterfactual, driver: Driver | None) -> str:
    """Return the smallest single change that would bring a better band; `driver` gives the unit and window of its measure."""
    reason = reason_of(change.code)
    sentence = reason.better.to(locale).format(
        title=reason.title.to(locale),
        value=formats.quantity(locale, change.value, driver.unit if driver else ""),
        window=window(locale, driver.window_days if driver else None),
        band=band(locale, change.band),
    )
    return sentence[:1].upper() + sentence[1:]


def sparkline(trend: Sequence[int | None], width: int = 24) -> str:
    """Return the scores as at most `width` blocks, each the mean of its days; from the lowest to the highest, a dot where there was none."""
    step = max(1, -(-len(trend) // width))
    # Counted from the end, so that the last block is the newest days whatever came before.
    parts = [trend[max(0, end - step) : end] for end in range(len(trend), 0, -step)][::-1]
    means = [fmean(known) if (known := [score for score in part if score is not None]) else None for part in parts]
    shown = [mean for mean in means if mean is not None] or [0]
    low, high = min(shown), max(shown)
    span = max(_SPAN, high - low)
    base = (low + high - span) / 2
    return "".join("·" if mean is None else _BLOCKS[round((mean - base) * 7 / span)] for mean in means)
