"""Door. An HTTP proxy that treats the first requests badly, each in the same way: what networks and servers do to SDKs on a bad day."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

# Longer than the SDKs that we can tell how long to wait.
SLOW_S = 4.0
_LARGEST = 8 * 1024 * 1024


class Fault(StrEnum):
    """What happens to the first requests. All others go through."""

    NONE = "healthy"
    REPLY_LOST = "reply lost"
    BUSY = "429 first"
    AWAY = "503 first"
    CUT = "cut off"
    SLOW = "slow"


MEANINGS = {
    Fault.NONE: "every request goes through",
    Fault.REPLY_LOST: "the server takes the first two requests, and the connection ends before the client hears of it",
    Fault.BUSY: "the first two requests are answered 429 with `Retry-After: 1`",
    Fault.AWAY: "the first two requests are answered 503 with `Retry-After: 1`",
    Fault.CUT: "the connection ends while the first two requests are half sent",
    Fault.SLOW: f"the answers to the first two requests come after {SLOW_S:.0f} s; Python clients give up after 2 s",
}
_STATUS = {Fault.BUSY: b"429 Too Many Requests", Fault.AWAY: b"503 Service Unavailable"}


class _Request(NamedTuple):
    method: bytes
    head: bytes
    body: bytes
    origin: bytes


@dataclass(slots=True)
class FaultProxy:
    """Passes requests on to `port`; the first `times` with a body get `fault`. Counts what it did, so that a test sees that it did it."""

    port: int
    fault: Fault
    times: int = 2
    posts: int = 0
    fired: int = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Yield the URL to send to."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LARGEST)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._handle(await _read(reader), writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone, as clients do
        finally:
            writer.close()

    async def _handle(self, request: _Request, writer: asyncio.StreamWriter) -> bool:
        """Return whether the connection lives on."""
        fault = self._next(request.method)
        match fault:
            case Fault.BUSY | Fault.AWAY:
                writer.write(_refusal(fault, request.origin))
            case Fault.CUT:
                await self._pass_half(request)
                writer.transport.abort()
            case Fault.REPLY_LOST:
                await self._pass(request)
                writer.transport.abort()
            case Fault.SLOW:
                reply = await self._pass(request)
                await asyncio.sleep(SLOW_S)  # the slow network itself
                writer.write(reply)
            case Fault.NONE:
                writer.write(await self._pass(request))
        return fault not in (Fault.CUT, Fault.REPLY_LOST)

    def _next(self, method: bytes) -> Fault:
        if method != b"POST":
            return Fault.NONE
        self.posts += 1
        if self.fault is Fault.NONE or self.fired >= self.times:
            return Fault.NONE
        self.fired += 1
        return self.fault

    async def _pass(self, request: _Request) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=_LARGEST)
        try:
            writer.write(request.head + request.body)
            reply = await _read(reader)
            return reply.head + reply.body
        finally:
            writer.close()

    async def _pass_half(self, request: _Request) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request.head + request.body[: len(request.body) // 2])
        await writer.drain()
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> _Request:
    """Read one message, request or reply, whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    body = await _chunks(reader) if headers.get(b"transfer-encoding") == b"chunked" else b""
    body += await reader.readexactly(int(headers.get(b"content-length", b"0")))
    return _Request(lines[0].split(b" ")[0], head, body, headers.get(b"origin", b""))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        piece = await reader.readexactly(int(line, 16) + 2)
        body += line + piece
        if piece == b"\r\n":
            return body


def _refusal(fault: Fault, origin: bytes) -> bytes:
    body = b'{"success":false,"code":"busy","message":"Send it again later.","error":"Send it again later."}'
    cors = b"access-control-allow-origin: %b\r\naccess-control-expose-headers: Retry-After\r\n" % origin if origin else b""
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nretry-after: 1\r\n%bcontent-length: %d\r\n\r\n" % (
        _STATUS[fault],
        cors,
        len(body),
    )
    return head + body
