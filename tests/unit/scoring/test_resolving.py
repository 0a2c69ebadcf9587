"""Whose account a call belongs to: links, strangers, and what is credited when a link comes."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from churnsignal_common.contracts.envelope import Envelope, UserLinked, encoder, envelope_decoder
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED
from churnsignal_common.mapping.usage import Usage
from churnsignal_scoring.decode import Reading, read
from churnsignal_scoring.effects import Effects, Link
from churnsignal_scoring.links import ties
from churnsignal_scoring.outcomes import Outcome, Place
from churnsignal_scoring.resolve import Linked, Links, Move, Park, Stale, link, link_envelope, moved, route
from churnsignal_scoring.unresolved import Parking, Unresolved, Waiting, requests

from tests.support.plant import at, envelope, group, track

DAY = 20_000
PLACE = Place(USAGE_UNRESOLVED, 2)
CALL = track(None, "Opened Report", at(DAY), "t1", user="u1")
IDENTIFY = envelope("acme", {"type": "identify", "userId": "u1"}, at(DAY), "i1", user="u1", anonymous="device")
ALIAS = envelope("acme", {"type": "alias", "userId": "u1", "previousId": 77}, at(DAY), "i1", user="u1")


class Record:
    """A record of a consumer."""

    def __init__(self, offset: int, value: bytes | None) -> None:
        self.offset = offset
        self.timestamp = 0
        self.value = value


def linked(account: str | None, hour: float, identity: str = "l1") -> Envelope:
    cause = track("acme", "x", at(DAY, hour), identity)
    return msgspec.structs.replace(
        link_envelope(cause, "u1", "acme"), call=msgspec.Raw(encoder.encode(UserLinked(subject="u1", account=account)))
    )


def work(resolver: Unresolved, *calls: Envelope, waiting: list[Waiting] | None = None) -> Effects:
    batch: Reading = read(
        [(PLACE, [Record(n, encoder.encode(call)) for n, call in enumerate(calls)])], {PLACE: 0}, lambda _: Usage(True, ())
    )
    codes = [0] * len(batch.envelopes)
    effects = Effects(at(DAY), DAY)
    wanted = requests(batch, batch.spans, codes)
    resolver.span(batch.spans[0], batch, codes, wanted, effects, waiting or [])
    return effects


def told(effects: Effects) -> dict[tuple[str, str], int]:
    return {(outcome, reason): count for (_, _, outcome, reason), count in effects.tally.counts.items() if count}


def sent(effects: Effects) -> Counter[tuple[str, int]]:
    return Counter({(row.topic, row.target): len(row.records) for row in effects.outbox()})


def resolver(per_source: int = 800) -> Unresolved:
    return Unresolved(Links(), Parking(per_source, 8))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, Park("u1")),
        (Link(None, 1, "l"), Park("u1")),
        (Link("acme", 1, "l"), Move(USAGE_EVENTS, "acme")),
    ],
)
def test_a_call_goes_to_the_last_known_account_of_its_user_or_waits(known: Link | None, expected: Any) -> None:
    assert route(CALL, known) == expected


def test_an_imported_call_goes_on_in_the_history_lane() -> None:
    imported = msgspec.structs.replace(CALL, history=True)

    assert route(imported, Link("acme", 1, "l")) == Move(USAGE_HISTORY, "acme")


def test_the_later_link_wins_whichever_comes_first() -> None:
    early, late = linked("acme", 9), linked("other", 10)
    command = UserLinked(subject="u1", account="x")
    first = link(early, command, None)
    assert isinstance(first, Linked)

    assert isinstance(link(late, command, first.link), Linked)
    assert isinstance(link(early, command, Link("other", 2**60, "z")), Stale)
    assert isinstance(link(early, command, first.link), Stale)


def test_a_moved_call_keeps_every_byte_but_its_account() -> None:
    value = encoder.encode(CALL).replace(b'"account":null,', b"")

    put = moved(CALL, value, 'ac"me')

    assert put == b'{"account":"ac\\"me",' + value[1:]
    assert envelope_decoder.decode(put) == msgspec.structs.replace(CALL, account='ac"me')
    assert envelope_decoder.decode(moved(CALL, encoder.encode(CALL), "acme")).account == "acme"


@pytest.mark.parametrize(
    ("call", "subjects"),
    [
        (group("acme", "u1", at(DAY), "g1"), ["u1"]),
        (IDENTIFY, ["u1", "device"]),
        (ALIAS, ["u1", "77"]),
        (track("acme", "x", at(DAY), "t", user="u1"), []),
    ],
)
def test_calls_that_say_who_belongs_where_tie_the_user_the_device_and_the_old_id(call: Envelope, subjects: list[str]) -> None:
    assert list(ties(call)) == subjects


def test_a_stranger_waits_and_a_link_in_the_same_batch_sends_the_call_on() -> None:
    effects = work(resolver(), CALL, linked("acme", 13))

    assert told(effects) == {("moved", ""): 1, ("applied", ""): 1}
    assert effects.parked == []
    assert sent(effects) == {(USAGE_EVENTS, partition_of("acme", 8)): 1}


def test_what_was_parked_before_is_counted_as_moved_when_the_link_comes() -> None:
    waiting = [Waiting(7, "u1", "web", encoder.encode(CALL)), Waiting(9, "u1", "app", encoder.encode(CALL))]

    effects = work(resolver(), linked("acme", 13), waiting=waiting)

    assert told(effects) == {("parked", ""): -2, ("moved", ""): 2, ("applied", ""): 1}
    assert sorted(row for gone in effects.unparked for row in gone.ids) == [7, 9]


def test_two_links_in_one_batch_credit_what_waits_once() -> None:
    waiting = [Waiting(7, "u1", "web", encoder.encode(CALL))]

    effects = work(resolver(), linked("acme", 13, "l1"), linked("other", 14, "l2"), waiting=waiting)

    assert sum(sent(effects).values()) == 1
    assert effects.links["u1"][1].account == "other"


def test_strangers_beyond_the_room_of_their_source_are_let_go_and_counted() -> None:
    calls = [track(None, "x", at(DAY), f"t{n}", user=f"u{n}") for n in range(5)]
    other = track(None, "x", at(DAY), "other", user="u9", source="app")

    effects = work(resolver(per_source=3 * 8), *calls, other)

    assert told(effects) == {("parked", ""): 4, ("ignored", "parking_full"): 2}


def test_the_room_counts_what_is_stored_and_forgets_what_left() -> None:
    full = resolver(per_source=8)
    full.committed(work(full, CALL))
    refused = work(full, track(None, "x", at(DAY), "t2", user="u2"))
    full.committed(work(full, linked("acme", 13), waiting=[Waiting(1, "u1", "web", encoder.encode(CALL))]))

    assert told(refused) == {("ignored", "parking_full"): 1}
    assert told(work(full, track(None, "x", at(DAY), "t3", user="u3"))) == {("parked", ""): 1}


def test_a_command_that_is_no_link_is_dead_on_this_topic() -> None:
    odd = msgspec.structs.replace(linked("acme", 9), call=msgspec.Raw(b'{"type":"override.cleared","author":"x"}'))

    assert told(work(resolver(), odd)) == {("dead", "unknown_command"): 1}


def test_every_record_ends_as_exactly_one_outcome() -> None:
    calls = [
        CALL,
        linked("acme", 13),
        track(None, "x", at(DAY), "t2", user="u1"),
        linked("acme", 2, "old"),
        track(None, "x", at(DAY), "t3", user="zz"),
    ]

    effects = work(resolver(), *calls)

    assert effects.tally.total(PLACE) == len(calls)
    assert {Outcome(outcome) for outcome, _ in told(effects)} == {Outcome.MOVED, Outcome.APPLIED, Outcome.IGNORED, Outcome.PARKED}
