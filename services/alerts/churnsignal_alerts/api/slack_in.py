"""Flow. Clicks on buttons in Slack: signed, answered at once, and the same command however often Slack sends them."""

import hashlib
import json
from typing import Any
from urllib.parse import parse_qs

import structlog
from churnsignal_common.clock import Clock
from fastapi import APIRouter, HTTPException, Request, Response
from slack_sdk.signature import SignatureVerifier

from churnsignal_alerts.act import Act, Command
from churnsignal_alerts.api.parts import Parts
from churnsignal_alerts.directory import Directory
from churnsignal_alerts.episodes import Outcome

log = structlog.get_logger()

_MAX_BODY = 64 * 1024


class _Seconds:
    """The product's clock as the SDK wants it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now().timestamp()


def is_signed(verifier: SignatureVerifier, body: bytes, timestamp: str | None, signature: str | None) -> bool:
    """Return whether Slack signed the body; what the SDK trips over is simply not signed."""
    try:
        return bool(verifier.is_valid(body, timestamp, signature))
    except (ValueError, TypeError):
        # A timestamp that is no number, a body that is no UTF-8, a signature that is no ASCII.
        return False


def command_of(payload: dict[str, Any], directory: Directory) -> tuple[str, Command] | None:
    """Return the episode and the command of a click; None for what is not ours."""
    actions = payload.get("actions")
    if payload.get("type") != "block_actions" or not isinstance(actions, list) or not actions or not isinstance(actions[0], dict):
        return None
    user = payload.get("user") or {}
    person = directory.find(str(user.get("id", "")))
    by = person.name if person else f"Slack {str(user.get('username') or user.get('id') or 'user')[:60]}"
    episode, act = str(actions[0].get("value", "")), actions[0].get("action_id")
    if act == Act.CLOSE:
        return episode, Command(Act.CLOSE, by, outcome=Outcome.FALSE_ALARM)
    return (episode, Command(Act(act), by)) if act in (Act.ACKNOWLEDGE, Act.SNOOZE) else None


def routes(parts: Parts) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["slack"])
    secret = parts.settings.slack_secret
    verifier = SignatureVerifier(secret.get_secret_value(), clock=_Seconds(parts.clock)) if secret else None  # type: ignore[arg-type] # any clock with now()

    @router.post("/slack/interactions", summary="Slack's interactivity request URL", response_class=Response)
    async def interactions(request: Request) -> Response:
        body = await request.body()
        signature = request.headers.get("x-slack-signature")
        if (
            verifier is None
            or len(body) > _MAX_BODY
            or not is_signed(verifier, body, request.headers.get("x-slack-request-timestamp"), signature)
        ):
            raise HTTPException(401, "not signed by Slack with our SLACK_SIGNING_SECRET within five minutes")
        try:
            payload = json.loads(parse_qs(body.decode())["payload"][0])
        except (KeyError, ValueError, RecursionError) as error:
            raise HTTPException(400, "no payload") from error
        # The same request again within the window acts once; that is also true of the command itself.
        if isinstance(payload, dict) and await parts.reader.first_seen(hashlib.sha256((signature or "").encode()).digest()):
            found = command_of(payload, (await parts.people.setup()).directory)
            if found is not None:
                await parts.desk.run(*found, "slack")
        return Response(status_code=200)

    return router
