"""Webhooks: where they may go, whom they lead to, how they are signed, and what an answer means."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from churnsignal_alerts.episodes import NoticeKind
from churnsignal_alerts.outcome import Outcome, Outgoing, Refused, Retry, Sent, Unknown
from churnsignal_alerts.places import Allowed, allowed_of, refusal_of, refusal_of_url
from churnsignal_alerts.render.webhook import TYPE, webhook_body
from churnsignal_alerts.send.webhook import CheckedResolver, NotPublic, WebhookSender, keys_of, signature
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.clock import RealClock
from yarl import URL

from tests.support.alerts import NOON, opened

NOTHING = allowed_of([])
KEYS = keys_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1",
    "192.0.0.8", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "fec0::1", "100::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_no_webhook_goes_to_an_address_that_is_not_public(address: str) -> None:
    assert refusal_of(ip_address(address), NOTHING) == "not a public address"


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_public_addresses_are_fine(address: str) -> None:
    assert refusal_of(ip_address(address), NOTHING) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example.com/", "not https"),
        ("https://hooks.example.com:8443/", "not port 443"),
        ("https://hooks.example.com:22/", "not port 443"),
        ("gopher://hooks.example.com/", "not an http(s) address"),
        ("file:///etc/passwd", "not an http(s) address"),
        ("javascript:alert(1)", "not an http(s) address"),
        ("https://user:pass@hooks.example.com/", "an address with a password in it"),
        ("https://127.0.0.1/", "not a public address"),
        ("https://[::1]/", "not a public address"),
        ("https://[64:ff9b::7f00:1]/", "not a public address"),
        ("https://hooks.example.com/x?y#z", None),
    ],
)
def test_an_address_is_refused_for_what_it_says(url: str, why: str | None) -> None:
    assert refusal_of_url(URL(url), NOTHING) == why


def test_what_the_operator_allows_is_reached() -> None:
    allowed = allowed_of(["hooks.internal:8080", "10.1.0.0/16", ""])

    assert refusal_of_url(URL("http://Hooks.internal:8080/x"), allowed) is None
    assert refusal_of_url(URL("http://hooks.internal:8081/x"), allowed) == "not https"
    assert refusal_of(ip_address("10.1.2.3"), allowed) is None
    assert refusal_of(ip_address("10.2.2.3"), allowed) == "not a public address"


@pytest.mark.parametrize("word", ["hooks.internal", "10.1.0.0/99", ":80", "host:port"])
def test_what_cannot_be_allowed_is_said(word: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        allowed_of([word])


@pytest.mark.parametrize("secret", ["whsec_", "whsec_short", "whsec_!!!", "whsec_" + "A" * 200])
def test_a_secret_that_is_none_is_said(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook secret"):
        keys_of(secret)


def test_the_signature_is_that_of_the_standard() -> None:
    ident, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'

    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    expected = hmac.new(key, b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + body, hashlib.sha256).digest()
    assert signature(KEYS, ident, 1614265330, body) == "v1," + base64.b64encode(expected).decode()
    assert len(signature([*KEYS, *KEYS], ident, 1614265330, body).split(" ")) == 2


def test_the_body_tells_machines_what_people_are_told() -> None:
    body = json.loads(webhook_body([(NoticeKind.RISK, opened())], "Acme K.K. is at risk", Locale.EN, NOON))

    assert (body["type"], body["text"], len(body["data"])) == (TYPE, "Acme K.K. is at risk", 1)
    assert body["data"][0]["change"]["account"]["arr"] == 1_200_000
    assert body["data"][0]["reasons"][0] == "Used on 4 days in the last 28 days, usually on 15 days."


class Names(AbstractResolver):
    """A DNS of our own; a list of several answers is given one after the other, as a rebinding server does."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self._names = {name: list(answers) for name, answers in names.items()}
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        self.asked += 1
        answers = self._names.get(host)
        if not answers:
            raise OSError(f"no such name: {host}")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0) for one in answer.split()]

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Receiver:
    """A server of a webhook's receiver, and what it got."""

    port: int = 0
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@asynccontextmanager
async def receiving(**how: object) -> AsyncIterator[Receiver]:
    receiver = Receiver(**how)  # type: ignore[arg-type]  # the fields of a test's own table

    async def take(request: web.Request) -> web.Response:
        receiver.got.append((dict(request.headers), await request.read()))
        await asyncio.sleep(receiver.seconds)
        return web.Response(status=receiver.status, headers=receiver.headers)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def sent(url: str, names: AbstractResolver, allowed: Allowed, timeout_s: float = 5) -> Outcome:
    sender = WebhookSender(KEYS, allowed, names, RealClock(), timeout_s)

    async def marked() -> None:
        """Nobody else has the message."""

    return await sender.send(Outgoing("ep_1.7", url, "Self-serve", ("ep_1",), webhook=b"{}"), marked)


ANSWERS = [
    (200, {}, Sent("ep_1.7")), (204, {}, Sent("ep_1.7")), (301, {"Location": "http://127.0.0.1/"}, Refused("redirects (301) are not followed")),
    (302, {"Location": "http://169.254.169.254/"}, Refused("redirects (302) are not followed")), (400, {}, Retry("status 400")),
    (401, {}, Retry("status 401")), (404, {}, Retry("status 404")), (410, {}, Refused("gone (410)")), (429, {"Retry-After": "30"}, Retry("status 429", 30.0)),
    (429, {}, Retry("status 429")), (429, {"Retry-After": "inf"}, Retry("status 429")), (429, {"Retry-After": "1e300"}, Retry("status 429", 3600.0)),
    (429, {"Retry-After": "-5"}, Retry("status 429", 0.0)), (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, Retry("status 503")), (500, {}, Retry("status 500")),
]  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize(("status", "headers", "expected"), ANSWERS)
async def test_an_answer_means_what_the_standard_says(status: int, headers: dict[str, str], expected: Outcome) -> None:
    async with receiving(status=status, headers=headers) as receiver:
        allowed = allowed_of([f"hooks.internal:{receiver.port}"])

        outcome = await sent(f"http://hooks.internal:{receiver.port}/in", Names({"hooks.internal": ["127.0.0.1"]}), allowed)

    assert outcome == expected
    (got, body), = receiver.got  # fmt: skip
    assert got["webhook-id"] == "ep_1.7"
    assert got["webhook-signature"] == signature(KEYS, "ep_1.7", int(got["webhook-timestamp"]), body)


@pytest.mark.asyncio
async def test_a_receiver_that_takes_it_and_says_nothing_may_have_it() -> None:
    async with receiving(seconds=5) as receiver:
        allowed = allowed_of([f"hooks.internal:{receiver.port}"])

        outcome = await sent(f"http://hooks.internal:{receiver.port}/", Names({"hooks.internal": ["127.0.0.1"]}), allowed, 0.3)

    assert isinstance(outcome, Unknown)
    assert len(receiver.got) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "answer", ["127.0.0.1", "8.8.8.8 127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "64:ff9b::7f00:1", "100.64.0.1"]
)
async def test_a_name_that_leads_to_a_private_address_is_never_connected_to(answer: str) -> None:
    assert await sent("https://evil.example/", Names({"evil.example": [answer]}), NOTHING) == Refused("not a public address")


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost", "127.0.0.1.nip.io"])
async def test_another_spelling_of_an_address_is_a_name_and_its_answer_is_checked(host: str) -> None:
    # What getaddrinfo makes of the old spellings, and what public DNS makes of the last one.
    names = Names({URL(f"https://{host}/").host or host: ["127.0.0.1"]})

    assert await sent(f"https://{host}/", names, NOTHING) in (Refused("not a public address"), Refused("not an address"))


@pytest.mark.asyncio
async def test_a_name_that_is_rebound_after_the_check_is_not_asked_again() -> None:
    async with receiving() as receiver:
        names = Names({"rebind.example": ["127.0.0.1", "10.255.255.1"]})
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(names, allowed_of(["127.0.0.0/8"])), use_dns_cache=False, force_close=True
        )
        async with aiohttp.ClientSession(connector=connector) as session:
            first = await session.post(f"http://rebind.example:{receiver.port}/")
            with pytest.raises(aiohttp.ClientConnectorError) as refused:
                await session.post(f"http://rebind.example:{receiver.port}/")

    # Each connection goes to what was checked for it: one question, one check, one address.
    assert isinstance(refused.value.os_error, NotPublic)
    assert (first.status, names.asked, len(receiver.got)) == (200, 2, 1)
