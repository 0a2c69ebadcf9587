"""Root. Sources over HTTP: which are silent, since when and whom they freeze; and the operator's word that one is gone for good."""

from typing import Annotated, Any

import structlog
from churnsignal_common.clock import Clock
from churnsignal_common.runtime.http import may
from churnsignal_common.runtime.tokens import Caller, Role, Tokens
from fastapi import Depends, FastAPI, HTTPException

from churnsignal_scoring.health.days import DayZone
from churnsignal_scoring.sources import Sources

log = structlog.get_logger()


def add_sources(app: FastAPI, sources: Sources, tokens: Tokens, clock: Clock, zone: DayZone) -> None:
    """Add the paths of sources to `app`."""
    reader = Depends(may(Role.READER, tokens))
    operators = Annotated[Caller, Depends(may(Role.OPERATOR, tokens))]

    @app.get("/v1/sources", tags=["sources"], summary="Sources as the last closed day judged them", dependencies=[reader])
    async def list_sources() -> dict[str, Any]:
        day, items = await sources.standing()
        return {"closed_on": day, "items": items, "next_cursor": None}

    @app.put(
        "/v1/sources/{source}/retired", tags=["sources"], summary="Say that a source is gone: from the next close on it freezes nothing"
    )
    async def retire(source: str, caller: operators) -> dict[str, Any]:
        _, items = await sources.standing()
        if all(item["source"] != source for item in items):
            raise HTTPException(404, f"no source {source!r}: no closed day knows it; GET /v1/sources lists them")
        now = clock.now()
        await sources.retire(source, zone.day_of(now), caller.name, now)
        log.info("source_retired", source=source, author=caller.name)
        return {"source": source, "retired_by": caller.name}

    @app.delete("/v1/sources/{source}/retired", tags=["sources"], summary="Take that back: the source is judged again once it is heard")
    async def unretire(source: str, caller: operators) -> dict[str, Any]:
        if not await sources.unretire(source):
            raise HTTPException(404, f"nobody has called {source!r} gone")
        log.info("source_unretired", source=source, author=caller.name)
        return {"source": source, "retired_by": None}
