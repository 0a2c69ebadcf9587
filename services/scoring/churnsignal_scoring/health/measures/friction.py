"""Pure. How much of what people tried went wrong, and how often they had to ask for help."""

from churnsignal_common.mapping.usage import USE

from churnsignal_scoring.health.measures.measure import Measure, Missing, Options, Reading
from churnsignal_scoring.health.view import WINDOW, View

PERCENT = 10_000
UNTOLD = Reading(1_000_000_000_00, 0)
"""Nobody is there to have trouble, and how much there was is forgotten: that earns nothing, and no number is told."""


def _shows(view: View, options: Options) -> bool:
    return (
        view.last is not None
        and not view.forgets(options["window_days"])
        and view.count_in_use(options["signal"], options["window_days"]) > 0
    )


def _reported_here(view: View, options: Options, measure: Measure) -> bool:
    """Return whether the signal is reported at all: by similar accounts, or by this one around its last use.

    No news is not good news: where nobody ever reports it, it is not measured here.
    """
    if view.norms is not None and view.norms.reported_by_some(measure.family(options), per_mille=0):
        return True
    return measure.showed(view, options) or _shows(view, options)


def _error_share(view: View, options: Options) -> Reading | Missing:
    if not _reported_here(view, options, ERROR_SHARE):
        return Missing.NOT_APPLICABLE
    if view.silent:
        return Reading(PERCENT, 0)  # nobody is there to meet an error; that earns nothing
    tries, errors = view.count_in_use(options["of"], options["window_days"]), view.count_in_use(options["signal"], options["window_days"])
    if tries < options["least_events"]:
        return Missing.NO_DATA
    share = min(PERCENT, errors * PERCENT // tries)
    return Reading(share, share, events=errors)


ERROR_SHARE = Measure(
    name="error_share",
    code="error_share",
    unit="percent",
    more_is_better=False,
    about="Errors in per cent of all use (or one signal in per cent of another) in the last 28 days of use.",
    read=_error_share,
    options={"signal": "error", "of": USE, "window_days": WINDOW, "least_events": 20},
    reports=_shows,
)


def _count(view: View, options: Options) -> Reading | Missing:
    if view.first is None:
        return Missing.NO_DATA
    events = view.count_lately(options["signal"], options["window_days"])
    return Reading(events * 100, events * 100, events=events)


COUNT = Measure(
    name="count",
    code="count",
    unit="times",
    more_is_better=None,
    about="How often a signal came in the last days; never is none.",
    read=_count,
    options={"signal": "login", "window_days": WINDOW},
)


def _tickets(view: View, options: Options) -> Reading | Missing:
    if not _reported_here(view, options, TICKETS):
        return Missing.NOT_APPLICABLE
    if view.forgets(options["window_days"]) and TICKETS.showed(view, options):
        return UNTOLD
    events = view.count_in_use(options["signal"], options["window_days"])
    return Reading(events * 100, events * 100, events=events)


TICKETS = Measure(
    name="tickets",
    code="tickets",
    unit="tickets",
    more_is_better=False,
    about="Support tickets opened in 28 days, where similar accounts report any; those of a silent account do not fade.",
    read=_tickets,
    options={"signal": "ticket_opened", "window_days": WINDOW},
    reports=_shows,
)


def _opened_and_closed(view: View, options: Options) -> tuple[int, int]:
    days = options["window_days"]
    return view.count_in_use(options["signal"], days), view.count_in_use(options["closed"], days)


def _has_open(view: View, options: Options) -> bool:
    opened, closed = _opened_and_closed(view, options)
    return opened > closed


def _open_tickets(view: View, options: Options) -> Reading | Missing:
    if view.first is None:
        return Missing.NO_DATA
    opened, closed = _opened_and_closed(view, options)
    if view.forgets(options["window_days"]) and URGENT_TICKETS.showed(view, options) and not closed >= opened > 0:
        return UNTOLD
    still = max(0, opened - closed)
    return Reading(still * 100, still * 100, events=opened)


URGENT_TICKETS = Measure(
    name="urgent_tickets",
    code="urgent_tickets",
    unit="tickets",
    more_is_better=False,
    about="Urgent tickets of the last 91 days that are still open: opened less closed.",
    read=_open_tickets,
    options={"signal": "urgent_ticket_opened", "closed": "urgent_ticket_closed", "window_days": 91},
    reports=_has_open,
)
