"""Door. The admin API of refused records: why, with their original bytes, and another chance after a fix."""

import base64
from datetime import datetime
from typing import Annotated, Any

from churnsignal_common.runtime.http import Strict, after, may, problem
from churnsignal_common.runtime.paging import encode_cursor
from churnsignal_common.runtime.tokens import Role, Tokens
from fastapi import Depends, FastAPI, Query
from pydantic import AwareDatetime, BaseModel, Field

from churnsignal_ingest.metrics import Metrics
from churnsignal_ingest.rejected.replay import Replay
from churnsignal_ingest.rejected.topic import TopicAway
from churnsignal_ingest.rejected.wanted import NO_SOURCE, Found, Wanted
from churnsignal_ingest.validate.judge import Scope
from churnsignal_ingest.validate.reasons import PROBLEMS, REASONS, Reason, RequestProblem

_PATH = "/admin/v1/rejected"
_SCORING = "Fix what wrote the record, or scoring, then replay it."


class Where(BaseModel):
    """The place of a record in a topic."""

    topic: str
    partition: int
    offset: int


class RejectedOut(BaseModel):
    """A call that ingest refused, or a record that scoring buried, with its original bytes less the write key."""

    id: str
    source: str
    stage: str = Field(description="ingest or scoring")
    reason: str
    message: str
    remedy: str
    rejected_at: datetime
    scope: str | None = Field(description="Of the write key. Null for what scoring buried.")
    place: Where | None = Field(description="Where scoring met the record.")
    body: str | None = Field(description="The original bytes as text; null when they are no UTF-8.")
    body_base64: str
    cut: bool = Field(description="True: only the beginning of the bytes is kept, so that they cannot be replayed.")


class RejectedPage(BaseModel):
    """By source, oldest first. A page may be short or empty and still have a `next_cursor`: much was looked at. Null is the end."""

    items: list[RejectedOut]
    next_cursor: str | None


class Filter(Strict):
    """Which refused records; what is absent asks for all."""

    source: str | None = Field(default=None, description=f"`{NO_SOURCE}` holds what scoring buried before its source could be read.")
    reason: str | None = Field(default=None, examples=[Reason.BAD_TIMESTAMP.value])
    stage: str | None = Field(default=None, pattern="^(ingest|scoring)$")
    id: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    def wanted(self) -> Wanted:
        return Wanted(self.source, self.reason, self.stage, self.id, self.since, self.until)


class Asked(Filter):
    """A page of them."""

    cursor: str | None = None
    limit: int = Field(default=100, ge=1, le=1000)


class ReplayIn(Asked):
    """Which refused records to judge again, a page at a time."""

    scope: Scope | None = Field(
        default=None,
        description="Judge as if the key had had this scope. Only for calls that you know to be genuine: browser keys are public.",
    )
    dry_run: bool = Field(default=False, description="Publish nothing, and tell what would be.")


class ReplayOut(BaseModel):
    """What became of the page: matched = published + the sum of still_refused, `replayed` among them. Ask again with `next_cursor` until it is null."""

    matched: int
    published: int
    still_refused: dict[str, int]
    next_cursor: str | None


def add_rejects(app: FastAPI, replay: Replay, metrics: Metrics, tokens: Tokens) -> None:
    """Add the paths. Operators only: the bytes are customers' content."""
    operators = [Depends(may(Role.OPERATOR, tokens))]

    @app.exception_handler(TopicAway)
    async def topic_away(_request: Any, _error: TopicAway) -> Any:
        return problem(503, "Kafka is away", "Try again in a few seconds.", {"Retry-After": "5"})

    @app.exception_handler(RequestProblem)
    async def not_published(_request: Any, error: RequestProblem) -> Any:
        told = PROBLEMS[error.problem]
        return problem(503, told.cause, told.remedy, {"Retry-After": "5"})

    @app.get(_PATH, tags=["rejected"], dependencies=operators, summary="List what was refused or buried in the last 14 days")
    async def list_rejected(asked: Annotated[Asked, Query()]) -> RejectedPage:
        page = await replay.pages.page(asked.wanted(), _begin(asked.cursor), asked.limit)
        return RejectedPage(items=[_out(found) for found in page.items], next_cursor=_cursor(page.next))

    @app.post(
        _PATH + "/replay", tags=["rejected"], dependencies=operators, summary="Judge refused records again and publish what passes now"
    )
    async def replay_rejected(asked: ReplayIn) -> ReplayOut:
        wanted = asked.wanted()
        done = await replay.run(wanted, _begin(asked.cursor), asked.limit, asked.scope, dry_run=asked.dry_run)
        if done.published and not asked.dry_run:
            metrics.replayed.inc(done.published)
        return ReplayOut(matched=done.matched, published=done.published, still_refused=done.refused, next_cursor=_cursor(done.next))


def _begin(cursor: str | None) -> tuple[int, int]:
    partition, offset = after(cursor, int, int) or (0, 0)
    return partition, offset


def _cursor(place: tuple[int, int] | None) -> str | None:
    return encode_cursor(*place) if place else None


def _out(found: Found) -> RejectedOut:
    rejected = found.rejected
    known = rejected.stage == "ingest" and rejected.reason in REASONS
    try:
        text = rejected.body.decode()
    except UnicodeDecodeError:
        text = None
    return RejectedOut(
        id=rejected.id, source=rejected.source or NO_SOURCE, stage=rejected.stage, reason=rejected.reason, message=rejected.message,
        remedy=REASONS[Reason(rejected.reason)].remedy if known else _SCORING, rejected_at=rejected.rejected_at,
        scope=rejected.around.scope if rejected.around else None, place=_place(found), body=text,
        body_base64=base64.b64encode(rejected.body).decode(), cut=rejected.cut,
    )  # fmt: skip


def _place(found: Found) -> Where | None:
    rejected = found.rejected
    if rejected.topic is None or rejected.partition is None or rejected.offset is None:
        return None
    return Where(topic=rejected.topic, partition=rejected.partition, offset=rejected.offset)
