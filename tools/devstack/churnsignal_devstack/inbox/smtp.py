# aiosmtpd calls its hooks by these names and with these arguments, used or not.
# ruff: noqa: N802, ARG002
"""Door. The mail server: takes every e-mail it is given, except on the bad days it was told to have."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import AnyStr, assert_never

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from churnsignal_devstack.inbox.faults import Fault, FaultKind, Faults
from churnsignal_devstack.inbox.mail import read_letter
from churnsignal_devstack.inbox.store import Store

MAX_MAIL = 10 << 20
ENHANCED = {
    421: "4.3.2 Service not available",
    450: "4.2.1 Mailbox busy",
    451: "4.7.1 Greylisted, try again later",
    550: "5.1.1 User unknown",
}

logging.getLogger("mail.log").setLevel(logging.ERROR)


class InboxSmtp(SMTP):
    """aiosmtpd's protocol with the faults that its hooks do not reach: the greeting, STARTTLS, and closing after 421."""

    def __init__(self, handler: "Mailbox", faults: Faults) -> None:
        super().__init__(
            handler, data_size_limit=MAX_MAIL, enable_SMTPUTF8=True, hostname="inbox.churnsignal.local", ident="Churnsignal inbox",
            auth_require_tls=False, authenticator=handler.let_in,
        )  # fmt: skip
        self._faults = faults

    async def _handle_client(self) -> None:
        refusal = await meet(self, self._faults.strike("smtp.connect"))
        if refusal is None:
            await super()._handle_client()
        else:
            await self.push(refusal)
            self.abort()

    async def push(self, status: AnyStr) -> None:
        await super().push(status)
        # 421 promises that the server hangs up.
        if status[:3] in ("421", b"421"):
            self.abort()

    async def smtp_STARTTLS(self, _: str | None) -> None:
        """TLS is offered only when it is going to fail: there is no certificate that a client would trust."""
        fault = self._faults.strike("smtp.starttls")
        refusal = await meet(self, fault)
        if refusal is not None or fault is None:
            await self.push(refusal or "454 4.7.0 TLS not available")
            return
        await self.push("220 2.0.0 Ready to start TLS")
        self.abort()

    def abort(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()


class Mailbox:
    """The hooks of aiosmtpd: each asks first whether today is a bad day."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store, self._faults = store, faults

    async def handle_EHLO(self, server: InboxSmtp, session: Session, envelope: Envelope, hostname: str, responses: list[str]) -> list[str]:
        session.host_name = hostname
        refusal = await meet(server, self._faults.strike("smtp.ehlo"))
        if refusal is not None:
            return [refusal]
        return [*responses[:-1], "250-STARTTLS", responses[-1]] if self._faults.planned("smtp.starttls") else responses

    def let_in(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: object) -> AuthResult:
        """Any name and password will do, unless logging in is what fails today."""
        good = self._faults.strike("smtp.auth") is None
        return AuthResult(success=good and isinstance(auth_data, LoginPassword), handled=False, auth_data=auth_data)

    async def handle_MAIL(self, server: InboxSmtp, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        refusal = await meet(server, self._faults.strike("smtp.mail", address))
        if refusal is None:
            envelope.mail_from = address
        return refusal or "250 2.1.0 OK"

    async def handle_RCPT(self, server: InboxSmtp, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        refusal = await meet(server, self._faults.strike("smtp.rcpt", address))
        if refusal is None:
            envelope.rcpt_tos.append(address)
        return refusal or "250 2.1.5 OK"

    async def handle_DATA(self, server: InboxSmtp, session: Session, envelope: Envelope) -> str:
        fault = self._faults.strike("smtp.data", " ".join(envelope.rcpt_tos))
        accepted = fault is None or fault.kind in (FaultKind.SLOW, FaultKind.HANG_AFTER, FaultKind.CUT_AFTER)
        content = envelope.content
        if accepted and isinstance(content, bytes):
            self._store.deliver(read_letter(content), envelope.mail_from or "", envelope.rcpt_tos, len(content) * 2)
        refusal = await meet(server, fault)
        return refusal or "250 2.0.0 OK: queued"


async def meet(server: InboxSmtp, fault: Fault | None) -> str | None:
    """Live through a fault; return the reply that refuses, or None to go on."""
    if fault is None:
        return None
    match fault.kind:
        case FaultKind.STATUS | FaultKind.ERROR:
            return f"{fault.status} {ENHANCED.get(fault.status, '4.0.0 ' + fault.error)}"
        case FaultKind.SLOW:
            await asyncio.sleep(fault.seconds)
        case FaultKind.HANG | FaultKind.HANG_AFTER:
            await asyncio.sleep(fault.seconds)
            server.abort()
        case FaultKind.CUT | FaultKind.CUT_AFTER:
            server.abort()
        case _:
            assert_never(fault.kind)
    return None


@asynccontextmanager
async def serve_smtp(store: Store, faults: Faults, host: str, port: int) -> AsyncIterator[int]:
    """Listen for mail; yields the port. Open conversations end with the server."""
    mailbox, loop = Mailbox(store, faults), asyncio.get_running_loop()
    server = await loop.create_server(lambda: InboxSmtp(mailbox, faults), host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
