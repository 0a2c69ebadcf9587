"""Door. The admin API, for operators with a bearer token: sources and their write keys here, the rest in its own files."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, TypeAlias

from churnsignal_common.clock import Clock
from churnsignal_common.runtime.http import Strict, after, may
from churnsignal_common.runtime.paging import page
from churnsignal_common.runtime.tokens import Role, Tokens
from fastapi import Depends, FastAPI, HTTPException, Path, Query
from pydantic import BaseModel, Field

from churnsignal_ingest.api.described import described
from churnsignal_ingest.api.rejects import add_rejects
from churnsignal_ingest.api.suppressions import add_suppressions
from churnsignal_ingest.auth.keys import RANDOM_BYTES, make_key
from churnsignal_ingest.auth.store import SOURCE_NAME, Source, SourceStore
from churnsignal_ingest.metrics import Metrics
from churnsignal_ingest.rejected.replay import Replay
from churnsignal_ingest.validate.judge import Scope

_LAST_ROW = 2**63 - 1
RowId: TypeAlias = Annotated[int, Path(ge=1, le=_LAST_ROW)]
_ROTATION_OVERLAP = timedelta(days=7)


class SourceOut(BaseModel):
    """A product backend that sends."""

    id: int
    name: str
    kind: str
    rate: float | None = Field(description="Events a second; null: the deployment's default.")
    burst: float | None
    created_at: datetime
    disabled_at: datetime | None


class SourceIn(Strict):
    """A new source."""

    name: str = Field(pattern=SOURCE_NAME, examples=["web-backend"])
    kind: Literal["segment", "rudder"] = "segment"
    rate: float | None = Field(default=None, gt=0)
    burst: float | None = Field(default=None, gt=0)


class SourceChange(Strict):
    """What may change; absent fields stay."""

    kind: Literal["segment", "rudder"] | None = None
    rate: float | None = Field(default=None, gt=0)
    burst: float | None = Field(default=None, gt=0)
    disabled: bool | None = None


class KeyOut(BaseModel):
    """A write key without the key."""

    id: int
    source: str
    scope: Scope
    hint: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewKeyOut(KeyOut):
    """A new write key; this is the only time it is shown."""

    write_key: str


class KeyIn(Strict):
    """What the new key may do."""

    scope: Scope = Scope.SERVER


class KeyChange(Strict):
    """End a key now, or replace it with an overlap during which both work."""

    id: int = Field(ge=1, le=_LAST_ROW)
    action: Literal["revoke", "rotate"]
    overlap_days: int = Field(default=_ROTATION_OVERLAP.days, ge=0, le=90)


class SourcePage(BaseModel):
    """A page of sources, by name."""

    items: list[SourceOut]
    next_cursor: str | None


class KeyList(BaseModel):
    """All keys of a source; there are few."""

    items: list[KeyOut]
    next_cursor: None = None


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind the admin API."""

    store: SourceStore
    tokens: Tokens
    clock: Clock
    chance: Callable[[int], bytes]
    replay: Replay
    metrics: Metrics


def add_admin(app: FastAPI, behind: Behind) -> None:
    """Add the admin paths to `app`, and to its schema the paths that are served in front of it."""
    plain = app.openapi
    app.openapi = lambda: described(plain())  # type: ignore[method-assign] # FastAPI's own way to extend the schema

    _add_sources(app, behind.store, behind.tokens, behind.clock)
    _add_keys(app, behind)
    add_suppressions(app, behind.store, behind.tokens, behind.clock)
    add_rejects(app, behind.replay, behind.metrics, behind.tokens)


def _add_sources(app: FastAPI, store: SourceStore, tokens: Tokens, clock: Clock) -> None:
    reads, writes = [Depends(may(Role.READER, tokens))], [Depends(may(Role.OPERATOR, tokens))]

    @app.get("/admin/v1/sources", tags=["sources"], dependencies=reads, summary="List sources by name")
    async def list_sources(cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> SourcePage:
        (name,) = after(cursor, str) or ("",)
        rows = [asdict(source) for source in await store.list_sources(name, limit + 1)]
        return SourcePage.model_validate(page(rows, limit, "name"))

    @app.post("/admin/v1/sources", tags=["sources"], dependencies=writes, status_code=201, summary="Create a source")
    async def create_source(new: SourceIn) -> SourceOut:
        source = await store.create_source(new.name, new.kind, clock.now(), new.rate, new.burst)
        if source is None:
            raise HTTPException(409, f"there is a source {new.name!r} already: choose another name")
        return SourceOut(**asdict(source))

    @app.patch("/admin/v1/sources/{source_id}", tags=["sources"], dependencies=writes, summary="Change kind or rates, disable or enable")
    async def change_source(source_id: RowId, change: SourceChange) -> SourceOut:
        values = change.model_dump(exclude_unset=True)
        disabled = values.pop("disabled", None)
        if values.get("kind", "segment") is None:
            raise HTTPException(422, "kind: leave it out, or send segment or rudder")
        if disabled is not None:
            values["disabled_at"] = clock.now() if disabled else None
        found = store.change_source(source_id, values) if values else store.source_by_id(source_id)
        return SourceOut(**asdict(await _there(found)))


def _add_keys(app: FastAPI, behind: Behind) -> None:
    store, clock, chance = behind.store, behind.clock, behind.chance
    reads, writes = [Depends(may(Role.READER, behind.tokens))], [Depends(may(Role.OPERATOR, behind.tokens))]
    path = "/admin/v1/sources/{source_id}/keys"

    @app.get(path, tags=["keys"], dependencies=reads, summary="List a source's write keys")
    async def list_keys(source_id: RowId) -> KeyList:
        await _there(store.source_by_id(source_id))
        return KeyList(items=[KeyOut(**asdict(key)) for key in await store.list_keys(source_id)])

    @app.post(path, tags=["keys"], dependencies=writes, status_code=201, summary="Create a write key; it is shown once")
    async def create_key(source_id: RowId, new: KeyIn) -> NewKeyOut:
        source = await _there(store.source_by_id(source_id))
        key = make_key(new.scope, chance(RANDOM_BYTES))
        return NewKeyOut(**asdict(await store.add_key(source, new.scope, key, clock.now())), write_key=key)

    @app.patch(path, tags=["keys"], dependencies=writes, summary="Revoke a write key, or rotate it with an overlap")
    async def change_key(source_id: RowId, change: KeyChange) -> KeyOut | NewKeyOut:
        mine = {key.id: key for key in await store.list_keys(source_id)}
        if change.id not in mine:
            raise HTTPException(404, "the source has no such key: list its keys")
        if change.action == "revoke":
            await store.revoke_key(change.id, clock.now())
            return KeyOut(**asdict({key.id: key for key in await store.list_keys(source_id)}[change.id]))
        key = make_key(mine[change.id].scope, chance(RANDOM_BYTES))
        made = await store.replace_key(change.id, key, clock.now(), timedelta(days=change.overlap_days))
        if made is None:
            raise HTTPException(409, "the key is revoked: create a new one")
        return NewKeyOut(**asdict(made), write_key=key)


async def _there(found: Awaitable[Source | None]) -> Source:
    source = await found
    if source is None:
        raise HTTPException(404, "there is no such source: list the sources")
    return source
