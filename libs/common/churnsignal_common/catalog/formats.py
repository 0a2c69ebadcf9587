"""Pure. Dates, amounts and quantities as readers of each language write them."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta, tzinfo

from babel.core import UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal

from churnsignal_common.catalog.locales import Both, Locale

# Beyond this nobody counts digits, and babel's decimals overflow.
_HUGE = 1e15
_PER_YEAR = Both("{amount} a year", "{amount} /年")

# Each unit in the singular and plural of English, and its Japanese counter.
_UNITS: dict[str, tuple[str, str, str]] = {
    "days": ("day", "days", "日"),
    "weeks": ("week", "weeks", "週間"),
    "hours": ("hour", "hours", "時間"),
    "minutes": ("minute", "minutes", "分"),
    "users": ("user", "users", "名"),
    "seats": ("seat", "seats", "席"),
    "events": ("event", "events", "件"),
    "calls": ("event", "events", "件"),
    "errors": ("error", "errors", "件"),
    "tickets": ("ticket", "tickets", "件"),
    "invoices": ("invoice", "invoices", "件"),
    "features": ("feature", "features", "機能"),
    "kinds": ("feature", "features", "機能"),
    "milestones": ("milestone", "milestones", "段階"),
    "accounts": ("account", "accounts", "社"),
    "points": ("point", "points", "点"),
    "times": ("time", "times", "回"),
}
_SHARES = {"share", "ratio", "fraction"}


def day(locale: Locale, when: date) -> str:
    """Return `Sun, Nov 22, 2026` or `2026年11月22日(日)`."""
    return format_date(when, "y年M月d日(E)" if locale is Locale.JA else "EEE, MMM d, y", locale=locale)


def plain_day(locale: Locale, when: date) -> str:
    """Return `Nov 22, 2026` or `2026年11月22日`."""
    return format_date(when, "y年M月d日" if locale is Locale.JA else "MMM d, y", locale=locale)


def short_day(locale: Locale, when: date) -> str:
    """Return `Nov 22` or `11月22日`."""
    return format_date(when, "M月d日" if locale is Locale.JA else "MMM d", locale=locale)


def weekday(locale: Locale, when: date) -> str:
    """Return `Sun, Nov 22` or `11月22日(日)`."""
    return format_date(when, "M月d日(E)" if locale is Locale.JA else "EEE, MMM d", locale=locale)


def moment(locale: Locale, when: datetime, zone: tzinfo) -> str:
    """Return `Sun, Nov 22, 2026, 09:00 JST` or `2026年11月22日(日) 9:00 JST`, in the reader's zone."""
    local = when.astimezone(zone)
    pattern = "y年M月d日(E) H:mm" if locale is Locale.JA else "EEE, MMM d, y, HH:mm"
    return f"{format_datetime(local, pattern, locale=locale)} {local.tzname()}"


def number(locale: Locale, value: float, *, digits: int = 1) -> str:
    """Return `1,234` or `1,234.5`: at most `digits` decimals, and none for whole numbers."""
    if abs(value) >= _HUGE:
        return f"{value:.3g}"
    return format_decimal(round(value, digits), format="#,##0." + "#" * digits, locale=locale)


def percent(locale: Locale, share: float) -> str:
    """Return a share (0.25) as `25%`."""
    return number(locale, share * 100, digits=1 if abs(share) < 0.1 else 0) + "%"


def amount(locale: Locale, value: float, currency: str | None) -> str:
    """Return whole units of money, such as `¥1,200,000`; an unknown currency keeps its own letters."""
    if abs(value) >= _HUGE:
        return number(locale, value)
    code = "".join(c for c in (currency or "").upper() if c.isascii() and c.isalpha())[:3]
    if len(code) != 3:
        return number(locale, value, digits=0)
    try:
        return format_currency(value, code, "¤#,##0", locale=locale, currency_digits=False).replace("\uffe5", "¥")
    except UnknownLocaleError:
        return f"{code} {number(locale, value, digits=0)}"


def per_year(locale: Locale, value: float, currency: str | None) -> str:
    """Return a year's revenue."""
    return _PER_YEAR.to(locale).format(amount=amount(locale, value, currency))


def quantity(locale: Locale, value: float, unit: str) -> str:
    """Return a value with its unit: `19 days`, `19日`, `25%`; an unknown unit is shown as it is."""
    if unit in _SHARES:
        return percent(locale, value)
    if unit in ("%", "percent"):
        return number(locale, value) + "%"
    shown = number(locale, value)
    one, many, counter = _UNITS.get(unit, (unit, unit, unit))
    if locale is Locale.JA:
        return f"{shown}{counter}" if counter else shown
    return f"{shown} {one if shown == '1' else many}".rstrip()


def span(locale: Locale, lasting: timedelta) -> str:
    """Return for how long, `3 days` or `3日間`, in the largest sensible unit: days from two days on, else hours, else minutes."""
    if lasting >= timedelta(days=2):
        value, unit = lasting // timedelta(days=1), "days"
    elif lasting >= timedelta(hours=1):
        value, unit = lasting // timedelta(hours=1), "hours"
    else:
        value, unit = max(1, lasting // timedelta(minutes=1)), "minutes"
    said = quantity(locale, value, unit)
    return said if locale is Locale.EN or said.endswith("間") else said + "間"


def listed(locale: Locale, words: Iterable[str]) -> str:
    """Return the words one after the other, `a, b` or `a、b`."""
    return ("、" if locale is Locale.JA else ", ").join(words)


def score(hundredths: int | None) -> str:
    """Return a score as people see it: whole points, a dash when there is none."""
    return "–" if hundredths is None else str((hundredths + 50) // 100)
