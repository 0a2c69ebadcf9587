"""Flow. Silences over HTTP: what somebody does not want to hear of, until when, and why."""

from typing import Annotated, Any

from churnsignal_common.runtime.http import may
from churnsignal_common.runtime.tokens import Caller, Role
from fastapi import APIRouter, Depends, HTTPException, Query, Response

from churnsignal_alerts.act import FARTHEST
from churnsignal_alerts.api.models import SilenceIn
from churnsignal_alerts.api.parts import Parts
from churnsignal_alerts.episodes import Episode
from churnsignal_alerts.mute import Silence


def silence_out(silence: Silence) -> dict[str, Any]:
    """Return a silence as the API shows it."""
    fits = silence.matcher
    return {
        "id": silence.id, "account": fits.account, "segment": fits.segment, "owner": fits.owner, "kind": fits.kind, "author": silence.author,
        "reason": silence.reason, "made_at": silence.made_at, "ends_at": silence.ends_at,
    }  # fmt: skip


def _covered(count: int, episodes: list[Episode]) -> dict[str, Any]:
    shown = [{"id": e.id, "account": e.account, "name": e.name, "kind": e.kind, "state": e.state, "csm": e.csm} for e in episodes]
    return {"count": count, "episodes": shown}


def routes(parts: Parts) -> APIRouter:
    """Return the routes: readers see, CSMs silence."""
    router = APIRouter(tags=["silences"])
    reader, csm = Depends(may(Role.READER, parts.tokens)), may(Role.CSM, parts.tokens)

    @router.get("/v1/silences", summary="Silences in force, the one that ends first first", dependencies=[reader])
    async def in_force(*, ended: Annotated[bool, Query(description="those that have ended too")] = False) -> dict[str, Any]:
        now = parts.clock.now()
        found = [s for s in (await parts.people.setup()).silences if ended or s.ends_at > now]
        return {"items": [silence_out(s) for s in sorted(found, key=lambda s: (s.ends_at, s.id))], "next_cursor": None}

    @router.post("/v1/silences", status_code=201, summary="Silence what fits, or only show what would be silenced (preview)")
    async def silence(body: SilenceIn, caller: Annotated[Caller, Depends(csm)], response: Response) -> dict[str, Any]:
        now = parts.clock.now()
        if not now < body.ends_at <= now + FARTHEST:
            raise HTTPException(422, "ends_at must lie in the future, within two years")
        wanted = Silence(0, body.matcher(), body.author or caller.name, body.reason, now, body.ends_at)
        if body.preview:
            response.status_code = 200
            return {"preview": True, **silence_out(wanted), "id": None, **_covered(*await parts.desk.covered(wanted))}
        made, count, covered = await parts.desk.silence(wanted)
        return {"preview": False, **silence_out(made), **_covered(count, covered)}

    @router.delete("/v1/silences/{ident}", status_code=204, summary="End a silence now", dependencies=[Depends(csm)])
    async def end(ident: int) -> Response:
        if not await parts.desk.end_silence(ident):
            raise HTTPException(404, "no such silence in force")
        return Response(status_code=204)

    return router
