"""Door. The admin API of suppressions: whose calls are answered 200 and dropped."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from churnsignal_common.clock import Clock
from churnsignal_common.runtime.http import Strict, after, may
from churnsignal_common.runtime.paging import page
from churnsignal_common.runtime.tokens import Caller, Role, Tokens
from fastapi import Depends, FastAPI, Query
from pydantic import AfterValidator, BaseModel, Field

from churnsignal_ingest.auth.store import SourceStore
from churnsignal_ingest.validate.limits import Limits
from churnsignal_ingest.validate.reasons import REASONS, Refusal
from churnsignal_ingest.validate.subjects import normal_id


def _as_key(value: str | int) -> str:
    """Return the id as ingest spells the ids of calls, so that it is found whichever way it was typed."""
    try:
        found = normal_id(value, Limits().id_bytes)
    except Refusal as refusal:
        raise ValueError(REASONS[refusal.reason].cause) from None
    if found is None:
        raise ValueError("an id must not be empty")
    return found


class SuppressionOut(BaseModel):
    """A user or account whose calls are dropped."""

    kind: str
    id: str
    listed_at: datetime
    listed_by: str = Field(description="Name of the admin token.")


class SuppressionChange(Strict):
    """One user (a user id or an anonymous id) or account, and whether its calls are to be dropped from now on.

    Known are those whom a call names: list an account's users too, if their calls do not name the account.
    """

    kind: Literal["user", "account"]
    id: Annotated[str | int, AfterValidator(_as_key)] = Field(examples=["user-7"])
    suppressed: bool = True


class SuppressionChanges(Strict):
    """Users and accounts to list or to lift; all others stay as they are, so the same request may be sent twice."""

    items: list[SuppressionChange] = Field(min_length=1, max_length=10_000)


class SuppressionsChanged(BaseModel):
    """How many were not so before. Replicas follow within a few seconds."""

    listed: int
    lifted: int


class SuppressionPage(BaseModel):
    """A page of suppressions, accounts first."""

    items: list[SuppressionOut]
    next_cursor: str | None


def add_suppressions(app: FastAPI, store: SourceStore, tokens: Tokens, clock: Clock) -> None:
    """Add the paths. Operators only: the list names people who asked to be left out."""
    operator = may(Role.OPERATOR, tokens)
    path = "/admin/v1/suppressions"

    @app.get(path, tags=["suppressions"], dependencies=[Depends(operator)], summary="List whose calls are dropped")
    async def list_suppressions(cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> SuppressionPage:
        kind, id_ = after(cursor, str, str) or ("", "")
        rows = [asdict(found) for found in await store.list_suppressions((kind, id_), limit + 1)]
        return SuppressionPage.model_validate(page(rows, limit, "kind", "id"))

    @app.put(path, tags=["suppressions"], summary="Drop the calls of users and accounts from now on, or take them again")
    async def change_suppressions(changes: SuppressionChanges, caller: Annotated[Caller, Depends(operator)]) -> SuppressionsChanged:
        wanted: dict[tuple[str, str], bool] = {(each.kind, str(each.id)): each.suppressed for each in changes.items}
        listed = {subject for subject, suppressed in wanted.items() if suppressed}
        added, removed = await store.change_suppressions(listed, wanted.keys() - listed, clock.now(), caller.name)
        return SuppressionsChanged(listed=added, lifted=removed)
