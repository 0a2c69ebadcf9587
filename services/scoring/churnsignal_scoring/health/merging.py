"""Pure. Hand an account's history over to the account it is merged into: in parts that fit a record, each of which adds up with what is there."""

from collections.abc import Iterator
from typing import Any

import msgspec
from churnsignal_common.contracts.envelope import AccountAbsorbed

from churnsignal_scoring.health.days import to_us
from churnsignal_scoring.health.profile import PROFILE_FACTS
from churnsignal_scoring.health.state import AccountState

PART_BYTES = 200_000
"""A record may have a megabyte; an account of many users has more."""
STAYS = frozenset({"lifecycle", "outcome", "paused_until", "parent", "override"})
"""What is said of an account only, and not of the one it is merged into."""
OLDER_US = 1 << 60
"""The other facts of a profile count as older than anything ever said of the account it is merged into: they fill its gaps."""


def parts(state: AccountState) -> Iterator[AccountAbsorbed]:
    """Yield all that was counted of an account; one empty part when there is nothing, so that the other one hears of the merge."""
    head = AccountAbsorbed(
        absorbed=state.account,
        first_day=state.first_day,
        last_active=state.last_active,
        last_event=state.last_event,
        events=state.events_total,
        origin=state.origin,
        habit=state.active.to_bytes((state.active.bit_length() + 7) // 8, "little"),
        lasts=tuple((day, to_us(at), call) for day, (at, call) in sorted(state.lasts.items())),
        reported=dict(sorted(state.reported.items())),
    )
    held: dict[str, list[Any]] = {}
    size = 0
    for kind, row in _rows(state):
        length = len(msgspec.json.encode(row))
        if held and size + length > PART_BYTES:
            yield _part(head, held)
            head, held, size = AccountAbsorbed(absorbed=state.account), {}, 0
        held.setdefault(kind, []).append(row)
        size += length
    yield _part(head, held)


def _rows(state: AccountState) -> Iterator[tuple[str, Any]]:
    for day, counts in sorted(state.days.items()):
        yield "days", (day, counts)
    for row in state.user_rows():
        yield "users", (row.user, row.block, row.mask)
    for name, versions in sorted(state.facts.items()):
        for fact in versions if name not in STAYS else ():
            stamp = fact.occurred_us - OLDER_US if name in PROFILE_FACTS and fact.occurred_us > 0 else fact.occurred_us
            yield "facts", (name, fact.value, stamp, fact.event_id, fact.source, fact.day)


def _part(head: AccountAbsorbed, held: dict[str, list[Any]]) -> AccountAbsorbed:
    return msgspec.structs.replace(head, **{kind: tuple(rows) for kind, rows in held.items()})


def empty(state: AccountState) -> None:
    """Forget what was handed over; what people were told of the account stays."""
    state.first_day = state.last_active = state.last_event = None
    state.events_total = state.origin = state.active = 0
    for emptied in (state.days, state.blocks, state.teams, state.facts, state.lasts, state.reported, state.memo, state.crowds):
        emptied.clear()
    owners = state.dirty_owners[:]
    state.clean()
    state.live, state.dirty_owners = None, owners
