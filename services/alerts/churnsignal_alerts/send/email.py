"""Door. SMTP: one message to one recipient, with headers that cannot be broken and an id that is the same at every attempt."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
import structlog
from churnsignal_common.clock import Clock

from churnsignal_alerts.inert import clean
from churnsignal_alerts.outcome import Mark, Outcome, Outgoing, Refused, Retry, Sender, Sent, Unknown
from churnsignal_alerts.render.mail import PICTURE

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Mailer:
    """How to reach the mail relay. `start_tls` None means: when the relay offers it."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: bool
    start_tls: bool | None
    sender: str


def mailer_of(url: str, sender: str) -> Mailer:
    """Return the relay that `smtp://user:password@host:port?starttls=required|never` or `smtps://...` names."""
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("SMTP_URL must look like smtp://user:password@host:587 or smtps://host:465")
    wish = parse_qs(parts.query).get("starttls", [""])[0]
    start_tls = {"required": True, "never": False}.get(wish)
    port = parts.port or (465 if parts.scheme == "smtps" else 587)
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    # A password must not cross the network in the clear because a relay forgot to offer TLS.
    return Mailer(parts.hostname, port, user, password, parts.scheme == "smtps", True if user and start_tls is None else start_tls, sender)


class EmailSender(Sender):
    """One relay. A new connection for each message: alerts are few, and no half-dead connection is ever reused.

    Mail cannot be asked for; the same Message-ID lets the reader's program fold the copies.
    """

    # Mail cannot be asked for, so a kill may repeat no more than one.
    at_once = 1

    def __init__(self, mailer: Mailer, clock: Clock, timeout_s: float) -> None:
        self._mailer, self._clock, self._timeout_s = mailer, clock, timeout_s

    async def send(self, message: Outgoing, mark: Mark) -> Outcome:
        """Send; everything before the content has been handed over is a safe retry, silence after it is unknown."""
        try:
            built = letter(message, self._mailer.sender, self._clock.now())
        except ValueError as error:
            return Refused(f"not one e-mail address: {type(error).__name__}")
        client = aiosmtplib.SMTP(
            hostname=self._mailer.host, port=self._mailer.port, username=self._mailer.user, password=self._mailer.password,
            use_tls=self._mailer.tls, start_tls=None if self._mailer.tls else self._mailer.start_tls, timeout=self._timeout_s,
        )  # fmt: skip
        try:
            refused = await self._introduce(client, message.address)
            if refused is not None:
                return refused
            await mark()
            return await self._hand_over(client, built)
        finally:
            client.close()

    async def _introduce(self, client: aiosmtplib.SMTP, address: str) -> Outcome | None:
        try:
            await client.connect()
            await client.mail(self._mailer.sender if "<" not in self._mailer.sender else self._mailer.sender.split("<")[1].rstrip("> "))
            await client.rcpt(address)
        except aiosmtplib.SMTPRecipientRefused as error:
            answer = _answered(error)
            return replace(answer, bounced=True) if isinstance(answer, Refused) else answer
        except aiosmtplib.SMTPResponseException as error:
            # Our own trouble with the relay (login, sender): never the recipient's fault, so never a reason to give the address up.
            return Retry(f"relay answered {error.code}", 60.0)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return Retry(f"cannot reach the mail relay: {type(error).__name__}")
        return None

    async def _hand_over(self, client: aiosmtplib.SMTP, built: EmailMessage) -> Outcome:
        try:
            # All of it within one timeout: the lease counts on that.
            async with asyncio.timeout(self._timeout_s):
                await client.data(built.as_bytes())
        except aiosmtplib.SMTPResponseException as error:
            return _answered(error)
        except (aiosmtplib.SMTPException, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            return Unknown(f"no answer after the content: {type(error).__name__}")
        return Sent(str(built["Message-ID"]))


def letter(message: Outgoing, sender: str, now: datetime) -> EmailMessage:
    """Return the mail; raises ValueError for an address that is not exactly one."""
    assert message.mail is not None
    if not message.address:
        raise ValueError("no address")
    built = EmailMessage()
    built["From"] = sender
    # Address() takes exactly one address: a comma cannot make two of them.
    built["To"] = Address(display_name=clean(message.name, 60), addr_spec=message.address)
    built["Subject"] = clean(message.mail.subject, 150)
    built["Date"] = format_datetime(now)
    built["Message-ID"] = f"<{message.key}@{sender.rpartition('@')[2].strip('> ') or 'localhost'}>"
    if message.thread:
        built["In-Reply-To"] = message.thread
        built["References"] = message.thread
    built["Auto-Submitted"] = "auto-generated"
    built["X-Churnsignal-Episode"] = ", ".join(message.episodes[:20])
    if message.possible_duplicate:
        built["X-Churnsignal-Possible-Duplicate"] = "yes"
    built.set_content(message.mail.text)
    built.add_alternative(message.mail.html, subtype="html")
    if message.mail.picture:
        # Beside the HTML that refers to it: inline, not an attachment to download.
        html = built.get_body(("html",))
        assert isinstance(html, EmailMessage)
        html.add_related(message.mail.picture, "image", "png", cid=f"<{PICTURE}>", disposition="inline", filename="score.png")
    return built


def _answered(error: aiosmtplib.SMTPResponseException) -> Outcome:
    """Return what a reply code means: 4xx later (greylisting asks for minutes), 5xx never."""
    if 400 <= error.code < 500:
        return Retry(f"relay answered {error.code}", 60.0)
    return Refused(f"relay answered {error.code}")
