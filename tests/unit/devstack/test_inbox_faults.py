"""Each bad day on demand, as the client of Slack or of the mail server meets it."""

import asyncio
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import httpx2
import pytest

from tests.support.inbox import Inbox, listening_inbox, open_inbox


def letter(to: str = "anna@example.com") -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "alerts@example.com", to, "Red"
    mail.set_content("Northwind turned red.")
    return mail


async def send(inbox: Inbox, to: str = "anna@example.com", **rest: Any) -> None:
    await aiosmtplib.send(letter(to), hostname="127.0.0.1", port=inbox.smtp_port, **{"timeout": 5, **rest})


@pytest.mark.parametrize(
    ("rule", "status", "retry_after", "error"),
    [
        ({"status": 429, "retry_after": 30}, 429, "30", "ratelimited"),
        ({"status": 500}, 500, None, "internal_error"),
        ({"status": 503}, 503, None, "internal_error"),
    ],
)
@pytest.mark.asyncio
async def test_slack_answers_with_the_status_it_was_told(rule: dict[str, Any], status: int, retry_after: str | None, error: str) -> None:
    async with open_inbox() as inbox:
        inbox.fail("chat.postMessage", "status", **rule)
        answer = await inbox.http.post("/slack/api/chat.postMessage", json={"channel": "#cs", "text": "x"})

    assert (answer.status_code, answer.headers.get("Retry-After"), answer.json()["error"]) == (status, retry_after, error)
    assert inbox.kept == []


@pytest.mark.parametrize("error", ["is_archived", "channel_not_found", "token_revoked", "account_inactive"])
@pytest.mark.asyncio
async def test_slack_refuses_with_the_error_it_was_told(error: str) -> None:
    async with open_inbox() as inbox:
        inbox.fail("chat.*", "error", error=error)
        answer = await inbox.post(text="x")

    assert answer == {"ok": False, "error": error}
    assert inbox.kept == []


@pytest.mark.asyncio
async def test_a_fault_strikes_as_often_as_it_was_told_and_only_its_channel() -> None:
    async with open_inbox() as inbox:
        inbox.fail("chat.postMessage", "error", error="is_archived", match="#old", count=2)
        other = await inbox.post(text="x", channel="#new")
        old = [await inbox.post(text="x", channel="#old") for _ in range(3)]
        [rule] = (await inbox.http.get("/api/faults")).json()

    assert other["ok"]
    assert [answer["ok"] for answer in old] == [False, False, True]
    assert rule["struck"] == 2


@pytest.mark.asyncio
async def test_faults_come_and_go_over_http_and_wrong_ones_are_explained() -> None:
    async with open_inbox() as inbox:
        added = await inbox.http.post("/api/faults", json=[{"on": "slack.*", "kind": "error", "error": "fatal_error"}])
        wrong = await inbox.http.post("/api/faults", json=[{"on": "slack.*", "kind": "sulk"}])
        typo = await inbox.http.post("/api/faults", json=[{"on": "slack.*", "kind": "slow", "second": 1}])
        struck = await inbox.post(text="x")
        await inbox.http.delete("/api/faults")
        fine = await inbox.post(text="x")

    assert [rule["on"] for rule in added.json()] == ["slack.*"]
    assert (wrong.status_code, typo.status_code) == (400, 400)
    assert "sulk" in wrong.json()["message"]
    assert "second" in typo.json()["message"]
    assert struck["error"] == "fatal_error"
    assert fine["ok"]


@pytest.mark.asyncio
async def test_there_is_an_end_to_the_number_of_rules() -> None:
    async with open_inbox() as inbox:
        fits = await inbox.http.post("/api/faults", json=[{"on": "x", "kind": "cut"}] * 100)
        over = await inbox.http.post("/api/faults", json=[{"on": "x", "kind": "cut"}])

    assert (fits.status_code, over.status_code) == (200, 400)


@pytest.mark.parametrize(("kind", "kept"), [("cut", 0), ("cut_after", 1), ("hang", 0), ("hang_after", 1)])
@pytest.mark.asyncio
async def test_slack_cuts_the_connection_before_or_after_it_accepted(kind: str, kept: int) -> None:
    async with listening_inbox() as inbox:
        inbox.fail("chat.postMessage", kind, seconds=0.05)
        with pytest.raises(httpx2.TransportError):
            await inbox.post(text="x")

    assert len(inbox.kept) == kept


@pytest.mark.asyncio
async def test_a_client_that_waits_too_little_cannot_know_that_slack_accepted() -> None:
    async with listening_inbox() as inbox:
        inbox.fail("chat.postMessage", "hang_after", seconds=5)
        with pytest.raises(httpx2.ReadTimeout):
            await inbox.http.post(
                "/slack/api/chat.postMessage", json={"channel": "#cs", "text": "x"}, headers={"Authorization": "Bearer xoxb-1"}, timeout=0.1
            )

    assert len(inbox.kept) == 1


@pytest.mark.asyncio
async def test_a_slow_slack_accepts_late() -> None:
    async with open_inbox() as inbox:
        inbox.fail("chat.postMessage", "slow", seconds=0.05)
        start = asyncio.get_running_loop().time()
        answer = await inbox.post(text="x")

    assert answer["ok"]
    assert asyncio.get_running_loop().time() - start >= 0.05


@pytest.mark.asyncio
async def test_an_email_arrives() -> None:
    async with listening_inbox() as inbox:
        await send(inbox)

    assert [(mail.to, mail.subject) for mail in inbox.kept] == [("anna@example.com", "Red")]


@pytest.mark.asyncio
async def test_any_name_and_password_lets_in() -> None:
    async with listening_inbox() as inbox:
        await send(inbox, username="churnsignal", password="secret")

    assert len(inbox.kept) == 1


@pytest.mark.parametrize(
    ("stage", "code", "raised"),
    [
        ("connect", 421, aiosmtplib.SMTPConnectResponseError),
        ("ehlo", 421, aiosmtplib.SMTPHeloError),
        ("mail", 451, aiosmtplib.SMTPSenderRefused),
        ("rcpt", 550, aiosmtplib.SMTPRecipientsRefused),
        ("rcpt", 451, aiosmtplib.SMTPRecipientsRefused),
        ("data", 451, aiosmtplib.SMTPDataError),
        ("data", 554, aiosmtplib.SMTPDataError),
    ],
)
@pytest.mark.asyncio
async def test_the_mail_server_refuses_at_each_stage_with_the_code_it_was_told(stage: str, code: int, raised: type[Exception]) -> None:
    async with listening_inbox() as inbox:
        inbox.fail(f"smtp.{stage}", "status", status=code, count=1)
        with pytest.raises(raised) as refusal:
            await send(inbox)
        await send(inbox)

    assert str(code) in str(refusal.value)
    assert len(inbox.kept) == 1


@pytest.mark.asyncio
async def test_421_in_the_middle_ends_the_conversation() -> None:
    async with listening_inbox() as inbox:
        inbox.fail("smtp.rcpt", "status", status=421)
        with pytest.raises(aiosmtplib.SMTPException):
            await send(inbox)

    assert inbox.kept == []


@pytest.mark.asyncio
async def test_only_the_recipient_that_was_named_is_unknown() -> None:
    async with listening_inbox() as inbox:
        inbox.fail("smtp.rcpt", "status", status=550, match="taro@")
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await send(inbox, "taro@example.com")
        await send(inbox, "hanako@example.com")

    assert [mail.to for mail in inbox.kept] == ["hanako@example.com"]


@pytest.mark.asyncio
async def test_a_login_can_fail() -> None:
    async with listening_inbox() as inbox:
        inbox.fail("smtp.auth", "status", status=535)
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await send(inbox, username="churnsignal", password="wrong")

    assert inbox.kept == []


@pytest.mark.parametrize("kind", ["cut", "status"])
@pytest.mark.asyncio
async def test_tls_is_offered_and_fails(kind: str) -> None:
    async with listening_inbox() as inbox:
        inbox.fail("smtp.starttls", kind, status=454)
        with pytest.raises((aiosmtplib.SMTPException, OSError)):
            await send(inbox)

    assert inbox.kept == []


@pytest.mark.parametrize(("kind", "kept"), [("cut", 0), ("cut_after", 1), ("hang", 0), ("hang_after", 1)])
@pytest.mark.asyncio
async def test_the_mail_server_drops_before_or_after_it_accepted(kind: str, kept: int) -> None:
    async with listening_inbox() as inbox:
        inbox.fail("smtp.data", kind, seconds=0.05)
        with pytest.raises(aiosmtplib.SMTPException):
            await send(inbox)

    assert len(inbox.kept) == kept


@pytest.mark.asyncio
async def test_a_slow_mail_server_has_the_mail_before_the_client_gives_up() -> None:
    async with listening_inbox() as inbox:
        inbox.fail("smtp.data", "slow", seconds=2, count=1)
        with pytest.raises(aiosmtplib.SMTPTimeoutError):
            await send(inbox, timeout=0.2)
        await send(inbox)

    assert len(inbox.kept) == 2
