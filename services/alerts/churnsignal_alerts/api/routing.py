"""Flow. The routing document over HTTP, and who would be told."""

from typing import Annotated, Any

from churnsignal_common.contracts.risk import AccountProfile
from churnsignal_common.document import ConfigError
from churnsignal_common.runtime.http import may, problem
from churnsignal_common.runtime.tokens import Caller, Role
from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from msgspec import structs

from churnsignal_alerts.api.models import ExplainIn, RoutingIn
from churnsignal_alerts.api.parts import Parts
from churnsignal_alerts.explain import explain
from churnsignal_alerts.plan import Scene


def routes(parts: Parts) -> APIRouter:
    """Return the routes; readers see, operators change."""
    router = APIRouter(tags=["routing"])
    reader, operator = [Depends(may(Role.READER, parts.tokens))], may(Role.OPERATOR, parts.tokens)

    @router.get("/v1/routing", summary="The routing document in force, its version and author", dependencies=reader)
    async def document() -> dict[str, Any]:
        return await parts.people.routing()

    @router.put("/v1/routing", summary="Replace the routing document; a new version, in force at once", response_model=None)
    async def put(body: RoutingIn, caller: Annotated[Caller, Depends(operator)]) -> dict[str, Any] | JSONResponse:
        try:
            await parts.people.put_routing(body.document, caller.name, parts.clock.now())
        except ConfigError as error:
            return problem(422, "The routing document cannot be used", str(error))
        return await parts.people.routing()

    @router.post("/v1/routing/explain", summary="Who would get it, when, by which channel, why", dependencies=reader)
    async def who(body: ExplainIn) -> dict[str, Any]:
        known = await parts.reader.profile(body.account) or AccountProfile(account=body.account)
        profile = structs.replace(known, **body.model_dump(include={"owner", "segment", "tier", "arr"}, exclude_none=True))
        scene = Scene(await parts.people.setup(), body.at or parts.clock.now(), await parts.reader.red(profile))
        return explain(profile, body.kind, scene)

    return router
