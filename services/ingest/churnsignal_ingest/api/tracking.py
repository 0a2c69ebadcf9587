"""Flow. One request of an SDK: key, body, verdicts, Kafka's ack, answer. Stands in front of FastAPI, which keeps the rest."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs

import msgspec
import structlog
from churnsignal_common.clock import Clock
from churnsignal_common.runtime.attempt import attempt

from churnsignal_ingest.api.body import Body, ClientGone, Receive
from churnsignal_ingest.api.documents import rudder_health, rudder_source_config, segment_settings
from churnsignal_ingest.api.replies import OK, answer, refusal
from churnsignal_ingest.auth.directory import Directory, key_of_basic
from churnsignal_ingest.metrics import Metrics
from churnsignal_ingest.publish.coalescer import Coalescer
from churnsignal_ingest.publish.gate import Gate
from churnsignal_ingest.validate.batches import Parcel, judge_all, open_batch, open_single
from churnsignal_ingest.validate.cloudevents import open_events
from churnsignal_ingest.validate.judge import Judge, Judged
from churnsignal_ingest.validate.reasons import Problem, RequestProblem

log = structlog.get_logger()

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = dict[bytes, bytes]
Acked: TypeAlias = asyncio.Future[bool]
Reply: TypeAlias = tuple[int, bytes, list[tuple[bytes, bytes]]]

_LETTERS = {"b": "batch", "t": "track", "i": "identify", "g": "group", "p": "page", "s": "screen", "a": "alias", "m": "m"}
_NAMES = ("batch", "track", "identify", "group", "page", "screen", "alias", "import", "cloudevents")
# Go's SDK puts the path behind a host's own slash.
_ROUTES: dict[str, str] = {
    f"{root}{spelling}{slash}": name
    for spelling, name in [*((n, n) for n in _NAMES), *_LETTERS.items()]
    for root in ("/v1/", "//v1/")
    for slash in ("", "/")
}
# Where RudderStack's browser SDK sends its beacons; a beacon has no headers of its own, so that its key is in the query.
_ROUTES["/beacon/v1/batch"] = "batch"
# SDK-like paths that we do not serve are refused in the words that SDKs read.
_SDK_PATHS = ("/v1/", "/beacon/", "/pixel/")
_JSON = (b"content-type", b"application/json")
_OK_START = {"type": "http.response.start", "status": 200, "headers": [_JSON, (b"content-length", str(len(OK)).encode())]}
_OK_BODY = {"type": "http.response.body", "body": OK}
_ALLOW_HEADERS = b"access-control-allow-headers"
_PREFLIGHT = [(b"access-control-allow-methods", b"GET, POST, OPTIONS"), (b"access-control-max-age", b"900")]


class Asked(NamedTuple):
    """One request: what it is about, and where its body comes from."""

    route: str
    headers: Headers
    query: bytes
    body: Body
    receive: Receive


@dataclass(frozen=True, slots=True)
class Inside:
    """What the flow calls, in order."""

    gate: Gate
    directory: Directory
    judge: Judge
    coalescer: Coalescer
    clock: Clock
    monotonic: Callable[[], float]
    metrics: Metrics


class Tracking:
    """The ASGI application for the SDK paths; everything else goes to `rest`."""

    def __init__(self, inside: Inside, rest: App) -> None:
        self._in = inside
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = _ROUTES.get(scope["path"]) if scope["type"] == "http" else None
        if route is not None:
            error = await attempt(self._serve(route, scope, receive, send))
            if error is not None:
                await _confess(send, error)
        elif scope["type"] == "http" and _is_document(scope["path"]):
            headers: Headers = dict(scope["headers"])
            await _send(send, await self._document(scope, headers), headers.get(b"origin"))
        elif scope["type"] == "http" and scope["path"].startswith(_SDK_PATHS):
            await _send(send, refusal(RequestProblem(Problem.UNKNOWN_PATH)), dict(scope["headers"]).get(b"origin"))
        else:
            await self._rest(scope, receive, send)

    async def _serve(self, route: str, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        headers: Headers = dict(scope["headers"])
        asked = Asked(route, headers, scope["query_string"], Body(self._in.gate), receive)
        try:
            reply = await self._answer(scope["method"], asked)
        except RequestProblem as problem:
            reply = refusal(problem)
        except ClientGone:
            return
        finally:
            asked.body.done()
        await _send(send, reply, headers.get(b"origin"))
        self._in.metrics.request(route, reply[0], perf_counter() - started)

    async def _answer(self, method: str, asked: Asked) -> Reply:
        if method == "POST":
            return 200, await self._take(asked), []
        if method == "OPTIONS":
            return _preflight(asked.headers)
        raise RequestProblem(Problem.METHOD)

    async def _take(self, asked: Asked) -> bytes:
        """Return the answer's body after the ack, or raise RequestProblem."""
        if asked.route == "m":
            return OK
        inside, headers = self._in, asked.headers
        if b"x-retry-count" in headers:
            self._note_retry(headers[b"x-retry-count"])
        limits = inside.judge.limits
        declared = _declared_size(headers)
        if declared > limits.rudder_batch_bytes:
            raise RequestProblem(Problem.BATCH_TOO_LARGE)
        inside.gate.check(declared)
        source, judged, acked = await self._hand_over(asked)
        if acked is not None and not await acked:
            raise RequestProblem(Problem.KAFKA_AWAY)
        self._count(source, judged)
        return answer(judged)

    async def _hand_over(self, asked: Asked) -> tuple[str, Judged, Acked | None]:
        """Read, authenticate, judge, and give the records to the coalescer. The request's bytes end with this frame, while they are warm."""
        inside, headers, body = self._in, asked.headers, asked.body
        limits = inside.judge.limits
        # A key in the header is judged before its body costs anything; many SDKs have it in the body only.
        grant = await inside.directory.of_header(headers.get(b"authorization", b""))
        raw = await body.read(asked.receive, limits.rudder_batch_bytes)
        plain = body.unpack(raw, headers.get(b"content-encoding", b"").strip().lower(), limits.rudder_batch_bytes)
        parcel = _open(asked.route, plain, headers)
        if grant is None:
            grant = await inside.directory.of_body(parcel.write_key or _key_in_query(asked.query))
        if len(plain) > limits.batch_bytes and not grant.sender.rudder:
            raise RequestProblem(Problem.BATCH_TOO_LARGE)
        wait_s = grant.bucket.take(len(parcel.items), inside.monotonic())
        if wait_s:
            raise RequestProblem(Problem.RATE_LIMITED, wait_s)
        suppressed = inside.directory.suppressed
        judged = judge_all(parcel, grant.sender, inside.clock.now(), inside.judge, suppressed, importing=asked.route == "import")
        acked = inside.coalescer.put(judged.records) if judged.records else None
        judged.records.clear()
        body.done()
        return grant.sender.source, judged, acked

    def _note_retry(self, value: bytes) -> None:
        if value.isdigit() and len(value) < 6:
            self._in.metrics.retries.observe(int(value))

    def _count(self, source: str, judged: Judged) -> None:
        metrics = self._in.metrics
        if judged.accepted:
            metrics.events(source, "accepted", "", judged.accepted)
        if judged.suppressed:
            metrics.events(source, "suppressed", "", judged.suppressed)
        if judged.clamped:
            metrics.clamped.labels(source).inc(judged.clamped)
        if judged.refused:
            for reason, count in Counter(refused.reason for refused in judged.refused).items():
                metrics.events(source, "rejected", reason.value, count)
            log.info("events_rejected", source=source, count=len(judged.refused), first=judged.refused[0].reason.value)

    async def _document(self, scope: Scope, headers: Headers) -> Reply:
        if scope["method"] == "OPTIONS":
            return _preflight(headers)
        path: str = scope["path"]
        try:
            if path.rstrip("/") == "/health":
                return 200, msgspec.json.encode(rudder_health()), []
            if path.startswith("/v1/projects/"):
                key = path.split("/")[3]
                await self._in.directory.look_up(key)
                host = headers.get(b"host", b"").decode("latin-1")
                return 200, msgspec.json.encode(segment_settings(key, host, headers.get(b"x-forwarded-proto", b"").decode("latin-1"))), []
            key = key_of_basic(headers.get(b"authorization", b"")) or _key_in_query(scope["query_string"]) or ""
            grant = await self._in.directory.look_up(key)
            return 200, msgspec.json.encode(rudder_source_config(grant.sender.source, key)), []
        except RequestProblem as problem:
            return refusal(problem)


def _is_document(path: str) -> bool:
    plain = path.rstrip("/")
    return plain in ("/sourceConfig", "/health") or (path.startswith("/v1/projects/") and plain.endswith("/settings"))


def _preflight(headers: Headers) -> Reply:
    """Allow whatever headers the page's SDK wants to send: each release has its own, and no cookie or session of ours hangs on them."""
    asked = headers.get(b"access-control-request-headers")
    return 200, OK, [*_PREFLIGHT, (_ALLOW_HEADERS, asked)] if asked else _PREFLIGHT


def _key_in_query(query: bytes) -> str | None:
    return parse_qs(query.decode("latin-1")).get("writeKey", [None])[0]


def _declared_size(headers: Headers) -> int:
    declared = headers.get(b"content-length", b"0")
    return int(declared[:18]) if declared.isdigit() else 0


def _open(route: str, plain: bytes, headers: Headers) -> Parcel:
    if route in ("batch", "import"):
        return open_batch(plain)
    if route == "cloudevents":
        media = headers.get(b"content-type", b"").decode("latin-1")
        return open_events(plain, media, {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()})
    return open_single(plain, route)


async def _confess(send: Send, error: Exception) -> None:
    """Answer for a mistake of ours in the words that SDKs read; they send the request again."""
    log.error("request_broke", exc_info=error)
    # The answer may have begun; then nothing more can be said.
    with contextlib.suppress(RuntimeError):
        await _send(send, refusal(RequestProblem(Problem.BROKEN)), None)


async def _send(send: Send, reply: Reply, origin: bytes | None) -> None:
    status, body, extra = reply
    if body is OK and origin is None and not extra:
        await send(_OK_START)
        await send(_OK_BODY)
        return
    headers = [_JSON, (b"content-length", str(len(body)).encode()), *extra]
    if origin is not None:
        headers += [
            (b"access-control-allow-origin", origin),
            # A beacon of JSON always asks with credentials; none of ours lie in a browser.
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", b"Retry-After, X-RateLimit-Reset"),
            (b"vary", b"Origin"),
        ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
