"""Flow. Episodes and deliveries over HTTP, to be seen."""

from dataclasses import asdict
from typing import Annotated, Any

from churnsignal_common.runtime.http import Cursor, Limit, after, may
from churnsignal_common.runtime.paging import page
from churnsignal_common.runtime.tokens import Role
from fastapi import APIRouter, Depends, HTTPException, Query

from churnsignal_alerts.api.parts import Parts
from churnsignal_alerts.episodes import State
from churnsignal_alerts.store import episode_of


def episode_out(row: Any) -> dict[str, Any]:
    """Return an episode as lists show it."""
    change = episode_of(row).change
    account = change.account
    return {
        "id": row["id"], "account": row["account"], "name": account.name, "kind": row["kind"], "state": row["state"], "opened_at": row["opened_at"],
        "since": row["since"], "ended_at": row["ended_at"], "flips": row["flips"], "csm": row["csm"], "by": row["acted_by"],
        "acted_at": row["acted_at"], "until": row["until"], "outcome": row["outcome"], "note": row["note"],
        "feedback": row["feedback"], "escalated": row["rung"], "next_at": row["next_at"], "band": change.to_band,
        "score_before": change.score_before, "score": change.score_after, "arr": account.arr, "currency": account.currency,
        "renewal_on": account.renewal_on, "segment": account.segment, "cause": change.cause,
    }  # fmt: skip


def routes(parts: Parts) -> APIRouter:
    """Return the routes for readers."""
    router = APIRouter()
    reader = Depends(may(Role.READER, parts.tokens))

    @router.get("/v1/episodes", tags=["episodes"], summary="Episodes, newest first", dependencies=[reader])
    async def list_episodes(
        state: State | None = None, csm: Annotated[str | None, Query(max_length=120)] = None,
        account: Annotated[str | None, Query(max_length=500)] = None, cursor: Cursor = None, limit: Limit = 50,
    ) -> dict[str, Any]:  # fmt: skip
        rows = await parts.reader.episodes(state, csm, account, after(cursor, str, str), limit)
        return page([episode_out(row) for row in rows], limit, "opened_at", "id")

    @router.get(
        "/v1/episodes/{ident}",
        tags=["episodes"],
        summary="One episode: why, its timeline, its notices and deliveries",
        dependencies=[reader],
    )
    async def one_episode(ident: str) -> dict[str, Any]:
        return await episode_detail(parts, ident)

    @router.get("/v1/deliveries", tags=["deliveries"], summary="Messages with every attempt, newest first", dependencies=[reader])
    async def list_deliveries(
        episode: Annotated[str | None, Query(max_length=120)] = None, cursor: Cursor = None, limit: Limit = 50
    ) -> dict[str, Any]:
        rows = await parts.reader.deliveries(after(cursor, int), limit, episode)
        found: dict[str, Any] = page([dict(row) for row in rows], limit, "id")
        found["items"] = await with_attempts(parts, found["items"])
        return found

    return router


async def episode_detail(parts: Parts, ident: str) -> dict[str, Any]:
    """Return everything about one episode."""
    row = await parts.reader.episode(ident)
    if row is None:
        raise HTTPException(404, "no such episode")
    episode = episode_of(row)
    change = episode.change
    sent = await parts.reader.deliveries(None, 200, ident)
    return {
        **episode_out(row),
        "drivers": [_driver(driver) for driver in change.drivers],
        "knockout": change.knockout,
        "coverage": change.coverage,
        "tasks": [{"number": place, **asdict(task)} for place, task in enumerate(episode.tasks, 1)],
        "timeline": [dict(entry) for entry in await parts.reader.timeline(ident)],
        "notices": [dict(notice) for notice in await parts.reader.notices(ident)],
        "deliveries": await with_attempts(parts, [dict(delivery) for delivery in sent]),
    }


def _driver(driver: Any) -> dict[str, Any]:
    names = ("code", "measure", "contribution", "possible", "value", "baseline", "unit", "window_days", "moved")
    return {name: getattr(driver, name) for name in names}


async def with_attempts(parts: Parts, deliveries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return deliveries with all their attempts."""
    tried = await parts.reader.attempts([delivery["id"] for delivery in deliveries])
    for delivery in deliveries:
        del delivery["fence"]
        delivery["attempt_log"] = [dict(row) for row in tried if row["delivery"] == delivery["id"]]
    return deliveries
