"""Sockets: large heads and slow or silent clients are cut, ordinary and pipelined ones are served."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from churnsignal_ingest.api.edge import HEAD_BYTES, GuardedProtocol
from churnsignal_ingest.app import allow_connections
from uvicorn.server import ServerState


class Hasty(GuardedProtocol):
    """Patient for a fraction of a second, so that no test waits."""

    read_s = 0.15


async def echo(scope: Any, receive: Any, send: Any) -> None:
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
    body = f"{scope['method']} {size}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


class Recorded(asyncio.Transport):
    """A socket that keeps what it is told to send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


@asynccontextmanager
async def listening() -> AsyncIterator[int]:
    config = uvicorn.Config(echo, lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: Hasty(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.close()
        await asyncio.sleep(0)


async def talk(port: int, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Send pieces and return all that comes back until the server closes, or falls silent for a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
        async with asyncio.timeout(1.0):
            return await reader.read(-1)
    except ConnectionError:
        return b"cut"
    except TimeoutError:
        return b"open"
    finally:
        writer.close()


REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
LAST = REQUEST.replace(b"Host", b"Connection: close\r\nHost")


@pytest.mark.asyncio
@pytest.mark.parametrize("request_", [REQUEST, LAST])
async def test_an_answer_leaves_in_one_piece(request_: bytes) -> None:
    config = uvicorn.Config(echo, lifespan="off", log_config=None, access_log=False)
    config.load()
    protocol, socket = Hasty(config, ServerState(), {}), Recorded()
    protocol.connection_made(socket)
    protocol.data_received(request_)
    await asyncio.sleep(0.01)
    (answer,) = socket.sent
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"POST 3")
    assert socket.closed == (request_ is LAST)
    protocol.transport.close()
    assert socket.sent == [answer]


@pytest.mark.asyncio
@pytest.mark.parametrize("pieces", [(LAST,), (LAST[:20], LAST[20:]), (REQUEST, LAST), (REQUEST + LAST,)])
async def test_requests_in_any_pieces_are_answered(pieces: tuple[bytes, ...]) -> None:
    async with listening() as port:
        answer = await talk(port, *pieces)

        assert answer.count(b"200 OK") == answer.count(b"POST 3") == b"".join(pieces).count(b"POST")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "line", [b"x: " + b"y" * HEAD_BYTES, b"\r\n".join(b"x-%d: " % n + b"y" * 1000 for n in range(HEAD_BYTES // 1000 + 1))]
)
@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
async def test_a_head_over_64_kb_is_refused_whether_or_not_it_ends(line: bytes, end: bytes) -> None:
    async with listening() as port:
        answer = await talk(port, b"GET / HTTP/1.1\r\nHost: x\r\n" + line + end)

        assert b" 200 " not in answer
        assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large") or answer == b"cut"


@pytest.mark.asyncio
async def test_a_large_body_right_behind_its_head_is_no_large_head() -> None:
    async with listening() as port:
        body = b"z" * 200_000
        answer = await talk(port, b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n" + body)

        assert b"POST 200000" in answer


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "pieces",
    [(), (b"POST / HT",), (b"POST / HTTP/1.1\r\n", *[b"x: y\r\n"] * 20), (b"POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\n", *[b"z"] * 20)],
)
async def test_silent_and_dripping_clients_are_cut(pieces: tuple[bytes, ...]) -> None:
    async with listening() as port:
        assert await talk(port, *pieces, pause_s=0.02) in (b"", b"cut")


@pytest.mark.asyncio
async def test_blank_lines_between_two_requests_keep_no_connection() -> None:
    async with listening() as port:
        assert (await talk(port, REQUEST, *[b"\r\n"] * 20, pause_s=0.02)).endswith((b"POST 3", b"cut"))


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.asyncio
@pytest.mark.parametrize("line", [b"x: y\r\n" * 20_000, b"x: " + b"y" * 100_000])
async def test_trailers_without_end_are_cut(line: bytes) -> None:
    async with listening() as port:
        answer = await talk(port, CHUNKED + b"3\r\nabc\r\n0\r\n", line)

        assert b" 200 " not in answer
        assert answer.startswith(b"HTTP/1.1 431") or answer == b"cut"


@pytest.mark.asyncio
async def test_a_body_in_many_chunks_is_no_large_head() -> None:
    async with listening() as port:
        body = (b"3e8\r\n" + b"z" * 1000 + b"\r\n") * 1000
        answer = await talk(port, CHUNKED.replace(b"Transfer", b"Connection: close\r\nTransfer") + body + b"0\r\nx: y\r\n\r\n")

        assert b"POST 1000000" in answer


@pytest.mark.asyncio
@pytest.mark.parametrize("asked", [b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c", b"upgrade: websocket\r\nConnection: upgrade"])
async def test_whoever_would_take_another_protocol_as_well_is_answered_in_this_one(asked: bytes) -> None:
    async with listening() as port:
        request = REQUEST.replace(b"Host: x", b"Host: x\r\n" + asked)

        assert (await talk(port, request, request, LAST)).count(b"POST 3") == 3


@pytest.mark.asyncio
async def test_a_client_between_two_requests_is_left_alone() -> None:
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await reader.readuntil(b"POST 3")
        await asyncio.sleep(3 * Hasty.read_s)  # longer than a request may take
        writer.write(REQUEST)

        assert b"POST 3" in await reader.readuntil(b"POST 3")
        writer.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("bytes_", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"hello\r\n\r\n"])
async def test_what_is_no_http_is_refused_in_json(bytes_: bytes) -> None:
    async with listening() as port:
        answer = await talk(port, bytes_)
        head, _, body = answer.partition(b"\r\n\r\n")

        assert head.startswith(b"HTTP/1.1 400")
        assert json.loads(body)["code"] == "malformed_http"
        assert b"content-length: %d" % len(body) in head


def test_it_takes_as_many_connections_as_the_machine_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        allow_connections()
        raised, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert raised == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))
