"""What every service's HTTP side shares."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from churnsignal_common.postgres.failures import NO_CONNECTION_FREE
from churnsignal_common.runtime import http
from churnsignal_common.runtime.health import Dependency, Readiness
from churnsignal_common.runtime.http import build_app, may, serve_http
from churnsignal_common.runtime.tasks import Stop
from churnsignal_common.runtime.tokens import Caller, Role, Tokens, hash_token
from churnsignal_devstack.ports import free_port
from fastapi import Depends, FastAPI, HTTPException, Request
from prometheus_client import CollectorRegistry, Counter

pytestmark = pytest.mark.asyncio


def _client(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app, raise_app_exceptions=False), base_url="http://test")


def _app(readiness: Readiness, tokens: Tokens | None = None) -> FastAPI:
    registry = CollectorRegistry()
    Counter("churnsignal_example", "An example.", registry=registry).inc()
    app = build_app("common", "Test", readiness, registry)

    @app.get("/v1/things/{number}")
    async def thing(number: int, caller: Annotated[Caller, Depends(may(Role.OPERATOR, tokens or Tokens(None)))]) -> dict[str, object]:
        if number == 0:
            raise HTTPException(404, "no such thing")
        return {"number": number, "caller": caller.name}

    return app


async def test_readyz_names_the_dependency_that_is_away_and_why() -> None:
    kafka = Dependency("kafka")
    kafka.down("NodeNotReadyError")

    async with _client(_app(Readiness((kafka,), starting=False))) as http:
        response = await http.get("/readyz")

    assert response.status_code == 503
    assert response.json()["status"] == "degraded: kafka"
    assert response.json()["dependencies"][0]["reason"] == "NodeNotReadyError"


async def test_a_request_that_postgres_does_not_answer_may_come_again_and_is_seen_in_readyz() -> None:
    postgres = Dependency("postgres", ok=True)
    app = _app(Readiness((postgres,), starting=False))

    @app.get("/v1/slow")
    async def slow() -> None:
        raise TimeoutError

    async with _client(app) as client:
        answer, ready = await client.get("/v1/slow"), await client.get("/readyz")

    assert (answer.status_code, answer.headers["Retry-After"], answer.json()["title"]) == (503, "5", "Postgres is away")
    assert ready.json()["status"] == "degraded: postgres"


async def test_a_request_for_which_no_connection_is_free_may_come_again_and_says_nothing_of_postgres() -> None:
    app = _app(Readiness((Dependency("postgres", ok=True),), starting=False))

    @app.get("/v1/crowded")
    async def crowded() -> None:
        raise NO_CONNECTION_FREE

    async with _client(app) as client:
        answer, ready = await client.get("/v1/crowded"), await client.get("/readyz")

    assert (answer.status_code, answer.headers["Retry-After"], answer.json()["title"]) == (503, "2", "Busy")
    assert ready.status_code == 200


@pytest.mark.parametrize(("starting", "draining", "status"), [(False, False, 200), (True, False, 503), (False, True, 503)])
async def test_a_tolerant_service_stays_in_the_balancer_except_while_starting_or_draining(
    starting: bool, draining: bool, status: int
) -> None:
    kafka = Dependency("kafka")
    kafka.down("away")

    async with _client(_app(Readiness((kafka,), tolerant=True, starting=starting, draining=draining))) as http:
        assert (await http.get("/readyz")).status_code == status


async def test_a_dependency_that_answers_makes_the_service_ready() -> None:
    kafka = Dependency("kafka")
    kafka.up()

    async with _client(_app(Readiness((kafka,), starting=False))) as http:
        assert (await http.get("/readyz")).json()["status"] == "ready"


async def test_metrics_come_from_the_registry_given_and_say_what_answers() -> None:
    async with _client(_app(Readiness((Dependency("kafka", ok=True), Dependency("postgres"))))) as http:
        told = (await http.get("/metrics")).text

    assert "churnsignal_example_total 1.0" in told
    assert re.findall(r"^churnsignal_dependency_up.*", told, re.MULTILINE) == [
        'churnsignal_dependency_up{dependency="kafka"} 1.0',
        'churnsignal_dependency_up{dependency="postgres"} 0.0',
    ]


async def test_errors_are_problems_that_say_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text("".join(f'[{name}]\nrole = "{name}"\nsha256 = "{hash_token(name)}"\n' for name in ("operator", "reader")))
    expected = {
        (None, "1"): 401,
        ("stranger", "1"): 401,
        ("reader", "1"): 403,
        ("operator", "x"): 422,
        ("operator", "0"): 404,
        ("operator", "1"): 200,
    }

    seen = {}
    async with _client(_app(Readiness(()), Tokens(path))) as http:
        for token, number in expected:
            response = await http.get(f"/v1/things/{number}", headers={"Authorization": f"Bearer {token}"} if token else {})
            seen[token, number] = response.status_code
            if response.status_code != 200:
                assert response.headers["content-type"] == "application/problem+json"
                assert response.json()["detail"] and response.json()["status"] == response.status_code

    assert seen == expected


async def test_an_unknown_path_is_a_problem_too_and_never_a_redirect() -> None:
    async with _client(_app(Readiness(()))) as http:
        response = await http.get("/healthz/")

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


class _Slow:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        self.asked.set()
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


async def test_after_notice_new_requests_are_taken_and_each_is_its_connections_last() -> None:
    stop, app, port = Stop(), _Slow(), free_port()
    app.go.set()
    serving = asyncio.create_task(serve_http(app, "127.0.0.1", port, stop, notice_s=0.5))
    await _listening(port)

    before = await _ask(port)
    stop.set()
    await asyncio.sleep(0)  # let the server hear of it
    after = await _ask(port)
    await serving

    assert (b"connection: close" in before.lower(), b"connection: close" in after.lower()) == (False, True)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_request_that_was_begun_is_answered_after_stop() -> None:
    stop, app, port = Stop(), _Slow(), free_port()
    serving = asyncio.create_task(serve_http(app, "127.0.0.1", port, stop))
    await _listening(port)

    begun = asyncio.create_task(_ask(port))
    await app.asked.wait()
    stop.set()
    app.go.set()
    await serving

    assert (await begun).startswith(b"HTTP/1.1 200")


async def _listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)  # the server is another task
            else:
                writer.close()
                return


async def _ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    try:
        return await reader.readuntil(b"ok")
    finally:
        writer.close()


async def _size(request: Request) -> int:
    return len(await request.body())


async def test_a_body_beyond_the_limit_is_refused_before_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_BYTES", 1000)
    app, sent = _app(Readiness(())), 0
    app.post("/v1/raw")(_size)

    @app.post("/v1/checked")
    async def checked(body: dict[str, str]) -> int:
        return len(body)

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 1_000_000:
            sent += 100
            yield b"x" * 100

    async with _client(app) as client:
        answers = [await client.post(path, content=endless()) for path in ("/v1/raw", "/v1/checked")]
        fits = await client.post("/v1/raw", content=b"x" * 1000)

    assert [(answer.status_code, answer.headers["Content-Type"]) for answer in answers] == [(413, "application/problem+json")] * 2
    assert answers[0].json()["detail"] == "the body is larger than 1,000 bytes; send less at once"
    assert (fits.status_code, fits.json()) == (200, 1000)


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ([], b""),
        ([b"POST / HTTP/1.1\r\nHost: x\r\n"], b""),
        ([b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na"], b""),
        ([b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Y: z", b"\r\n\r\n"], b"HTTP/1.1 200 OK"),
    ],
)
async def test_who_sends_a_request_too_slowly_is_cut_and_who_waits_for_the_next_one_is_not(
    monkeypatch: pytest.MonkeyPatch, pieces: list[bytes], answer: bytes
) -> None:
    monkeypatch.setattr(http, "READ_S", 0.2)
    stop, port, app = Stop(), free_port(), _app(Readiness(()))
    app.post("/")(_size)
    serving = asyncio.create_task(serve_http(app, "127.0.0.1", port, stop))
    reader, writer = await _connected(port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)

    if answer:
        assert (await reader.read(1000)).startswith(answer)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.5)
    else:
        assert await asyncio.wait_for(reader.read(), 2) == answer

    writer.close()
    stop.set()
    await serving
