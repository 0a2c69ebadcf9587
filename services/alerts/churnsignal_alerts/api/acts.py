"""Flow. What people do with episodes over HTTP."""

from typing import Annotated, Any

from churnsignal_common.runtime.http import may
from churnsignal_common.runtime.tokens import Caller, Role
from fastapi import APIRouter, Depends, HTTPException

from churnsignal_alerts.act import Act, Answer, Command
from churnsignal_alerts.api.episodes import episode_detail
from churnsignal_alerts.api.models import AcknowledgeIn, CloseIn, FeedbackIn, NoteIn, ReassignIn, SnoozeIn
from churnsignal_alerts.api.parts import Parts

_STATUS = {Answer.DONE: 200, Answer.ALREADY: 200, Answer.OVER: 409, Answer.PAST: 422, Answer.NO_TASK: 404}


async def _run(parts: Parts, ident: str, command: Command) -> dict[str, Any]:
    result = await parts.desk.run(ident, command, "api")
    if result is None:
        raise HTTPException(404, "no such episode")
    answer, _ = result
    if _STATUS[answer] != 200:
        raise HTTPException(_STATUS[answer], answer.value)
    return {"answer": answer.name.lower(), **await episode_detail(parts, ident)}


def routes(parts: Parts) -> APIRouter:
    """Return the routes for CSMs; each is the same command as a button or a link."""
    router = APIRouter()
    csm = may(Role.CSM, parts.tokens)

    @router.post("/v1/episodes/{ident}/acknowledge", tags=["episodes"], summary="Somebody is on it")
    async def acknowledge(ident: str, body: AcknowledgeIn, caller: Annotated[Caller, Depends(csm)]) -> dict[str, Any]:
        return await _run(parts, ident, Command(Act.ACKNOWLEDGE, body.by or caller.name, note=body.note))

    @router.post("/v1/episodes/{ident}/snooze", tags=["episodes"], summary="Tell again at a time; always wakes")
    async def snooze(ident: str, body: SnoozeIn, caller: Annotated[Caller, Depends(csm)]) -> dict[str, Any]:
        command = Command(Act.SNOOZE, body.by or caller.name, until=body.until, note=body.note, worse_only=body.or_worse)
        return await _run(parts, ident, command)

    @router.post("/v1/episodes/{ident}/reassign", tags=["episodes"], summary="Somebody else looks after it; they are told")
    async def reassign(ident: str, body: ReassignIn, caller: Annotated[Caller, Depends(csm)]) -> dict[str, Any]:
        found = (await parts.people.setup()).directory.find(body.to)
        if found is None:
            raise HTTPException(422, f"no CSM {body.to!r} in the directory; add them by PUT /v1/csms/{{id}}")
        return await _run(parts, ident, Command(Act.REASSIGN, body.by or caller.name, to=found.id, note=body.note))

    @router.post("/v1/episodes/{ident}/close", tags=["episodes"], summary="Done, with an outcome")
    async def close(ident: str, body: CloseIn, caller: Annotated[Caller, Depends(csm)]) -> dict[str, Any]:
        return await _run(parts, ident, Command(Act.CLOSE, body.by or caller.name, outcome=body.outcome, note=body.note))

    @router.post("/v1/episodes/{ident}/reopen", tags=["episodes"], summary="Not done after all")
    async def reopen(ident: str, body: AcknowledgeIn, caller: Annotated[Caller, Depends(csm)]) -> dict[str, Any]:
        return await _run(parts, ident, Command(Act.REOPEN, body.by or caller.name, note=body.note))

    _more(router, parts, csm)
    return router


def _more(router: APIRouter, parts: Parts, csm: Any) -> None:
    """Add what changes nothing about who is at work."""

    @router.post("/v1/episodes/{ident}/note", tags=["episodes"], summary="Write something on the timeline")
    async def note(ident: str, body: NoteIn, caller: Annotated[Caller, Depends(csm)]) -> dict[str, Any]:
        return await _run(parts, ident, Command(Act.NOTE, body.by or caller.name, note=body.note))

    @router.post("/v1/episodes/{ident}/feedback", tags=["episodes"], summary="Useful, a false alarm, or already known")
    async def feedback(ident: str, body: FeedbackIn, caller: Annotated[Caller, Depends(csm)]) -> dict[str, Any]:
        return await _run(parts, ident, Command(Act.FEEDBACK, body.by or caller.name, feedback=body.verdict, note=body.note))

    @router.post("/v1/episodes/{ident}/tasks/{number}/done", tags=["episodes"], summary="A step of the playbook (from 1) is done")
    async def done(ident: str, number: int, body: AcknowledgeIn, caller: Annotated[Caller, Depends(csm)]) -> dict[str, Any]:
        return await _run(parts, ident, Command(Act.TASK, body.by or caller.name, note=body.note, task=number - 1))
