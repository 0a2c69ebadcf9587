"""Flow. Who would be told about an account, when, by which channel, and why: asked by people, answered by the same rules."""

from typing import Any

from churnsignal_common.contracts.risk import AccountProfile

from churnsignal_alerts.episodes import Kind
from churnsignal_alerts.mute import mute
from churnsignal_alerts.plan import Scene
from churnsignal_alerts.route import digest_at, due, is_urgent, usual


def explain(profile: AccountProfile, kind: Kind, scene: Scene) -> dict[str, Any]:
    """Return the route of an alert that would be raised now: who, by which channel, when, why; or what would keep it from being told."""
    setup, now = scene.setup, scene.now
    routed = usual(kind, profile, setup, now)
    quiet = mute(kind, profile, setup.silences, scene.red, now)
    urgent = kind.trouble and is_urgent(profile, None, now.date(), setup.policy)
    who, digest = routed.recipient, kind in setup.policy.digest_kinds
    when = digest_at(who, now, setup.policy.digest) if digest else due(who, now, urgent=urgent)
    return {
        "account": profile.account,
        "kind": kind.value,
        "at": now.isoformat(),
        "recipient": who.id,
        "name": who.name,
        "ways": [{"channel": channel.value, "address": address} for channel, address in who.ways],
        "told_at": when.astimezone(who.zone).isoformat(),
        "digest": digest,
        "urgent": urgent,
        "on": kind in setup.policy.rules.kinds,
        "muted": quiet.why if quiet else None,
        "locale": who.locale.value,
        "why": routed.why,
        "steps": [{"rule": step.rule, "who": step.who, "taken": step.taken, "why": step.why} for step in routed.steps],
    }
