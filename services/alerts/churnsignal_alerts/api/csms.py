"""Flow. The directory of CSMs over HTTP."""

from typing import Any

from churnsignal_common.runtime.http import Cursor, Limit, after, may
from churnsignal_common.runtime.paging import page
from churnsignal_common.runtime.tokens import Role
from fastapi import APIRouter, Depends, HTTPException, Response

from churnsignal_alerts.api.models import CsmIn
from churnsignal_alerts.api.parts import Parts
from churnsignal_alerts.people import row_of


def routes(parts: Parts) -> APIRouter:
    """Return the routes; readers see, operators change."""
    router = APIRouter(tags=["csms"])
    reader, operator = [Depends(may(Role.READER, parts.tokens))], [Depends(may(Role.OPERATOR, parts.tokens))]

    @router.get("/v1/csms", summary="All CSMs by id", dependencies=reader)
    async def all_csms(cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
        return page([row_of(csm) for csm in await parts.reader.csms(after(cursor, str), limit)], limit, "id")

    @router.get("/v1/unowned", summary="Accounts whose owner is nobody, unknown, or deactivated", dependencies=reader)
    async def unowned(cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
        key = after(cursor, str)
        return page([dict(row) for row in await parts.reader.unowned(key[0] if key else "", limit)], limit, "account")

    @router.get("/v1/csms/{ident}", summary="One CSM", dependencies=reader)
    async def one(ident: str) -> dict[str, Any]:
        csm = (await parts.people.setup()).directory.csms.get(ident)
        if csm is None:
            raise HTTPException(404, "no such CSM")
        return row_of(csm)

    @router.put("/v1/csms/{ident}", summary="Add or replace a CSM", dependencies=operator)
    async def put(ident: str, body: CsmIn) -> dict[str, Any]:
        try:
            csm = body.to_csm(ident)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        await parts.people.put([csm])
        return row_of(csm)

    @router.delete(
        "/v1/csms/{ident}", status_code=204, summary="Remove a CSM; their accounts go to the next in line", dependencies=operator
    )
    async def remove(ident: str) -> Response:
        if not await parts.people.remove(ident):
            raise HTTPException(404, "no such CSM")
        await parts.desk.move_from(ident)
        return Response(status_code=204)

    return router
