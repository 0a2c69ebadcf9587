"""Pure. What of the product is used: of the features that matter, those the account is entitled to."""

from churnsignal_common.mapping.usage import FEATURE_PREFIX

from churnsignal_scoring.health.measures.measure import Measure, Missing, Options, Reading, of_baseline
from churnsignal_scoring.health.view import WINDOW, View


def _entitled(view: View, options: Options) -> tuple[str, ...]:
    plan = str(view.fact("plan") or "").strip().casefold()
    entitled: tuple[str, ...] = options["plans"].get(plan, options["features"])
    return entitled


def _adoption(view: View, options: Options) -> Reading | Missing:
    entitled = _entitled(view, options)
    if not entitled:
        return Missing.NOT_APPLICABLE
    if view.first is None:
        return Missing.NO_DATA
    used = 0
    for feature in entitled:
        # A feature is a signal of the mapping, or what track calls of no signal are called.
        used += any(view.count_lately(name, options["window_days"]) for name in (feature, FEATURE_PREFIX + feature))
    return Reading(used * 10_000 // len(entitled), used * 100, len(entitled) * 100)


ADOPTION = Measure(
    name="adoption",
    code="adoption",
    unit="features",
    more_is_better=True,
    about="Key features used in 28 days in per cent of those the account's plan contains (`plans`, else `features`).",
    read=_adoption,
    options={"features": (), "plans": {}, "window_days": WINDOW},
    tell=of_baseline,
)
