"""Door. A request's body: read within limits, decompressed by ourselves, counted while it is in hand."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from churnsignal_ingest.publish.gate import Gate
from churnsignal_ingest.validate.reasons import Problem, RequestProblem

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]

_GZIP_MAGIC = b"\x1f\x8b"


class ClientGone(Exception):
    """The client hung up before its request was whole: nobody is left to answer."""


class Body:
    """One request's bytes, counted in the gate until `done`."""

    __slots__ = ("_gate", "_held", "_turn")
    _turn: asyncio.Timeout

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._held = 0

    def hold(self, size: int) -> None:
        self._gate.check(size)
        self._gate.in_hand += size
        self._held += size

    def done(self) -> None:
        self._gate.in_hand -= self._held
        self._held = 0

    async def read(self, receive: Receive, limit: int) -> bytes:
        """Return the whole body as sent; the gate is asked again for each further piece."""
        message = await receive()
        piece: bytes = message.get("body", b"")
        self.hold(len(piece))
        if not message.get("more_body"):
            if message["type"] == "http.disconnect":
                raise ClientGone
            return _within(piece, limit)
        self._gate.enter(self)
        try:
            async with asyncio.timeout(None) as self._turn:
                return await self._read_on(piece, receive, limit)
        except TimeoutError:
            raise RequestProblem(Problem.BUSY) from None
        finally:
            self._gate.leave(self)

    async def _read_on(self, piece: bytes, receive: Receive, limit: int) -> bytes:
        pieces = [piece]
        size = len(piece)
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            pieces.append(message.get("body", b""))
            self.hold(len(pieces[-1]))
            size += len(pieces[-1])
            if size > limit:
                raise RequestProblem(Problem.BATCH_TOO_LARGE)
            more = message.get("more_body", False)
        return b"".join(pieces)

    def give_up(self) -> None:
        """Let go of the bytes, as others need the room; `read` ends as too busy when it wakes."""
        self.done()
        self._turn.reschedule(0)

    def unpack(self, body: bytes, encoding: bytes, limit: int) -> bytes:
        """Return the body as JSON bytes. gzip is recognised by its first bytes too: no JSON begins with them."""
        if encoding not in (b"", b"identity", b"gzip", b"x-gzip"):
            raise RequestProblem(Problem.UNSUPPORTED_ENCODING)
        if body[:2] != _GZIP_MAGIC:
            if encoding in (b"gzip", b"x-gzip"):
                raise RequestProblem(Problem.BAD_GZIP)
            return body
        plain = gunzip(body, limit)
        self.hold(len(plain))
        return plain


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise RequestProblem(Problem.BATCH_TOO_LARGE)
    return body


def gunzip(body: bytes, limit: int) -> bytes:
    """Return what one whole gzip member holds, never unpacking more than `limit` + 1 bytes."""
    stream = zlib.decompressobj(31)
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error:
        raise RequestProblem(Problem.BAD_GZIP) from None
    if len(plain) > limit:
        raise RequestProblem(Problem.BATCH_TOO_LARGE)
    if not stream.eof or stream.unused_data:
        raise RequestProblem(Problem.BAD_GZIP)
    return plain
