"""Pure. The settings documents that browser SDKs fetch before they send: everything comes to us, nothing is switched on elsewhere."""

from typing import Any


def segment_settings(write_key: str, host: str) -> dict[str, Any]:
    """Return what analytics.js reads from /v1/projects/{key}/settings. `host` is where its calls shall go."""
    open_plan = {"__default": {"enabled": True, "integrations": {}}}
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": f"{host}/v1",
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
