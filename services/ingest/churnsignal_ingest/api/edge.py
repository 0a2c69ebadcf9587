"""Door. The sockets: uvicorn's fast HTTP parser with the limits it lacks, on header bytes and on slow or silent clients."""

import asyncio
import re
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from churnsignal_ingest.api.replies import refusal
from churnsignal_ingest.validate.reasons import Problem, RequestProblem

HEAD_BYTES = 64 * 1024
# From the connection, or from a request's first byte, to the request's last byte.
READ_S = 10.0
_UPGRADE = re.compile(rb"\r\n(?=upgrade:)", re.IGNORECASE)


def _refused(problem: Problem) -> bytes:
    """Return a whole answer to what never became a request."""
    status, body, _ = refusal(RequestProblem(problem))
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


_TOO_LARGE = _refused(Problem.HEADERS_TOO_LARGE)
_MALFORMED = _refused(Problem.MALFORMED_HTTP)


class _Together(asyncio.Transport):
    """The socket, to which an answer's head and body leave in one write: each write costs a system call and wakes the client."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._inner = inner
        self._loop = loop
        self._held = b""
        self.is_closing, self.pause_reading, self.resume_reading = inner.is_closing, inner.pause_reading, inner.resume_reading  # type: ignore[method-assign] # no layer for what only passes on
        self.get_extra_info, self.set_protocol = inner.get_extra_info, inner.set_protocol  # type: ignore[method-assign]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._held:
            self._held += data
        else:
            self._held = bytes(data)
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        self._flush()
        self._inner.close()

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and not self._inner.is_closing():
            self._inner.write(held)


class GuardedProtocol(HttpToolsProtocol):
    """One timer per connection, none per request: every few seconds it looks whether a request has been coming in for too long."""

    read_s = READ_S
    _reading_since: float | None = None
    _head_bytes = 0
    _piece = 0
    _between = True
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn itself narrows it
        super().connection_made(_Together(transport, self.loop))
        self._reading_since = self.loop.time()
        self._watch = self.loop.call_later(self.read_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        since = self._reading_since
        now = self.loop.time()
        if since is not None and now - since >= self.read_s:
            self.transport.close()
            return
        due = self.read_s if since is None else self.read_s - (now - since)
        self._watch = self.loop.call_later(due, self._look)

    def data_received(self, data: bytes) -> None:
        if self._between:
            # The parser leaves out the body of whoever would take HTTP/2 as well, such as Java's client; nobody gets another protocol here.
            if data.find(b"pgrade:", 0, data.find(b"\r\n\r\n")) > 0:
                data = _UPGRADE.sub(b"\r\nx-", data)
            # Blank lines begin no request, and would else keep a connection for ever.
            if self._reading_since is None:
                self._reading_since = self.loop.time()
        self._piece = len(data)
        super().data_received(data)
        self._head_bytes += self._piece
        if self._head_bytes > HEAD_BYTES and not self._between:
            self._refuse_head()

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def send_400_response(self, _msg: str) -> None:
        """Refuse in JSON what the parser cannot read: SDKs send a batch again whose refusal they cannot read."""
        self.transport.write(_MALFORMED)
        self.transport.close()

    def on_message_begin(self) -> None:
        self._between = False
        self._head_bytes = 0
        if self._reading_since is None:
            self._reading_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        # Small pieces cannot hold large headers; only for others is it worth adding up.
        if self._head_bytes + self._piece > HEAD_BYTES and sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES:
            self._refuse_head()
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        # What is left is head, trailers, and the sizes of chunks; the parser has no limit on any of them.
        self._piece -= len(body)
        HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        self._between = True
        self._reading_since = None
        super().on_message_complete()
