"""Pure. How many people use it: of the seats they pay for, as such, and whether the one who matters still does."""

from churnsignal_scoring.health.measures.measure import COMPARED, Measure, Missing, Options, Reading, of_baseline
from churnsignal_scoring.health.state import RETENTION_DAYS
from churnsignal_scoring.health.values import as_number
from churnsignal_scoring.health.view import WINDOW, View

USERS_WINDOW = 91
PERCENT = 10_000


def _unnamed(view: View) -> bool:
    """Return whether calls name no users: then their number says nothing, unless there are no calls."""
    return not (view.silent or view.has_users())


def _paid_for(view: View, number: str) -> int | None:
    seats = as_number(view.fact(number))
    return None if seats is None or seats < 1 else int(seats)


def _seats(view: View, options: Options) -> Reading | Missing:
    seats = _paid_for(view, options["of"])
    if seats is None:
        return Missing.NOT_APPLICABLE
    if _unnamed(view):
        return Missing.NO_DATA
    users = view.users(options["window_days"])
    return Reading(users * PERCENT // seats, users * 100, seats * 100, users=users)


SEATS = Measure(
    name="seats_used",
    code="breadth",
    unit="users",
    more_is_better=True,
    about="Users active in 28 days in per cent of the seats paid for (or of another number that is known).",
    read=_seats,
    options={"of": "seats", "window_days": WINDOW},
    tell=of_baseline,
)


def _has_several(view: View, _: Options) -> bool:
    return view.users(USERS_WINDOW) > 1


def _among_teams(view: View, options: Options) -> bool:
    return view.norms is not None and view.norms.reported_by_some("users", per_mille=options["teams_per_mille"])


def _users(view: View, options: Options) -> Reading | Missing:
    # In a product of single users one user says nothing; where similar accounts have teams, a lone user is a risk.
    if not _among_teams(view, options):
        return Missing.NOT_APPLICABLE
    if _unnamed(view):
        return Missing.NO_DATA
    if _paid_for(view, "seats") is not None:
        return Missing.NOT_APPLICABLE
    users = view.users(USERS_WINDOW)
    return Reading(users * 100, users * 100, users=users)


USERS = Measure(
    name="users",
    code="breadth",
    unit="users",
    more_is_better=True,
    about="Users active in 91 days, where seats are unknown and similar accounts have more than one user.",
    read=_users,
    options={"teams_per_mille": 100},
    reports=_has_several,
    window_days=USERS_WINDOW,
)


def _active_users(view: View, options: Options) -> Reading | Missing:
    if view.first is None or _unnamed(view):
        return Missing.NO_DATA
    start, least = view.as_of - options["window_days"] + 1, options["least_days"]
    users = (
        view.users(options["window_days"]) if least <= 1 else sum(days >= least for days in view.days_of_users(start, view.end).values())
    )
    return Reading(users * 100, users * 100, users=users)


ACTIVE_USERS = Measure(
    name="active_users",
    code="breadth",
    unit="users",
    more_is_better=True,
    about="Users active on at least so many days of the window.",
    read=_active_users,
    options={"window_days": WINDOW, "least_days": 1},
)


def _users_change(view: View, options: Options) -> Reading | Missing:
    window = options["window_days"]
    start = view.lived - 2 * window + 1
    if view.first is None or view.first > start or _unnamed(view):
        return Missing.NO_DATA
    if view.forgets(2 * window):
        return USERS_CHANGE.worst(view, options, Reading(0, 0, users=0))
    before = len(view.users_between(start, view.lived - window))
    if before < options["least_users"]:
        return Missing.NO_DATA
    now = view.users(window)
    return Reading(now * PERCENT // before, now * 100, before * 100, users=now)


USERS_CHANGE = Measure(
    name="users_change",
    code="breadth",
    unit="users",
    more_is_better=True,
    about="Users of the last days in per cent of those of as many days before.",
    read=_users_change,
    options={"window_days": WINDOW, "least_users": 2},
    tell=of_baseline,
    limits=COMPARED,
    reports=lambda view, options: isinstance(_users_change(view, options), Reading),
)


def _user_share(view: View, options: Options) -> Reading | Missing:
    if view.first is None or _unnamed(view):
        return Missing.NO_DATA
    if view.silent or view.silent_days >= options["window_days"]:
        return Reading(0, 0, users=0)
    start = view.lived - options["window_days"] + 1
    users = len(view.users_between(start, view.end))
    doing = len(view.users_between(start, view.end, options["signal"]))
    share = min(PERCENT, doing * PERCENT // users) if users else 0
    return Reading(share, share, users=doing)


USER_SHARE = Measure(
    name="user_share",
    code="adoption",
    unit="percent",
    more_is_better=True,
    about="Share of the active users who used something: a signal of the mapping with `by_user`.",
    read=_user_share,
    options={"signal": "login", "window_days": WINDOW},
)


def _one_user(view: View, options: Options) -> Reading | Missing:
    if not _among_teams(view, options):
        return Missing.NOT_APPLICABLE
    if _unnamed(view):
        return Missing.NO_DATA
    # Days of the last use: who was there does not change by nobody being there.
    days = {} if view.silent else view.days_of_users(view.lived - WINDOW + 1, view.end)
    share = max(days.values()) * PERCENT // sum(days.values()) if days else PERCENT
    return Reading(share, share, users=len(days))


ONE_USER = Measure(
    name="top_user_share",
    code="single_user",
    unit="percent",
    more_is_better=False,
    about="Share of the last 28 days of use that one person stands for, where similar accounts have teams: 100 is one person only.",
    read=_one_user,
    options={"teams_per_mille": 100},
    window_days=WINDOW,
)


def _champion(view: View, _: Options) -> Reading | Missing:
    named = view.version("champion")
    if named is None or named.value is None:
        return Missing.NOT_APPLICABLE
    seen = view.last_day_of(str(named.value))
    days = min(RETENTION_DAYS, view.tenure if seen is None else max(0, view.as_of - seen))
    return Reading(days * 100, days * 100, event_id=named.event_id)


CHAMPION = Measure(
    name="champion_silence",
    code="champion",
    unit="days",
    more_is_better=False,
    about="Days since the account's champion (the user that the fact `champion` names) was last active.",
    read=_champion,
)
