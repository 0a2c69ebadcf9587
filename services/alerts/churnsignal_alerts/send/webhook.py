"""Door. Outgoing webhooks after the Standard Webhooks: signed, to the address that was checked, never redirected."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import socket
from collections.abc import Sequence
from ipaddress import ip_address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from churnsignal_common.clock import Clock
from yarl import URL

from churnsignal_alerts.outcome import Mark, Outcome, Outgoing, Refused, Retry, Sender, Sent, Unknown, asked_s
from churnsignal_alerts.places import Allowed, is_allowed_host, refusal_of, refusal_of_url


class NotPublic(OSError):
    """The host's name leads to an address that no webhook may reach."""


class CheckedResolver(AbstractResolver):
    """Hands the connector only addresses that were checked, so that what is connected to is what was checked, whatever DNS says next."""

    def __init__(self, inner: AbstractResolver, allowed: Allowed) -> None:
        self._inner, self._allowed = inner, allowed

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Return the host's addresses; one that is not public spoils all of them."""
        found = await self._inner.resolve(host, port, family)
        if is_allowed_host(host, port, self._allowed):
            return found
        for result in found:
            refusal = refusal_of(ip_address(result["host"].split("%")[0]), self._allowed)
            if refusal:
                raise NotPublic(refusal)
        return found

    async def close(self) -> None:
        await self._inner.close()


def keys_of(secrets: str) -> list[bytes]:
    """Return the keys of a comma-separated list of `whsec_<base64>`, newest first; raises ValueError."""
    found = []
    for secret in (word.strip() for word in secrets.split(",") if word.strip()):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error as error:
            raise ValueError("a webhook secret is written whsec_<base64>") from error
        if not 24 <= len(key) <= 64:
            raise ValueError("a webhook secret has 24 to 64 bytes (openssl rand -base64 32)")
        found.append(key)
    return found


def signature(keys: Sequence[bytes], ident: str, timestamp: int, body: bytes) -> str:
    """Return the header that says who sent it: one signature for each key, so that keys can be rotated."""
    signed = f"{ident}.{timestamp}.".encode() + body
    return " ".join("v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)


class WebhookSender(Sender):
    """Posts to any receiver. Whatever is not a 2xx is tried again; a receiver knows a repetition by its `webhook-id`."""

    at_once = 8

    def __init__(self, keys: Sequence[bytes], allowed: Allowed, resolver: AbstractResolver, clock: Clock, timeout_s: float) -> None:
        self._keys, self._allowed, self._clock, self._resolver = keys, allowed, clock, resolver
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def send(self, message: Outgoing, mark: Mark) -> Outcome:
        """Post once."""
        assert message.webhook is not None
        try:
            url = URL(message.address)
        except ValueError:
            return Refused("not an address")
        refusal = refusal_of_url(url, self._allowed)
        if refusal:
            return Refused(refusal)
        await mark()
        timestamp = int(self._clock.now().timestamp())
        headers = {
            "Content-Type": "application/json", "User-Agent": "Churnsignal", "webhook-id": message.key, "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._keys, message.key, timestamp, message.webhook),
        }  # fmt: skip
        # A connection of its own each time: none is reused that was made before the name's addresses changed.
        connector = aiohttp.TCPConnector(resolver=CheckedResolver(self._resolver, self._allowed), use_dns_cache=False, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False) as session:
            return await _post(session, url, message.webhook, headers, message.key)


async def _post(session: aiohttp.ClientSession, url: URL, body: bytes, headers: dict[str, str], ref: str) -> Outcome:
    try:
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            return meaning(answer.status, dict(answer.headers), ref)
    except aiohttp.InvalidURL:
        return Refused("not an address")
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, NotPublic):
            return Refused(str(error.os_error))
        return Retry(f"cannot connect: {type(error).__name__}")
    except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
        return Unknown(f"no answer: {type(error).__name__}")


def meaning(status: int, headers: dict[str, str], ref: str) -> Outcome:
    """Return what a receiver's answer means: 410 ends it, a redirect is not followed, everything else but 2xx is asked again."""
    if 200 <= status < 300:
        return Sent(ref)
    if status == 410:
        return Refused("gone (410)")
    if 300 <= status < 400:
        return Refused(f"redirects ({status}) are not followed")
    return Retry(f"status {status}", asked_s(headers))
