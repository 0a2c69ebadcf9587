"""Root. What every service's HTTP side shares: probes, metrics, problem+json errors, bearer tokens, and serving until told to stop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Annotated, Any

import h11
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from churnsignal_common.postgres.failures import NO_CONNECTION_FREE, STORE_ERRORS
from churnsignal_common.runtime.health import Readiness
from churnsignal_common.runtime.paging import BadCursor, decode_cursor
from churnsignal_common.runtime.tasks import Stop
from churnsignal_common.runtime.tokens import Caller, Role, Tokens

GRACE_S = 10
# The largest that anybody means to send: a list of 10,000 suppressions.
BODY_BYTES = 8 * 1024 * 1024
# From the connection, or from a request's first byte, to the request's last byte.
READ_S = 30.0
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=500)]
_GOODBYE = (b"connection", b"close")
_bearer = HTTPBearer(auto_error=False, description="A token from CHURNSIGNAL_TOKENS_FILE")


class Strict(BaseModel):
    """What a caller sends: a field that we do not know is a typing error, not something to pass over."""

    model_config = ConfigDict(extra="forbid")


def problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an RFC 9457 problem. `detail` says what to do."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def places(errors: Iterable[Mapping[str, Any]]) -> str:
    """Return what pydantic found wrong, and where, in one line."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}".removeprefix(": ") for e in errors)


def may(role: Role, tokens: Tokens) -> Callable[..., Caller]:
    """Return a dependency that lets callers with at least `role` in, and answers 401 or 403 to others."""

    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Caller:
        caller = tokens.caller(given.credentials) if given else None
        if caller is None:
            raise HTTPException(
                401, "send `Authorization: Bearer <token>` with a token from the tokens file", {"WWW-Authenticate": "Bearer"}
            )
        if caller.role < role:
            raise HTTPException(403, f"this needs the role {role.name.lower()}; {caller.name} has {caller.role.name.lower()}")
        return caller

    return check


def after(cursor: str | None, *kinds: type) -> list[Any] | None:
    """Return the sort key behind which a page begins, None for the first page. Answers 400 to a cursor that is not ours."""
    if not cursor:
        return None
    try:
        key = decode_cursor(cursor, len(kinds))
    except BadCursor as error:
        raise HTTPException(400, str(error)) from error
    if not all(isinstance(part, kind) for part, kind in zip(key, kinds, strict=True)):
        raise HTTPException(400, str(BadCursor()))
    return key


def build_app(service: str, about: str, readiness: Readiness, registry: CollectorRegistry) -> FastAPI:
    """Return a FastAPI application with the paths and errors that all services share."""
    app = FastAPI(
        title=f"churnsignal-{service}",
        description=about,
        version=version(f"churnsignal-{service}"),
        redirect_slashes=False,
        docs_url="/docs",
        redoc_url=None,
        # Where OpenTelemetry is set up, the framework would log what people sent that failed validation.
        telemetry={"logs": False},
    )

    @app.get("/healthz", tags=["probes"], summary="The process is alive")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["probes"], summary="Each dependency, its age and why not")
    async def readyz() -> JSONResponse:
        status, body = readiness.report()
        return JSONResponse(body, status)

    @app.get("/version", tags=["probes"], summary="Which release this is")
    async def which() -> dict[str, str]:
        return {"service": service, "version": app.version}

    answers = CollectorRegistry()
    up = Gauge("churnsignal_dependency_up", "1 while it answers, 0 while it does not, as /readyz says.", ["dependency"], registry=answers)

    @app.get("/metrics", tags=["probes"], summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        for dependency in readiness.dependencies:
            up.labels(dependency.name).set(bool(dependency.ok))
        return Response(generate_latest(registry) + generate_latest(answers), media_type=CONTENT_TYPE_LATEST)

    app.add_middleware(_Bounded)
    _speak_problems(app, readiness)
    return app


class _Bounded:
    """Stop reading a body that is too large, whatever length it declares."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > BODY_BYTES:
                raise HTTPException(413, f"the body is larger than {BODY_BYTES:,} bytes; send less at once", {"Connection": "close"})
            return message

        await self._app(scope, bounded, send)


def _speak_problems(app: FastAPI, readiness: Readiness) -> None:
    @app.exception_handler(StarletteHTTPException)
    async def http_error(_request: Request, error: StarletteHTTPException) -> JSONResponse:
        title, detail = (error.detail, "") if error.status_code in (404, 405) else ("Refused", str(error.detail))
        return problem(error.status_code, title, detail or str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, "Invalid request", places(error.errors()))

    async def away(_request: Request, error: Exception) -> Response:
        if isinstance(error, NO_CONNECTION_FREE):
            return problem(503, "Busy", "all connections to Postgres are in use; send the same request again", {"Retry-After": "2"})
        for dependency in readiness.dependencies:
            if dependency.name == "postgres":
                dependency.down(type(error).__name__)
        detail = f"Postgres does not answer ({type(error).__name__}); send the same request again"
        return problem(503, "Postgres is away", detail, {"Retry-After": "5"})

    for kind in STORE_ERRORS:
        app.add_exception_handler(kind, away)


class _Patient(H11Protocol):
    """Uvicorn's safe parser with the patience that it lacks: whoever sends a request too slowly, or none, is not waited for."""

    _since: float | None = None
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn itself narrows it
        super().connection_made(transport)
        self._since = self.loop.time()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._since is None:
            self._since = self.loop.time()
        super().data_received(data)
        their = self.conn.their_state
        if their is not h11.SEND_BODY and not (their is h11.IDLE and self.conn.trailing_data[0]):
            self._since = None

    def _look(self) -> None:
        waited = 0.0 if self._since is None else self.loop.time() - self._since
        if waited >= READ_S:
            self.transport.close()
        else:
            self._watch = self.loop.call_later(READ_S - waited, self._look)


class _Server(uvicorn.Server):
    """Uvicorn under our signals, not its own: the service decides when it drains."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    def say_goodbye(self) -> None:
        """End each connection with its next answer, so that none is idle when we close: a client may be about to use it."""
        # The answers of now, and those after the server has renewed its headers, as it does each second.
        self.config.encoded_headers = [*self.config.encoded_headers, _GOODBYE]
        self.server_state.default_headers = [*self.server_state.default_headers, _GOODBYE]


async def serve_http(app: Any, host: str, port: int, stop: Stop, *, protocol: type[Any] | None = None, notice_s: float = 0) -> None:
    """Serve until `stop`, then finish the requests in flight. `protocol` replaces the safe one.

    For `notice_s` seconds more new requests are taken too, each the last one of its connection: until balancers have seen that we leave.
    """
    config = uvicorn.Config(
        app, host=host, port=port, http=protocol or _Patient, loop="none", lifespan="off", access_log=False, log_config=None, server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S, timeout_keep_alive=75, backlog=2048,
    )  # fmt: skip
    server = _Server(config)

    async def ask_to_stop() -> None:
        await stop.wait()
        if notice_s:
            server.say_goodbye()
            await Stop().wait(notice_s)
        server.should_exit = True

    watcher = asyncio.create_task(ask_to_stop(), name="http-stop")
    try:
        await server.serve()
    except SystemExit as error:
        raise OSError(f"cannot listen on {host}:{port}: is the port taken? Set CHURNSIGNAL_PORT_BASE to move all ports") from error
    finally:
        watcher.cancel()


@contextlib.asynccontextmanager
async def draining(readiness: Readiness, stop: Stop) -> AsyncIterator[None]:
    """Mark the service as started inside, and as draining from `stop` on."""

    async def leave() -> None:
        await stop.wait()
        readiness.draining = True

    readiness.starting = False
    leaving = asyncio.create_task(leave(), name="leave")
    try:
        yield
    finally:
        leaving.cancel()
        readiness.draining = True
