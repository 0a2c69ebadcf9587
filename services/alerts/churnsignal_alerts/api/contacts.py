"""Flow. The contact log of an account over HTTP."""

from typing import Annotated, Any

from churnsignal_common.runtime.http import Cursor, Limit, after, may
from churnsignal_common.runtime.paging import page
from churnsignal_common.runtime.tokens import Caller, Role
from fastapi import APIRouter, Depends, HTTPException

from churnsignal_alerts.api.models import ContactIn, Ident
from churnsignal_alerts.api.parts import Parts
from churnsignal_alerts.episodes import Contact


def routes(parts: Parts) -> APIRouter:
    """Return the routes: readers see, CSMs write."""
    router = APIRouter(tags=["contacts"])
    csm = may(Role.CSM, parts.tokens)

    @router.post("/v1/accounts/{account}/contacts", status_code=201, summary="Note a contact with an account")
    async def contact(account: Ident, body: ContactIn, caller: Annotated[Caller, Depends(csm)]) -> dict[str, Any]:
        now = parts.clock.now()
        if body.at is not None and body.at > now:
            raise HTTPException(422, "at lies in the future: note a contact when it has been")
        noted = Contact(account, body.at or now, body.way, body.by or caller.name, body.note, caller.name)
        await parts.desk.note_contact(noted)
        return {"account": account, "at": noted.at, "way": noted.way, "person": noted.person, "note": noted.note, "author": noted.author}

    @router.get(
        "/v1/accounts/{account}/contacts",
        summary="Contacts with an account, newest first",
        dependencies=[Depends(may(Role.READER, parts.tokens))],
    )
    async def contacts(account: Ident, cursor: Cursor = None, limit: Limit = 50) -> dict[str, Any]:
        rows = await parts.reader.contacts(account, after(cursor, str, int), limit)
        return page([dict(row) for row in rows], limit, "at", "id")

    return router
