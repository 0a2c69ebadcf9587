"""Pure. The settings documents that browser SDKs fetch before they send: everything comes to us, nothing is switched on elsewhere."""

from typing import Any

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def segment_settings(write_key: str, host: str, forwarded: str) -> dict[str, Any]:
    """Return what analytics.js reads from /v1/projects/{key}/settings. `host` is where its calls shall go.

    `forwarded` is the protocol that a proxy names. Without one: TLS ends in front of us, except on a developer's own machine.
    """
    local = host.rpartition(":")[0] in _LOOPBACK or host in _LOOPBACK
    protocol = forwarded if forwarded in ("http", "https") else "http" if local else "https"
    open_plan = {"__default": {"enabled": True, "integrations": {}}}
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": f"{host}/v1",
                "protocol": protocol,
                "unbundledIntegrations": [],
                "addBundledMetadata": True,
                "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
            }
        },
        "plan": {"track": open_plan, "identify": open_plan, "group": open_plan},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
        "autoInstrumentationSettings": {"sampleRate": 0},
    }


def rudder_source_config(source: str, write_key: str) -> dict[str, Any]:
    """Return what the RudderStack SDK reads from /sourceConfig."""
    off = {"enabled": False}
    return {
        "source": {
            "id": source,
            "name": source,
            "writeKey": write_key,
            "enabled": True,
            "config": {"statsCollection": {"errors": off, "metrics": off}},
            "sourceDefinition": {"name": "Javascript", "displayName": "Javascript"},
            "destinations": [],
            "connections": [],
            "workspaceId": "churnsignal",
            "updatedAt": "2026-01-01T00:00:00.000Z",
        },
        "updatedAt": "2026-01-01T00:00:00.000Z",
    }


def rudder_health() -> dict[str, str]:
    """Return what tools for RudderStack look for under /health. We stay open while Kafka is away, so this says no more than that."""
    return {"server": "UP", "acceptingEvents": "TRUE"}
