"""Flow. What feedback and outcomes say, over HTTP."""

from typing import Any

from churnsignal_common.runtime.http import may
from churnsignal_common.runtime.tokens import Role
from fastapi import APIRouter, Depends

from churnsignal_alerts.api.parts import Parts
from churnsignal_alerts.learn import Advice, Lesson, recommend, tally


def advice_out(advice: Advice) -> dict[str, Any]:
    """Return a suggestion with the recorded outcomes behind it."""
    return {
        "kind": advice.kind, "judged": advice.judged, "precision": round(advice.precision, 3), "threshold": advice.threshold / 100,
        "would_be": round(advice.would_be, 3), "still_told": advice.still_told, "right_ones_lost": advice.right_ones_lost,
        "behind": [_lesson(one) for one in advice.behind],
    }  # fmt: skip


def _lesson(one: Lesson) -> dict[str, Any]:
    score = None if one.score is None else one.score / 100
    return {
        "episode": one.episode,
        "account": one.account,
        "reason": one.reason,
        "score": score,
        "said": sorted(one.words),
        "right": one.right,
    }


def routes(parts: Parts) -> APIRouter:
    """Return the routes for readers."""
    router = APIRouter(tags=["learning"], dependencies=[Depends(may(Role.READER, parts.tokens))])

    @router.get("/v1/feedback", summary="What people said of alerts, per kind and reason, with the precision")
    async def feedback() -> dict[str, Any]:
        rows = tally(await parts.reader.lessons())
        items = [{"kind": kind, "reason": reason, "said": dict(words), "precision": share} for kind, reason, words, share in rows]
        return {"items": items, "next_cursor": None}

    @router.get("/v1/recommendations", summary="A better threshold where alerts were too often wrong, with the outcomes behind it")
    async def recommendations() -> dict[str, Any]:
        return {"items": [advice_out(one) for one in recommend(await parts.reader.lessons())], "next_cursor": None}

    return router
