"""Door. Sends what a person did to the alerts service, as Slack would, and shows what comes back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from churnsignal_common.clock import Clock
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from churnsignal_devstack.inbox.clicks import block_action, find_element, signed, view_closed, view_submission
from churnsignal_devstack.inbox.slack_methods import SlackMethods
from churnsignal_devstack.inbox.store import Store, User

NOT_CONNECTED = "Buttons act when CHURNSIGNAL_ALERTS_URL and SLACK_SIGNING_SECRET are set."


@dataclass(frozen=True, slots=True)
class Alerts:
    """The app that this workspace has: where it listens, and the secret that Slack and it share."""

    client: httpx2.AsyncClient
    signing_secret: str


class Acts:
    """Clicks and submitted modals. Without an address and a secret a click explains what is missing."""

    def __init__(self, store: Store, methods: SlackMethods, clock: Clock, alerts: Alerts | None) -> None:
        self._store, self._methods, self._clock, self._alerts = store, methods, clock, alerts

    def routes(self) -> list[Route]:
        return [
            Route("/act/click", self.click, methods=["POST"]),
            Route("/act/submit", self.submit, methods=["POST"]),
            Route("/act/close", self.close, methods=["POST"]),
        ]

    async def click(self, request: Request) -> Response:
        asked = await request.json()
        message = self._store.messages.get(asked["message"])
        element = find_element(message.blocks, asked["block_id"], asked["action_id"]) if message else None
        if message is None or element is None:
            return _told("This button is gone: the message has changed.", 404)
        user = self._user(asked.get("user", ""))
        payload = block_action(message, user, asked["block_id"], element, asked.get("chosen"))
        payload["actions"][0]["action_ts"] = f"{self._clock.now().timestamp():.6f}"
        return await self._send(payload, user)

    async def submit(self, request: Request) -> Response:
        asked = await request.json()
        shown = self._store.views.get(asked["view"])
        if shown is None:
            return _told("This window is gone.", 404)
        user = self._user(shown.user)
        answer = await self._send(view_submission(shown, user, asked["values"]), user)
        then = json.loads(bytes(answer.body))
        if answer.status_code == 200 and then.get("response_action") in ("update", "push"):
            self._store.show(shown.user, then["view"], shown.id)
        elif answer.status_code == 200 and then.get("response_action") != "errors":
            self._forget(shown.id)
        return answer

    async def close(self, request: Request) -> Response:
        asked = await request.json()
        shown = self._store.views.get(asked["view"])
        if shown is None:
            return _told("", 200)
        self._forget(shown.id)
        user = self._user(shown.user)
        return await self._send(view_closed(shown, user), user) if shown.view.get("notify_on_close") else _told("", 200)

    async def _send(self, payload: dict[str, Any], user: User) -> Response:
        if self._alerts is None:
            return _told(NOT_CONNECTED, 409)
        body, headers = signed(
            payload | {"trigger_id": self._methods.trigger(user.id)}, self._alerts.signing_secret, int(self._clock.now().timestamp())
        )
        try:
            answer = await self._alerts.client.post("/slack/interactions", content=body, headers=headers)
        except httpx2.TimeoutException:
            return _told("The app did not answer within 3 seconds.", 504)
        except httpx2.HTTPError as error:
            return _told(f"The app cannot be reached: {type(error).__name__}.", 502)
        if answer.status_code != 200:
            return _told(f"The app answered {answer.status_code}.", 502)
        return JSONResponse(_object(answer.content))

    def _user(self, user_id: str) -> User:
        return self._store.users.get(user_id) or self._store.user("you@example.com")

    def _forget(self, view_id: str) -> None:
        self._store.views.pop(view_id, None)
        self._store.changed()


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _told(message: str, status: int) -> Response:
    return JSONResponse({"message": message}, status)
