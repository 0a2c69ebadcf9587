"""Flow. Clicks and windows in Slack: signed, answered in time, and the same command however often Slack sends them."""

import asyncio
import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

import structlog
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.sentences import say
from fastapi import APIRouter, HTTPException, Request
from slack_sdk.signature import SignatureVerifier

from churnsignal_alerts.act import Act, Answer, Command
from churnsignal_alerts.api.parts import Parts
from churnsignal_alerts.directory import Csm
from churnsignal_alerts.episodes import Contact, Feedback
from churnsignal_alerts.render.modal import MODALS, Filled, command_of, filled, modal
from churnsignal_alerts.store import episode_of

log = structlog.get_logger()

_MAX_BODY = 64 * 1024
# Slack waits for three seconds, then tells the person that it failed. So do we: what was not done by then is not done.
_IN_TIME_S = 2.7
# Where a window shows that its command came to nothing.
_BLOCKS = {Act.SNOOZE: "date", Act.CLOSE: "outcome", Act.REASSIGN: "to", Act.NOTE: "note"}
_SORRY = {Answer.OVER: "page.over", Answer.PAST: "modal.past"}


def is_signed(verifier: SignatureVerifier, body: bytes, timestamp: str | None, signature: str | None) -> bool:
    """Return whether Slack signed the body; what the SDK trips over is simply not signed."""
    try:
        return bool(verifier.is_valid(body, timestamp, signature))
    except (ValueError, TypeError):
        # A timestamp that is no number, a body that is no UTF-8, a signature that is no ASCII.
        return False


@dataclass(frozen=True, slots=True)
class Click:
    """A used button or menu: which act on which episode, `detail` from a menu, and the ticket to open one window with."""

    act: str
    episode: str
    detail: str
    trigger: str


def click_of(payload: dict[str, Any]) -> Click | None:
    """Return what was clicked; None for what is not ours. The value of a menu's entry is `act:episode[:detail]`."""
    actions = payload.get("actions")
    if payload.get("type") != "block_actions" or not isinstance(actions, list) or not actions or not isinstance(actions[0], dict):
        return None
    act, value = str(actions[0].get("action_id", "")), actions[0].get("value")
    chosen = actions[0].get("selected_option")
    if isinstance(chosen, dict):
        act, _, value = str(chosen.get("value", "")).partition(":")
    episode, _, detail = str(value or "").partition(":")
    return Click(act, episode, detail, str(payload.get("trigger_id", "")))


class Interactions:
    """What Slack tells us of what a person did."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def take(self, payload: dict[str, Any], once: bytes) -> dict[str, Any]:
        """Return what Slack is to do with the window; nothing for a click. `once` is the same when Slack sends the same again."""
        click = click_of(payload)
        if click is not None:
            await self._clicked(click, payload, once)
            return {}
        given = filled(payload) if payload.get("type") == "view_submission" else None
        return await self._filled(given, payload, once) if given else {}

    async def _clicked(self, click: Click, payload: dict[str, Any], once: bytes) -> None:
        if click.act in MODALS:
            await self._open(Act(click.act), click, payload)
        elif click.act == Act.ACKNOWLEDGE:
            await self._parts.desk.run(click.episode, Command(Act.ACKNOWLEDGE, (await self._actor(payload))[0]), "slack", once)
        elif click.act == Act.FEEDBACK and click.detail in list(Feedback):
            command = Command(Act.FEEDBACK, (await self._actor(payload))[0], feedback=Feedback(click.detail))
            await self._parts.desk.run(click.episode, command, "slack", once)

    async def _open(self, act: Act, click: Click, payload: dict[str, Any]) -> None:
        row = await self._parts.reader.episode(click.episode)
        if row is None or self._parts.slack is None:
            return
        _, locale = await self._actor(payload)
        refusal = await self._parts.slack.open_view(click.trigger, modal(act, click.episode, episode_of(row).name, locale))
        if refusal:
            log.warning("window_not_opened", act=act, reason=refusal)
            raise HTTPException(502, f"Slack did not open the window: {refusal}")

    async def _filled(self, given: Filled, payload: dict[str, Any], once: bytes) -> dict[str, Any]:
        (name, locale), now = await self._actor(payload), self._parts.clock.now()
        command = command_of(given, name, now)
        row = await self._parts.reader.episode(given.episode)
        if row is None or command is None:
            return _wrong(given, "modal.wrong", locale)
        if given.way is not None:
            if await self._parts.reader.first_seen(once):
                await self._parts.desk.note_contact(Contact(row["account"], now, given.way, name, command.note, name))
            return {}
        if given.act is Act.REASSIGN:
            person = await self._csm(given.values.get("to", ""))
            if person is None:
                return _wrong(given, "modal.nobody", locale)
            command = replace(command, to=person.id)
        result = await self._parts.desk.run(given.episode, command, "slack", once)
        answer = result[0] if result else Answer.OVER
        return _wrong(given, _SORRY[answer], locale) if answer in _SORRY else {}

    async def _actor(self, payload: dict[str, Any]) -> tuple[str, Locale]:
        """Return the name and the language of the CSM who acts; of others in the workspace, the name that they have there."""
        user = payload.get("user")
        found = user if isinstance(user, dict) else {}
        person = await self._csm(str(found.get("id", "")))
        if person:
            return person.name, person.locale
        setup = await self._parts.people.setup()
        return f"Slack {str(found.get('username') or found.get('id') or 'user')[:60]}", setup.policy.catch_all.locale

    async def _csm(self, user: str) -> Csm | None:
        """Return the CSM of a Slack user: by the id in the directory, else by the e-mail address that Slack knows them by."""
        directory = (await self._parts.people.setup()).directory
        known = directory.find(user)
        if known or not user or self._parts.slack is None:
            return known
        return directory.find(await self._parts.slack.email_of(user))


def _wrong(given: Filled, key: str, locale: Locale) -> dict[str, Any]:
    return {"response_action": "errors", "errors": {_BLOCKS[given.act]: say(locale, key)}}


def routes(parts: Parts) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["slack"])
    secret = parts.settings.slack_secret
    # By the machines' clock, which is Slack's, also while the product's own runs fast.
    verifier = SignatureVerifier(secret.get_secret_value()) if secret else None
    interactions = Interactions(parts)

    @router.post("/slack/interactions", summary="Slack's interactivity request URL")
    async def interaction(request: Request) -> dict[str, Any]:
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
        if not isinstance(payload, dict):
            return {}
        try:
            async with asyncio.timeout(_IN_TIME_S):
                return await interactions.take(payload, hashlib.sha256((signature or "").encode()).digest())
        except TimeoutError as error:
            raise HTTPException(503, "not done in the three seconds that Slack waits; click again", {"Retry-After": "5"}) from error

    return router
