"""Root. Versions over HTTP: publish, preview and activate scorecards and mappings, and list the events that no rule names."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import structlog
from churnsignal_common.clock import Clock
from churnsignal_common.document import ConfigError
from churnsignal_common.mapping.suggest import suggested_rule
from churnsignal_common.runtime.http import may, problem
from churnsignal_common.runtime.tokens import Caller, Role, Tokens
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, Field

from churnsignal_scoring.configs import Configs, TooEarly, UnknownVersion
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.config.parse import parse_scorecard
from churnsignal_scoring.health.scorecard import Scorecard
from churnsignal_scoring.load import Load
from churnsignal_scoring.preview import preview
from churnsignal_scoring.queries import Queries
from churnsignal_scoring.shadow import NoShadow, compare
from churnsignal_scoring.versions import Kind

log = structlog.get_logger()

LONGEST_TEXT = 1_000_000


class ActivateBody(BaseModel):
    """When it takes effect; at once without a time."""

    effective_from: AwareDatetime | None = Field(
        default=None, description="A mapping: for calls received since. A scorecard: for the closes of days that end since."
    )


@dataclass(frozen=True, slots=True)
class Room:
    """What the paths need."""

    configs: Configs
    queries: Queries
    load: Load
    engine_now: Callable[[], Awaitable[AccountEngine]]
    tokens: Tokens
    clock: Clock


async def _wrong_text(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ConfigError)
    return problem(422, "The text cannot be followed", str(error))


async def _text(request: Request) -> str:
    body = await request.body()
    if len(body) > LONGEST_TEXT:
        raise HTTPException(413, f"a text of {len(body)} bytes; at most {LONGEST_TEXT}")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise HTTPException(422, f"the text must be UTF-8: {error}") from error


def add_configs(app: FastAPI, room: Room) -> None:
    """Add the paths. Texts are sent as they are: `curl --data-binary @scorecard.yaml`."""
    app.add_exception_handler(ConfigError, _wrong_text)
    _add_scorecards(app, room)  # first: `shadow` is no version
    for kind in (Kind.SCORECARD, Kind.MAPPING):
        _add_versions(app, room, kind)
    _add_unknown(app, room)


def _add_versions(app: FastAPI, room: Room, kind: Kind) -> None:
    reader, operator = Depends(may(Role.READER, room.tokens)), may(Role.OPERATOR, room.tokens)
    callers = Annotated[Caller, Depends(operator)]
    texts = {"requestBody": {"content": {"application/yaml": {"schema": {"type": "string"}}}, "required": True}}

    @app.get(f"/v1/{kind}s", tags=["versions"], summary=f"All versions of the {kind}, the newest first", dependencies=[reader])
    async def list_versions() -> dict[str, Any]:
        return {"items": await room.configs.versions(kind, room.clock.now()), "next_cursor": None}

    @app.get(f"/v1/{kind}s/{{version}}", tags=["versions"], summary="The text of a version", dependencies=[reader])
    async def one_version(version: str) -> Response:
        text = await room.configs.text(kind, version)
        if text is None:
            raise HTTPException(404, f"no {kind} {version!r} was published")
        return Response(text, media_type="application/yaml")

    @app.post(
        f"/v1/{kind}s", tags=["versions"], status_code=201, summary=f"Publish a {kind}; it counts once activated", openapi_extra=texts
    )
    async def publish(request: Request, caller: callers) -> dict[str, str]:
        parsed = await room.configs.publish(kind, await _text(request), caller.name, room.clock.now())
        return {"version": parsed.version}

    @app.post(f"/v1/{kind}s/{{version}}/activate", tags=["versions"], summary="Put a published version into force")
    async def activate(version: str, caller: callers, body: ActivateBody | None = None) -> dict[str, Any]:
        return await _activate(room, kind, version, body, caller)


async def _activate(room: Room, kind: Kind, version: str | None, body: ActivateBody | None, caller: Caller) -> dict[str, Any]:
    at = body.effective_from if body else None
    try:
        done = await room.configs.activate(kind, version, at, caller.name, room.clock.now())
    except UnknownVersion as error:
        raise HTTPException(404, str(error)) from error
    except TooEarly as error:
        raise HTTPException(409, str(error)) from error
    log.info("config_activated", kind=kind, version=version, effective_from=done.effective_from.isoformat(), author=caller.name)
    return {"version": version, "kind": kind.value, "effective_from": done.effective_from.isoformat()}


def _add_scorecards(app: FastAPI, room: Room) -> None:
    callers = Annotated[Caller, Depends(may(Role.OPERATOR, room.tokens))]
    reader = Depends(may(Role.READER, room.tokens))
    texts = {"requestBody": {"content": {"application/yaml": {"schema": {"type": "string"}}}}}

    @app.post("/v1/scorecards/preview", tags=["versions"], summary="Who would change band under a scorecard", openapi_extra=texts)
    async def show(request: Request, caller: callers, version: str | None = None) -> dict[str, Any]:  # noqa: ARG001 the caller's right
        card = await _card(room, await _text(request), version)
        return await preview(room.load, await room.engine_now(), card)

    @app.get(
        "/v1/scorecards/shadow", tags=["versions"], summary="The scorecard beside the one in force, compared with it", dependencies=[reader]
    )
    async def show_shadow() -> dict[str, Any]:
        try:
            return await compare(room.queries, room.configs, (await room.engine_now()).zone, room.clock.now())
        except NoShadow as error:
            raise HTTPException(404, str(error)) from error

    @app.post("/v1/scorecards/{version}/shadow", tags=["versions"], summary="Run a scorecard beside the one in force; it alerts nobody")
    async def begin_shadow(version: str, caller: callers, body: ActivateBody | None = None) -> dict[str, Any]:
        return await _activate(room, Kind.SHADOW, version, body, caller)

    @app.delete("/v1/scorecards/shadow", tags=["versions"], summary="End the scorecard that runs beside the one in force")
    async def end_shadow(caller: callers) -> dict[str, Any]:
        return await _activate(room, Kind.SHADOW, None, None, caller)


async def _card(room: Room, text: str, version: str | None) -> Scorecard:
    if version is None:
        if not text.strip():
            raise HTTPException(422, "send the scorecard's text as the body, or name a published one with ?version=")
        return parse_scorecard(text, "scorecard.yaml")
    try:
        return await room.configs.scorecard(version)
    except UnknownVersion as error:
        raise HTTPException(404, str(error)) from error


def _add_unknown(app: FastAPI, room: Room) -> None:
    reader = Depends(may(Role.READER, room.tokens))

    @app.get(
        "/v1/mapping/unknown", tags=["versions"], summary="Events that no rule names, each with a rule to paste", dependencies=[reader]
    )
    async def unknown(days: Annotated[int, Query(ge=1, le=28)] = 7, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> dict[str, Any]:
        return await unknown_events(room.queries, await room.engine_now(), room.clock, days, limit)


async def unknown_events(queries: Queries, engine: AccountEngine, clock: Clock, days: int, limit: int) -> dict[str, Any]:
    """Return the events that count under their own names, by number of calls in the last days."""
    rows = await queries.features(engine.zone.day_of(clock.now()) - days + 1, 2 * limit)
    found = [row for row in rows if not engine.mapper.names(row[0])][:limit]
    items = [{"event": name, "calls": calls, "accounts": accounts, "rule": suggested_rule(name)} for name, calls, accounts in found]
    return {"mapping": engine.mapper.version, "days": days, "items": items}
