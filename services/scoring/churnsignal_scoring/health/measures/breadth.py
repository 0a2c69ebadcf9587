"""Pure. How many people use it: of the seats they pay for, or as such."""

from churnsignal_scoring.health.measures.measure import Measure, Missing, Options, Reading, of_baseline
from churnsignal_scoring.health.view import View

SEATS_WINDOW = 28
USERS_WINDOW = 91


def _seats(view: View, _: Options) -> Reading | Missing:
    seats = view.fact("seats")
    if isinstance(seats, bool) or not isinstance(seats, (int, float)) or seats < 1:
        return Missing.NOT_APPLICABLE
    if not view.has_users() and not view.silent:
        return Missing.NO_DATA
    users = view.users(SEATS_WINDOW)
    return Reading(users * 10_000 // int(seats), users * 100, int(seats) * 100, users=users)


SEATS = Measure(
    name="seats_used",
    code="breadth",
    unit="users",
    window_days=SEATS_WINDOW,
    more_is_better=True,
    about="Users active in 28 days in per cent of the seats paid for.",
    read=_seats,
    tell=of_baseline,
)


def _has_several(view: View) -> bool:
    return view.users(USERS_WINDOW) > 1


def _users(view: View, options: Options) -> Reading | Missing:
    # In a product of single users one user says nothing; where similar accounts have teams, a lone user is a risk.
    if view.norms is None or not view.norms.reported_by_some("users", per_mille=options["teams_per_mille"]):
        return Missing.NOT_APPLICABLE
    if isinstance(_seats(view, options), Reading):
        return Missing.NOT_APPLICABLE
    if not view.has_users() and not view.silent:
        return Missing.NO_DATA
    users = view.users(USERS_WINDOW)
    return Reading(users * 100, users * 100, users=users)


USERS = Measure(
    name="users",
    code="breadth",
    unit="users",
    window_days=USERS_WINDOW,
    more_is_better=True,
    about="Users active in 91 days, where seats are unknown and similar accounts have more than one user.",
    read=_users,
    options={"teams_per_mille": 100},
    reports=_has_several,
)
