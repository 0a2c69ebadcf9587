"""Flow. Who would be told about an account, when, by which channel, and why: asked by people, answered by the same rules."""

from datetime import datetime
from typing import Any

import msgspec
from churnsignal_common.contracts.risk import AccountProfile

from churnsignal_alerts.plan import Setup
from churnsignal_alerts.route import due, route


def explain(profile: AccountProfile, setup: Setup, now: datetime) -> dict[str, Any]:
    """Return the route of an alert that would be raised at `now`."""
    routed = route(profile, setup.directory, setup.policy, setup.channels, now)
    who = routed.recipient
    return {
        "account": profile.account,
        "at": now.isoformat(),
        "recipient": who.id,
        "name": who.name,
        "ways": [{"channel": channel.value, "address": address} for channel, address in who.ways],
        "told_at": due(who, now, urgent=False).astimezone(who.zone).isoformat(),
        "locale": who.locale.value,
        "why": routed.why,
        "steps": [{"rule": step.rule, "who": step.who, "taken": step.taken, "why": step.why} for step in routed.steps],
    }


def with_changes(profile: AccountProfile, **changes: Any) -> AccountProfile:
    """Return the profile as asked for: what is given replaces what is known."""
    return msgspec.structs.replace(profile, **{name: value for name, value in changes.items() if value is not None})
