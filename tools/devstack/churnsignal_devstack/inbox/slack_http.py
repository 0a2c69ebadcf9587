"""Door. Slack's Web API over HTTP: reads JSON and form bodies, wants a token, and has the bad days it was told to have."""

import asyncio
import json
from collections.abc import Callable
from typing import assert_never, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from churnsignal_devstack.inbox.faults import Fault, FaultKind, Faults
from churnsignal_devstack.inbox.limits import Json
from churnsignal_devstack.inbox.shapes import Answer, Args
from churnsignal_devstack.inbox.slack_methods import SlackMethods, refused
from churnsignal_devstack.inbox.store import Store

# In a form these hold JSON.
NESTED = ("blocks", "metadata", "view", "attachments")
BROKEN = {"blocks": "invalid_blocks_format", "metadata": "invalid_metadata_format"}
# Which arguments a fault's `match` is looked for in.
SUBJECTS = ("channel", "channel_id", "users", "user", "email")

Cut = Callable[[Request], None]


class SlackHttp:
    """One route for all methods."""

    def __init__(self, store: Store, methods: SlackMethods, faults: Faults, cut: Cut) -> None:
        self._store, self._methods, self._faults, self._cut = store, methods, faults, cut

    def routes(self) -> list[Route]:
        return [Route("/slack/api/{method}", self.call, methods=["GET", "POST"])]

    async def call(self, request: Request) -> Response:
        method = request.path_params["method"]
        args = await read_args(request)
        fault = self._faults.strike(f"slack.{method}", self._subject(args) if args is not None else "")

        def answer() -> Answer:
            return self._answer(method, request, args)

        return JSONResponse(answer()) if fault is None else await self._bad_day(fault, request, answer)

    def _answer(self, method: str, request: Request, args: Args | None) -> Answer:
        if args is None:
            return refused("invalid_json" if "json" in request.headers.get("content-type", "") else "invalid_form_data")
        problem = _unauthorised(request, args)
        if problem is not None:
            return problem
        broken = [name for name in NESTED if isinstance(args.get(name), str)]
        if broken:
            return refused(BROKEN.get(broken[0], "invalid_arguments"))
        known = self._methods.table.get(method)
        return refused("unknown_method") if known is None else known(args)

    def _subject(self, args: Args) -> str:
        words = [str(args[name]) for name in SUBJECTS if name in args]
        channel = self._store.channel(words[0]) if words else None
        if channel is not None:
            words += [channel.id, f"#{channel.name}", channel.user.email if channel.user else ""]
        return " ".join(words)

    async def _bad_day(self, fault: Fault, request: Request, answer: Callable[[], Answer]) -> Response:
        match fault.kind:
            case FaultKind.STATUS:
                headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                return JSONResponse(refused("ratelimited" if fault.status == 429 else "internal_error"), fault.status, headers)
            case FaultKind.ERROR:
                return JSONResponse(refused(fault.error))
            case FaultKind.SLOW:
                await asyncio.sleep(fault.seconds)
                return JSONResponse(answer())
            case FaultKind.HANG:
                await asyncio.sleep(fault.seconds)
            case FaultKind.HANG_AFTER:
                answer()
                await asyncio.sleep(fault.seconds)
            case FaultKind.CUT:
                pass
            case FaultKind.CUT_AFTER:
                answer()
            case _:
                assert_never(fault.kind)
        self._cut(request)
        # Nobody reads this: the connection is gone.
        return Response(status_code=503)


async def read_args(request: Request) -> Args | None:
    """Return the arguments of a call from its query and its body; None if the body is not what it says it is."""
    args: Args = dict(request.query_params)
    body = await request.body()
    try:
        if "json" in request.headers.get("content-type", ""):
            # Only objects are arguments; Slack, too, refuses the rest.
            return {**args, **cast("Args", json.loads(body or b"{}"))}
        form = await request.form()
        args |= {name: value for name, value in form.items() if isinstance(value, str)}
        return args | {name: _nested(args[name]) for name in NESTED if name in args}
    except (ValueError, TypeError, RecursionError):
        return None


def _nested(value: Json) -> Json:
    """Return the JSON inside a form field, or the field as it is: the method refuses it by its own name."""
    try:
        return cast("Json", json.loads(str(value)))
    except ValueError:
        return value


def _unauthorised(request: Request, args: Args) -> Answer | None:
    token = request.headers.get("authorization", "").removeprefix("Bearer ").strip() or str(args.pop("token", ""))
    if not token:
        return refused("not_authed")
    return None if token.startswith("xoxb-") else refused("invalid_auth")
