"""Pure. What is known beside use: what people say (NPS, CSAT, reviews, the CSM's own view), contract and invoices, and any other fact."""

from churnsignal_scoring.health.days import from_date
from churnsignal_scoring.health.measures.measure import Measure, Missing, Options, Reading
from churnsignal_scoring.health.rows import Fact
from churnsignal_scoring.health.values import LARGEST, as_date, as_number
from churnsignal_scoring.health.view import View

ALWAYS = 0
"""As `valid_days`: the fact holds until another one comes."""


def _valid(view: View, name: str, valid_days: int) -> Fact | Missing:
    found = view.version(name)
    if found is None or found.value is None:
        return Missing.NO_DATA
    return Missing.STALE if valid_days != ALWAYS and view.as_of - found.day >= valid_days else found


def _number(view: View, options: Options) -> Reading | Missing:
    found = _valid(view, options["fact"], options["valid_days"])
    if not isinstance(found, Fact):
        return found
    number = as_number(found.value)
    if number is None:
        return Missing.NO_DATA
    if not options["of"]:
        return Reading(_whole(number * 100), _whole(number * 100), event_id=found.event_id)
    whole = as_number(view.fact(options["of"]))
    if whole is None or whole <= 0:
        return Missing.NO_DATA
    return Reading(_whole(number * 10_000 / whole), _whole(number * 100), _whole(whole * 100), event_id=found.event_id)


def _whole(hundredths: float) -> int:
    """Return what every format can hold: a share of next to nothing is large, and no more than that."""
    return round(max(-LARGEST * 100, min(LARGEST * 100, hundredths)))


def _said(name: str, code: str, valid_days: int, about: str, unit: str = "points") -> Measure:
    options = {"fact": name, "of": "", "valid_days": valid_days}
    return Measure(name, code, unit, more_is_better=True, about=about, read=_number, options=options)


NPS = _said("nps", "nps", 180, "The last NPS answer (0..10), for half a year.")
CSAT = _said("csat", "csat", 90, "The last CSAT answer, for a quarter.")
REVIEW = _said("qbr", "qbr", 120, "How the last business review was rated, for a quarter and a month.")
CSM_VIEW = _said("csm_view", "csm_view", 90, "The CSM's own grade of the account (1..5), for a quarter.")
NUMBER = Measure(
    name="number",
    code="number",
    unit="points",
    more_is_better=None,
    about="Any fact that is a number, or in per cent of another fact (`of`), while it is valid (`valid_days`; 0: always).",
    read=_number,
    options={"fact": "", "of": "", "valid_days": ALWAYS},
)


def _since(view: View, options: Options) -> Reading | Missing:
    found = view.version(options["fact"])
    if found is None or found.value is None:
        # What never happened is as old as the account.
        return Missing.NO_DATA if view.first is None else Reading(view.tenure * 100, view.tenure * 100)
    days = max(0, view.as_of - found.day)
    return Reading(days * 100, days * 100, event_id=found.event_id)


SINCE = Measure(
    name="days_since",
    code="days_since",
    unit="days",
    more_is_better=None,
    about="Days since a fact last happened (a meeting, a review); since the account's beginning when it never did.",
    read=_since,
    options={"fact": "meeting"},
)


def _until(view: View, options: Options) -> Reading | Missing:
    found = view.version(options["fact"])
    day = None if found is None else as_date(found.value)
    if found is None or day is None:
        return Missing.NOT_APPLICABLE
    notice = as_number(view.fact(options["less"])) or 0 if options["less"] else 0
    left = from_date(day) - int(notice) - view.as_of
    # A date that has passed says nothing of the next one.
    return Missing.NOT_APPLICABLE if left < 0 else Reading(left * 100, left * 100, event_id=found.event_id)


UNTIL = Measure(
    name="days_until",
    code="days_until",
    unit="days",
    more_is_better=None,
    about="Days until the day that a fact names (the end of a trial, a cancellation that is dated), less the days in the fact `less`.",
    read=_until,
    options={"fact": "trial_ends_on", "less": ""},
    counts_down=True,
)
RENEWAL = Measure(
    name="renewal",
    code="renewal",
    unit="days",
    more_is_better=True,
    about="Days until the customer has to decide on its renewal: the renewal less the days of notice.",
    read=_until,
    options={"fact": "renewal_on", "less": "notice_days"},
    counts_down=True,
)


def _invoice(view: View, options: Options) -> Reading | Missing:
    failed, paid = view.version(options["failed"]), view.version(options["paid"])
    if failed is None and paid is None:
        return Missing.NOT_APPLICABLE
    if failed is None or failed.value is None or (paid is not None and paid.stamp > failed.stamp):
        return Reading(0, 0, event_id=None if paid is None else paid.event_id)
    days = max(0, view.as_of - failed.day) + 1
    return Reading(days * 100, days * 100, event_id=failed.event_id)


INVOICE = Measure(
    name="unpaid_days",
    code="invoice",
    unit="days",
    more_is_better=False,
    about="Days since a payment failed and none came after it; 0 when all is paid.",
    read=_invoice,
    options={"failed": "payment_failed", "paid": "payment_succeeded"},
)


def _red_children(view: View, _: Options) -> Reading | Missing:
    red = view.state.memory.red_children * 100
    return Reading(red, red) if red else Missing.NOT_APPLICABLE


RED_CHILDREN = Measure(
    name="red_children",
    code="red_children",
    unit="accounts",
    more_is_better=False,
    about="Accounts directly below it that were red when the last day was closed; for rules. Let them ask for yellow: a red parent mutes its children.",
    read=_red_children,
)


def _score_fall(view: View, options: Options) -> Reading | Missing:
    # Of closed days only: the score of today is not there yet when its parts are read.
    scores = [score for score in view.state.memory.scores[-options["closes"] :] if score is not None]
    if len(scores) < 2:
        return Missing.NO_DATA
    fall = max(0, max(scores) - scores[-1])
    return Reading(fall, scores[-1], max(scores))


SCORE_FALL = Measure(
    name="score_fall",
    code="score_fall",
    unit="points",
    more_is_better=False,
    about="Points that the score has lost since its best of the last closes (28 at most); for rules, not for the score itself.",
    read=_score_fall,
    options={"closes": 28},
)
