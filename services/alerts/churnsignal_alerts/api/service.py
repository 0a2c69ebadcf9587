"""Flow. The HTTP application of alerts."""

from collections.abc import Mapping
from typing import Any

from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.http import build_app, may
from churnsignal_common.runtime.tokens import Role
from fastapi import Depends, FastAPI, Response

from churnsignal_alerts.api import acts, contacts, csms, episodes, learning, pages, routing, silences, slack_in
from churnsignal_alerts.api.parts import Parts
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.metrics import registry

__all__ = ["Parts", "build"]


def build(parts: Parts, channels: Mapping[Channel, Dependency]) -> FastAPI:
    """Return the application. Channels are told by /v1/channels, not by /readyz: with one away the other does its work."""
    app = build_app("alerts", "Episodes, who is told about them, and what became of it.", parts.readiness, registry)
    for router in (
        episodes.routes(parts),
        acts.routes(parts),
        contacts.routes(parts),
        csms.routes(parts),
        learning.routes(parts),
        routing.routes(parts),
        silences.routes(parts),
        slack_in.routes(parts),
        pages.routes(parts),
    ):
        app.include_router(router)

    @app.get("/v1/channels", tags=["deliveries"], summary="Which channels are configured, and their last word",
             dependencies=[Depends(may(Role.READER, parts.tokens))])  # fmt: skip
    async def which() -> dict[str, Any]:
        return {
            "items": [dependency.report() for dependency in channels.values()],
            "troubles": [dict(row) for row in await parts.reader.troubles()],
        }

    @app.delete("/v1/channels/{channel}/troubles", tags=["deliveries"], summary="Try again where it was refused for good", status_code=204,
                dependencies=[Depends(may(Role.OPERATOR, parts.tokens))])  # fmt: skip
    async def again(channel: Channel) -> Response:
        await parts.people.forgive(channel)
        return Response(status_code=204)

    return app
