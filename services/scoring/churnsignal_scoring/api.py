"""Root. Scoring over HTTP: accounts with their scores and reasons, closed days, and commands that go onto the log first."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from aiokafka.errors import KafkaError
from churnsignal_common.catalog import formats
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.sentences import say
from churnsignal_common.clock import Clock
from churnsignal_common.contracts.envelope import (
    OVERRIDE_LASTS,
    AccountMerged,
    Command,
    Envelope,
    Format,
    OutcomeRecorded,
    OverrideCleared,
    OverrideSet,
    ProfileEdited,
    encoder,
    holds_nul,
)
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.risk import SilentSource
from churnsignal_common.contracts.topics import USAGE_EVENTS
from churnsignal_common.runtime.http import Cursor, Limit, after, may
from churnsignal_common.runtime.paging import page
from churnsignal_common.runtime.tokens import Caller, Role, Tokens
from fastapi import Depends, FastAPI, HTTPException, Query
from pydantic import AwareDatetime, BaseModel, Field

from churnsignal_scoring.config_api import Room, add_configs
from churnsignal_scoring.configs import Configs
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.days import to_date
from churnsignal_scoring.load import Load
from churnsignal_scoring.queries import Filters, Queries
from churnsignal_scoring.relay import Relay
from churnsignal_scoring.sheet import wrong
from churnsignal_scoring.tree import roll_up
from churnsignal_scoring.why import NothingKnown, Reader, told

SOURCE = "scoring-api"
AT = "A moment, or a day: then as that day closed. Now without it."


class OverrideBody(BaseModel):
    """A band set by hand: at once, and until the close of the day it expires on. The computed band stands beside it."""

    band: Literal["green", "yellow", "red", "grey"]
    reason: str = Field(min_length=1, max_length=500)
    expires_at: AwareDatetime


class OutcomeBody(BaseModel):
    """What became of the account."""

    outcome: Literal["churned", "renewed", "downgraded", "expanded"]
    note: str = Field(default="", max_length=2000)


class MergeBody(BaseModel):
    """The account that gets the history, and from now on the calls, of the one in the path."""

    into: str = Field(min_length=1, max_length=255)


T = TypeVar("T")
PutOnLog: TypeAlias = Callable[[str, Command], Awaitable[dict[str, str]]]


@dataclass(frozen=True, slots=True)
class Inside:
    """What the paths need."""

    queries: Queries
    load: Load
    engine: AccountEngine
    relay: Relay
    tokens: Tokens
    clock: Clock
    new_id: Callable[[], str]
    partitions: int
    configs: Configs

    async def engine_now(self) -> AccountEngine:
        """Return the engine under the policy in force."""
        policy = await self.configs.policy()
        if policy.generation != self.engine.policy.generation:
            self.engine.adopt(policy)
        return self.engine

    async def reader(self) -> Reader:
        return Reader(self.queries, self.load, self.configs, await self.engine_now())


def add_api(app: FastAPI, inside: Inside) -> None:
    """Add scoring's paths to `app`."""
    _add_reads(app, inside)
    _add_past(app, inside)
    _add_commands(app, inside)
    add_configs(app, Room(inside.configs, inside.queries, inside.load, inside.engine_now, inside.tokens, inside.clock))


def _add_reads(app: FastAPI, inside: Inside) -> None:
    reader = Depends(may(Role.READER, inside.tokens))

    def filters(
        band: Literal["green", "yellow", "red", "grey"] | None = None,
        owner: str | None = None,
        segment: str | None = None,
        tier: str | None = None,
        renewal_by: Annotated[date | None, Query(description="Those whose contract renews from today to this day.")] = None,
    ) -> Filters:
        today = to_date(inside.engine.zone.day_of(inside.clock.now()))
        return Filters(band, owner, segment, tier, None if renewal_by is None else (today, renewal_by))

    @app.get("/v1/accounts", tags=["accounts"], summary="Accounts, the most at risk first", dependencies=[reader])
    async def list_accounts(
        wanted: Annotated[Filters, Depends(filters)],
        order: Literal["at_risk", "score", "arr", "account"] = "at_risk",
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> dict[str, Any]:
        rows = await inside.queries.accounts(wanted, order, after(cursor, object, str), limit)
        shown = page(rows, limit, "key", "account")
        for row in shown["items"]:
            del row["key"]
        return shown

    @app.get("/v1/accounts/{account}", tags=["accounts"], summary="One account: score, band, reasons, profile", dependencies=[reader])
    async def one_account(account: str) -> dict[str, Any]:
        found = await inside.queries.account(account)
        if found is None:
            raise HTTPException(404, f"no account {account!r}: none of its calls was applied yet")
        del found["key"]
        _, why = await _known((await inside.reader()).now(account))
        silent = () if why.profile is None else why.profile.silent_sources
        held_by = [_said(one, inside.engine.zone.zone) for one in silent]
        profile = found["profile"] if why.profile is None else msgspec.to_builtins(why.profile)
        explained = told(why) | {"held_by": held_by, "profile": profile}
        return found | explained | {"changes": await inside.queries.changes(account, 20)}

    @app.get("/v1/accounts/{account}/tree", tags=["accounts"], summary="The account and those below it, rolled up", dependencies=[reader])
    async def tree(account: str) -> dict[str, Any]:
        day, nodes = await inside.queries.tree(account)
        if not nodes:
            raise HTTPException(404, f"no account {account!r}: none of its calls was applied yet")
        return {"closed_on": day, "roll_up": roll_up(nodes), "items": [node._asdict() for node in nodes]}

    @app.get("/v1/unresolved", tags=["accounts"], summary="Users whose account nobody knows yet", dependencies=[reader])
    async def unresolved(cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
        return page(await inside.queries.unresolved(after(cursor, str, str), limit), limit, "source", "subject")


def _add_past(app: FastAPI, inside: Inside) -> None:
    reader = Depends(may(Role.READER, inside.tokens))

    @app.get("/v1/accounts/{account}/owners", tags=["accounts"], summary="Whose account it was since when", dependencies=[reader])
    async def owners(account: str) -> dict[str, Any]:
        return {"items": await inside.queries.owners(account), "next_cursor": None}

    @app.get("/v1/accounts/{account}/outcomes", tags=["accounts"], summary="What became of it, as people said", dependencies=[reader])
    async def outcomes(account: str) -> dict[str, Any]:
        return {"items": await inside.queries.outcomes(account), "next_cursor": None}

    @app.get("/v1/accounts/{account}/history", tags=["accounts"], summary="Closed days, newest first", dependencies=[reader])
    async def history(account: str, cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
        key = after(cursor, int)
        rows = await inside.queries.history(account, key[0] if key else None, limit)
        return page(rows, limit, "day")

    @app.get(
        "/v1/accounts/{account}/explain", tags=["accounts"], summary="Why it is what it is, or was: in words too", dependencies=[reader]
    )
    async def explain(account: str, at: Annotated[date | AwareDatetime | None, Query(description=AT)] = None) -> dict[str, Any]:
        why = await inside.reader()
        return await _known(why.explain(account, why.moment(at), inside.clock.now()))


async def _known(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except NothingKnown as error:
        raise HTTPException(404, str(error)) from error


def _said(silent: SilentSource, zone: tzinfo) -> dict[str, str]:
    """Return why the score holds still, in each language that the product speaks."""
    return {
        locale.value: say(locale, "frozen.source", source=silent.source, moment=formats.moment(locale, silent.since, zone))
        for locale in Locale
    }


async def _living(inside: Inside, account: str) -> None:
    found = await inside.queries.account(account)
    if found is None:
        raise HTTPException(404, f"no account {account!r}: none of its calls was applied yet")
    if merged := found["profile"].get("merged_into"):
        raise HTTPException(409, f"{account!r} is a part of {merged!r} now")


async def _put_on_log(inside: Inside, account: str, command: Command) -> dict[str, str]:
    await _living(inside, account)
    envelope = command_envelope(account, command, inside.new_id(), inside.clock.now())
    if holds_nul(bytes(envelope.call)):
        raise HTTPException(422, "a text holds the character U+0000, which no database stores: leave it out")
    try:
        target = partition_of(account, inside.partitions)
        await inside.relay.send(USAGE_EVENTS, target, account, encoder.encode(envelope))
    except (KafkaError, TimeoutError) as error:
        raise HTTPException(503, "Kafka does not answer; send the same request again", {"Retry-After": "5"}) from error
    return {"id": envelope.id}


def _add_commands(app: FastAPI, inside: Inside) -> None:
    csm = may(Role.CSM, inside.tokens)
    callers = Annotated[Caller, Depends(csm)]

    put_on_log = partial(_put_on_log, inside)

    @app.put("/v1/accounts/{account}/override", tags=["commands"], status_code=202, summary="Set the band by hand, with reason and end")
    async def set_override(account: str, body: OverrideBody, caller: callers) -> dict[str, str]:
        if body.expires_at <= inside.clock.now():
            raise HTTPException(422, f"expires_at: {body.expires_at.isoformat()} is past; give a time to come")
        if body.expires_at > inside.clock.now() + OVERRIDE_LASTS:
            raise HTTPException(422, f"expires_at: {body.expires_at.isoformat()} is more than ten years away; give an earlier time")
        command = OverrideSet(band=body.band, reason=body.reason, author=caller.name, expires_at=body.expires_at)
        return await put_on_log(account, command)

    @app.delete("/v1/accounts/{account}/override", tags=["commands"], status_code=202, summary="End the override now")
    async def clear_override(account: str, caller: callers) -> dict[str, str]:
        return await put_on_log(account, OverrideCleared(author=caller.name))

    @app.post("/v1/accounts/{account}/outcome", tags=["commands"], status_code=202, summary="Record what became of the account")
    async def record_outcome(account: str, body: OutcomeBody, caller: callers) -> dict[str, str]:
        return await put_on_log(account, OutcomeRecorded(outcome=body.outcome, author=caller.name, note=body.note))

    @app.patch("/v1/accounts/{account}/profile", tags=["commands"], status_code=202, summary="Set facts of the account; null clears")
    async def edit_profile(account: str, body: dict[str, str | int | float | bool | None], caller: callers) -> dict[str, str]:
        mapper = (await inside.engine_now()).policy.mapping_at(inside.clock.now())
        facts = {name: mapper.fact_of(name) for name in body}
        problems = [f"{name}: no trait of this name" for name, fact in facts.items() if fact is None]
        said = [(name, fact, body[name]) for name, fact in facts.items() if fact is not None and body[name] is not None]
        problems += [f"{name}: {problem}" for name, fact, value in said if (problem := wrong(fact, value))]
        if problems or not body:
            raise HTTPException(422, "; ".join(problems) or "nothing to set")
        return await put_on_log(account, ProfileEdited(traits=dict(body), author=caller.name))

    _add_merge(app, inside, put_on_log)


def _add_merge(app: FastAPI, inside: Inside, put_on_log: PutOnLog) -> None:
    operators = Annotated[Caller, Depends(may(Role.OPERATOR, inside.tokens))]

    @app.post("/v1/accounts/{account}/merge", tags=["commands"], status_code=202, summary="Make the account a part of another, for good")
    async def merge_account(account: str, body: MergeBody, caller: operators) -> dict[str, str]:
        if body.into == account:
            raise HTTPException(422, "an account cannot be merged into itself")
        await _living(inside, body.into)
        return await put_on_log(account, AccountMerged(into=body.into, author=caller.name))


def command_envelope(account: str, command: Command, new_id: str, now: datetime) -> Envelope:
    """Return a command as it goes onto the log: like any other call, so that a replay gives the same scores."""
    return Envelope(
        id=new_id,
        source=SOURCE,
        account=account,
        occurred_at=now,
        received_at=now,
        stamped_at=now,
        format=Format.COMMAND,
        call=msgspec.Raw(encoder.encode(command)),
    )
