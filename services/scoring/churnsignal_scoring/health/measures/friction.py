"""Pure. How much of what people tried went wrong."""

from churnsignal_scoring.health.measures.measure import Measure, Missing, Options, Reading
from churnsignal_scoring.health.view import View

WINDOW = 28
ERROR = "error"


def _last(view: View) -> int:
    # The four weeks up to the last use: while an account is silent, its errors do not fade.
    return view.as_of if view.last is None else view.last


def _has_errors(view: View) -> bool:
    if view.last is None:
        return False  # an error is use: without use there was none
    return view.count(ERROR, _last(view) - WINDOW + 1, _last(view)) > 0


def _measured_here(view: View) -> bool:
    """Return whether errors are reported at all: by similar accounts, or by this one around its last use."""
    if view.norms is not None and view.norms.reported_by_some("error_share", per_mille=0):
        return True
    return view.state.reported.get("error_share", 0) >= _last(view) or _has_errors(view)


def _error_share(view: View, options: Options) -> Reading | Missing:
    # No news is not good news: without one error among similar accounts, errors are not measured here.
    if not _measured_here(view):
        return Missing.NOT_APPLICABLE
    if view.silent:
        return Reading(100 * 100, 0)  # nobody is there to meet an error; that earns nothing
    start = _last(view) - WINDOW + 1
    uses, errors = view.uses(start, view.end), view.count(ERROR, start, view.end)
    if uses < options["least_events"]:
        return Missing.NO_DATA
    share = min(10_000, errors * 10_000 // uses)
    return Reading(share, share, events=errors)


ERROR_SHARE = Measure(
    name="error_share",
    code="error_share",
    unit="percent",
    window_days=WINDOW,
    more_is_better=False,
    about="Errors in per cent of all use in the last 28 days of use.",
    read=_error_share,
    options={"least_events": 20},
    reports=_has_errors,
)
