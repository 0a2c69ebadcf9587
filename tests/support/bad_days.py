"""Root. Every bad day that a provider may have, lived by one alerts service: python -m tests.support.bad_days writes docs/providers.md."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from churnsignal_devstack.inbox.faults import FaultKind
from churnsignal_devstack.inbox.store import Message

from tests.support.alerts_world import World, open_world
from tests.support.stack import open_stack

DOCUMENT = Path(__file__).parents[2] / "docs" / "providers.md"
INTRODUCTION = """# Providers on a bad day

Written by a run of `make providers`; do not edit. On each day one account turns red, and the inbox of the devstack, as Slack or as the mail relay, does
what the line says to the one message about it. *Expected* is what the test asserts; *seen* is what the run wrote down: the outcome of every attempt, how
long the service waited when it was asked to or had reason to, which copies the reader has, and how many of those say that they may be a repetition.

"""
NOTES = """
An answer that is lost makes an attempt `unknown`. Slack is then asked for the message before it is sent again, which waits for up to five minutes while
Slack is busy; mail cannot be asked, so a second copy says what it is and has the first one's Message-ID. `moved`: the channel refused for good, and the alert goes the next way: to the person's mail, or to the
catch-all. A wait of up to five seconds is the service's own and is not shown.
"""
_AT_ONCE = 16
MARK = "may have received this message already"
# Postgres itself writes down how long the service is going to wait, and lets it go on at once, to the place that asked for it, too. Shorter
# waits are the backoff's own.
_HURRY = """
CREATE TABLE waits (recipient text, seconds int);
CREATE FUNCTION hurry() RETURNS trigger AS $$ BEGIN
  IF NEW.state = 'retry' AND NEW.not_before > clock_timestamp() + interval '5 s' THEN
    INSERT INTO public.waits VALUES (NEW.recipient, round(extract(epoch FROM NEW.not_before - clock_timestamp())));
    NEW.not_before = clock_timestamp();
  END IF;
  RETURN NEW;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER hurry BEFORE UPDATE ON alerts.deliveries FOR EACH ROW EXECUTE FUNCTION hurry();
CREATE FUNCTION rested() RETURNS trigger AS $$ BEGIN NEW.next_at = clock_timestamp(); RETURN NEW; END $$ LANGUAGE plpgsql;
CREATE TRIGGER rested BEFORE UPDATE ON alerts.pace FOR EACH ROW WHEN (NEW.next_at > clock_timestamp() + interval '5 s') EXECUTE FUNCTION rested()
"""
_NO_HURRY = """
DROP TRIGGER hurry ON alerts.deliveries; DROP FUNCTION hurry; DROP TABLE waits; DELETE FROM alerts.troubles;
DROP TRIGGER rested ON alerts.pace; DROP FUNCTION rested
"""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an alert: every attempt's outcome, the wait between them, and the copies by where they are."""

    attempts: tuple[str, ...]
    copies: tuple[str, ...]
    marked: int = 0
    waited_s: int = 0

    def __str__(self) -> str:
        wait = f", after {self.waited_s} s" if self.waited_s else ""
        mark = f", {self.marked} marked" if self.marked else ""
        return f"{' → '.join(self.attempts)}{wait}; {len(self.copies)} in {' and '.join(sorted(set(self.copies)))}{mark}"


@dataclass(frozen=True, slots=True)
class Day:
    """One bad day: what happens where, and how it must end. `asked`: how Slack answers when it is asked for the message.

    `alone`: it strikes before the recipient is known, so nothing else is sent.
    """

    story: str
    on: str
    kind: FaultKind
    expected: Fate
    status: int = 503
    error: str = ""
    retry_after: int | None = None
    seconds: float = 0.0
    asked: str = ""
    alone: bool = False

    @property
    def mail(self) -> bool:
        return self.on.startswith("smtp.")

    def __str__(self) -> str:
        return f"{'SMTP' if self.mail else 'Slack'} {self.story}"


_IN_SLACK, _BY_MAIL, _CATCH_ALL = ("Slack",), ("mail",), ("catch-all",)
_POST = "chat.postMessage"
# What Slack documents for chat.postMessage and conversations.open as refusals that repeating does not change.
PERMANENT = (
    "access_denied", "account_inactive", "as_user_not_supported", "cannot_reply_to_message", "channel_not_found", "duplicate_channel_not_found",
    "duplicate_message_not_found", "ekm_access_denied", "invalid_auth", "invalid_blocks", "invalid_metadata_format", "invalid_metadata_schema",
    "is_archived", "markdown_text_conflict", "message_limit_exceeded", "messages_tab_disabled", "metadata_must_be_sent_from_app", "metadata_too_large",
    "missing_scope", "msg_blocks_too_long", "msg_too_long", "no_text", "not_allowed_token_type", "not_authed", "not_in_channel", "org_login_required",
    "restricted_action", "restricted_action_non_threadable_channel", "restricted_action_read_only_channel", "restricted_action_thread_locked",
    "restricted_action_thread_only_channel", "slack_connect_blocked_file_type", "slack_connect_canvas_sharing_blocked", "team_access_not_granted",
    "team_not_found", "token_expired", "token_revoked", "too_many_attachments", "two_factor_setup_required",
)  # fmt: skip


def _slack() -> Iterable[Day]:
    retried, looked_up = Fate(("retry", "sent"), _IN_SLACK), Fate(("unknown", "sent"), _IN_SLACK)
    asked = Fate(("retry", "sent"), _IN_SLACK, waited_s=30)
    yield Day("429, Retry-After 30", _POST, FaultKind.STATUS, asked, status=429, retry_after=30)
    yield Day("429 to opening the conversation, Retry-After 30", "conversations.open", FaultKind.STATUS, asked, status=429, retry_after=30)
    yield Day("429 without Retry-After", _POST, FaultKind.STATUS, retried, status=429)
    for status in (500, 502, 503, 504):
        yield Day(f"{status}", _POST, FaultKind.STATUS, looked_up, status=status)
    yield Day("503 to opening the conversation", "conversations.open", FaultKind.STATUS, retried)
    for error in ("internal_error", "fatal_error", "request_timeout"):
        yield Day(f"ok:false {error}", _POST, FaultKind.ERROR, looked_up, error=error)
    for error in ("ratelimited", "rate_limited", "service_unavailable", "team_added_to_org"):
        yield Day(f"ok:false {error}", _POST, FaultKind.ERROR, retried, error=error)
    yield Day("answers half a second late", _POST, FaultKind.SLOW, Fate(("sent",), _IN_SLACK), seconds=0.5)
    yield Day("takes nothing and says nothing", _POST, FaultKind.HANG, looked_up, seconds=10)
    yield Day("takes it, then says nothing", _POST, FaultKind.HANG_AFTER, looked_up, seconds=10)
    yield Day("hangs up and took nothing", _POST, FaultKind.CUT, looked_up)
    yield Day("takes it and hangs up", _POST, FaultKind.CUT_AFTER, looked_up)
    twice, later = Fate(("unknown", "sent possible_duplicate"), _IN_SLACK * 2, marked=1), Fate(("unknown", "retry", "sent"), _IN_SLACK)
    yield Day("takes it and hangs up, and cannot be asked", _POST, FaultKind.CUT_AFTER, twice, asked="missing_scope")
    yield Day("takes it and hangs up, and is busy when it is asked", _POST, FaultKind.CUT_AFTER, later, asked="internal_error")
    for error in PERMANENT:
        yield Day(f"ok:false {error}", _POST, FaultKind.ERROR, Fate(("moved", "sent"), _BY_MAIL), error=error)
    for error in ("user_not_found", "user_disabled", "cannot_dm_bot"):
        yield Day(
            f"ok:false {error} to opening the conversation",
            "conversations.open",
            FaultKind.ERROR,
            Fate(("moved", "sent"), _BY_MAIL),
            error=error,
        )


def _smtp() -> Iterable[Day]:
    later, gone = Fate(("retry", "sent"), _BY_MAIL, waited_s=60), Fate(("moved", "sent"), _CATCH_ALL)
    soon, again = Fate(("retry", "sent"), _BY_MAIL), Fate(("unknown", "sent possible_duplicate"), _BY_MAIL * 2, marked=1)
    lost = Fate(("unknown", "sent possible_duplicate"), _BY_MAIL, marked=1)
    for status in (421, 450, 451, 452):
        yield Day(f"{status} to the recipient", "smtp.rcpt", FaultKind.STATUS, later, status=status)
        yield Day(f"{status} to the content", "smtp.data", FaultKind.STATUS, later, status=status)
    for status in (550, 551, 552, 553, 554):
        yield Day(f"{status} to the recipient", "smtp.rcpt", FaultKind.STATUS, gone, status=status)
        yield Day(f"{status} to the content", "smtp.data", FaultKind.STATUS, gone, status=status)
    yield Day("slow over the content, half a second", "smtp.data", FaultKind.SLOW, Fate(("sent",), _BY_MAIL), seconds=0.5)
    yield Day("slow over the content beyond the patience, and takes it", "smtp.data", FaultKind.HANG_AFTER, again, seconds=10)
    yield Day("silent over the content, and takes nothing", "smtp.data", FaultKind.HANG, lost, seconds=10)
    yield Day("takes the content and hangs up", "smtp.data", FaultKind.CUT_AFTER, again)
    yield Day("hangs up over the content", "smtp.data", FaultKind.CUT, lost)
    yield Day("hangs up over the recipient", "smtp.rcpt", FaultKind.CUT, soon)
    for status in (421, 554):
        yield Day(f"{status} as its greeting", "smtp.connect", FaultKind.STATUS, later, status=status, alone=True)
    for status in (451, 550):
        yield Day(f"{status} to the sender", "smtp.mail", FaultKind.STATUS, later, status=status, alone=True)
    yield Day("hangs up before its greeting", "smtp.connect", FaultKind.CUT, soon, alone=True)
    yield Day("gives no greeting", "smtp.connect", FaultKind.HANG, soon, seconds=10, alone=True)
    yield Day("offers TLS and answers 454 to it", "smtp.starttls", FaultKind.STATUS, later, status=454, alone=True)
    yield Day("offers TLS and hangs up in the handshake", "smtp.starttls", FaultKind.CUT, soon, alone=True)


DAYS = (*_slack(), *_smtp())


async def live(world: World) -> dict[str, Fate]:
    """Live all days: together where a fault can be aimed at one recipient, one by one where it cannot."""
    names = {day: f"day{number:03}" for number, day in enumerate(DAYS)}
    for day, name in names.items():
        await world.csm(name, **({"slack": None, "channels": ["email"]} if day.mail else {}))
    await world.database.execute(_HURRY)
    # The silent ones first, to be silent together; few at once, as a provider that is merely slow is another day.
    aimed = sorted((day for day in DAYS if not day.alone), key=lambda day: -day.seconds)
    for together in (*(aimed[n : n + _AT_ONCE] for n in range(0, len(aimed), _AT_ONCE)), *([day] for day in DAYS if day.alone)):
        for day in together:
            _strike(world, day, names[day])
        await world.publish(*(world.change(names[day], names[day]) for day in together))
        for day in together:
            await world.applied(names[day], 1)
        await world.until(lambda: _settled(world), 120)
        assert all(rule.struck == 1 for rule in world.inbox.faults.rules), [rule for rule in world.inbox.faults.rules if not rule.struck]
        world.inbox.faults.clear()
    waits = {row["recipient"]: row["seconds"] for row in await world.database.fetch("SELECT * FROM waits")}
    await world.database.execute(_NO_HURRY)
    return {str(day): await _fate(world, name, waits) for day, name in names.items()}


def _strike(world: World, day: Day, name: str) -> None:
    # The inbox calls the user U0DAY001 "Day001", and so the conversation with them "#Day001".
    whom = "" if day.alone else f"{name}@" if day.mail else f"U0{name.upper()}" if day.on == "conversations.open" else f"#{name.title()}"
    more: dict[str, Any] = {"retry_after": day.retry_after} if day.retry_after is not None else {}
    world.inbox.fail(day.on, day.kind, status=day.status, error=day.error, seconds=day.seconds, match=whom, count=1, **more)
    if day.asked:
        world.inbox.fail("conversations.history", "error", error=day.asked, match=whom, count=1)


async def _settled(world: World) -> bool:
    # Word to the operator is a delivery without a notice; on its way, it would meet the next day's fault.
    open_ = await world.database.fetchval(
        "SELECT (SELECT count(*) FROM alerts.notices WHERE state IN ('queued', 'sending'))"
        " + (SELECT count(*) FROM alerts.deliveries WHERE state IN ('sending', 'retry'))"
    )
    return bool(open_ == 0)


async def _fate(world: World, name: str, waits: dict[str, int]) -> Fate:
    episode = await world.episode(name)
    deliveries = sorted(episode["deliveries"], key=lambda delivery: delivery["id"])
    copies = [message for message in world.inbox.kept if episode["id"] in f"{message.metadata} {message.headers}"]
    assert len({message.headers["Message-ID"] for message in copies if message.kind == "email"}) <= 1
    return Fate(
        tuple(attempt["outcome"] for delivery in deliveries for attempt in delivery["attempt_log"]),
        tuple(_place(message, name) for message in copies),
        sum("possible_duplicate" in str(m.metadata) or MARK in m.text for m in copies),
        waits.get(name, 0),
    )


def _place(message: Message, name: str) -> str:
    return {f"U0{name.upper()}": "Slack", f"{name}@example.com": "mail"}.get(message.to, "catch-all")


def document(seen: dict[str, Fate]) -> str:
    """Return the committed document."""
    table = "| day | expected | seen |\n|---|---|---|\n" + "".join(f"| {day} | {day.expected} | {seen[str(day)]} |\n" for day in DAYS)
    return INTRODUCTION + table + NOTES


async def _run() -> dict[str, Fate]:
    with tempfile.TemporaryDirectory() as home, open_stack(os.environ) as stack:
        async with open_world(stack, f"t{uuid.uuid4().hex[:8]}.", Path(home)) as world:
            return await live(world)


def main() -> None:
    """Live all days and write what was seen; the test says whether it is what was expected."""
    seen = asyncio.run(_run())
    DOCUMENT.write_text(document(seen))
    print(f"wrote {DOCUMENT}: {sum(seen[str(day)] != day.expected for day in DAYS)} of {len(DAYS)} days ended otherwise than expected")


if __name__ == "__main__":
    main()
