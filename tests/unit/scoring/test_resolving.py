"""Whose account a call belongs to: links, leaves, older ids, strangers, and what is credited when a link comes."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from churnsignal_common.contracts.envelope import (
    Envelope,
    Format,
    UserAliased,
    UserLinked,
    command_decoder,
    encoder,
    envelope_decoder,
    rejected_decoder,
)
from churnsignal_common.contracts.partitions import Place, partition_of
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_HISTORY, USAGE_REJECTED, USAGE_UNRESOLVED
from churnsignal_common.mapping.usage import Usage
from churnsignal_scoring.decode import Reading, read
from churnsignal_scoring.effects import Effects
from churnsignal_scoring.links import NOBODY, TIES_KEPT, Alias, Known, Tie, aliased, aliases, tied, ties
from churnsignal_scoring.outcomes import Outcome
from churnsignal_scoring.resolve import Links, Move, Park, moved, route, told
from churnsignal_scoring.unresolved import Filled, Parking, Unresolved, Waiting, requests
from hypothesis import given
from hypothesis import strategies as st

from tests.support.plant import at, envelope, group, track

DAY = 20_000
PLACE = Place(USAGE_UNRESOLVED, 2)
CALL = track(None, "Opened Report", at(DAY), "t1", user="u1")
IDENTIFY = envelope("acme", {"type": "identify", "userId": "u1"}, at(DAY), "i1", user="u1", anonymous="device")
ALIAS = envelope("acme", {"type": "alias", "userId": "u1", "previousId": 77}, at(DAY), "i1", user="u1")
JOINED = Known((Tie("acme", 1, "l"),))


class Record:
    """A record of a consumer."""

    def __init__(self, offset: int, value: bytes | None) -> None:
        self.offset = offset
        self.timestamp = 0
        self.value = value


def linked(account: str, hour: float, identity: str = "l1", *, left: bool = False) -> Envelope:
    return told(track("acme", "x", at(DAY, hour), identity), UserLinked(subject="u1", account=account, left=left))


def renaming(older: str, into: str, hour: float) -> Envelope:
    return told(track("acme", "x", at(DAY, hour), f"{older}{into}"), UserAliased(subject=older, into=into))


def waits(number: int, source: str = "web", call: Envelope = CALL) -> Waiting:
    return Waiting(number, PLACE.partition, 100 + number, "u1", source, encoder.encode(call))


def work(resolver: Unresolved, *calls: Envelope, waiting: list[Waiting] | None = None) -> Effects:
    batch: Reading = read(
        [(PLACE, [Record(n, encoder.encode(call)) for n, call in enumerate(calls)])], {PLACE: 0}, lambda _: Usage(True, ())
    )
    codes = [0] * len(batch.envelopes)
    effects = Effects(at(DAY), DAY)
    wanted = requests(batch, batch.spans, codes)
    resolver.span(batch.spans[0], batch, codes, wanted, effects, waiting or [])
    return effects


def counted(effects: Effects) -> dict[tuple[str, str], int]:
    return {(outcome, reason): count for (_, _, outcome, reason), count in effects.tally.counts.items() if count}


def sent(effects: Effects) -> Counter[tuple[str, int]]:
    return Counter({(row.topic, row.target): len(row.records) for row in effects.outbox()})


def out(effects: Effects, topic: str) -> list[Envelope]:
    return [envelope_decoder.decode(value) for row in effects.outbox() if row.topic == topic for _, value in row.records]


def resolver(per_source: int = 800, size: int = 1 << 20) -> Unresolved:
    return Unresolved(Links(), Parking(per_source, size, 8))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (NOBODY, Park("u1")),
        (JOINED, Move(USAGE_EVENTS, "acme")),
        (Known((Tie("acme", 1, "l", left=True),)), Park("u1")),
        (Known((Tie("acme", 2, "l", left=True), Tie("old", 1, "k"))), Move(USAGE_EVENTS, "old")),
        (Known(JOINED.ties, Alias("u2", 1, "a")), Move(USAGE_UNRESOLVED, "u2")),
    ],
)
def test_a_call_goes_to_the_last_known_account_of_its_user_or_to_their_newer_id_or_waits(known: Known, expected: Any) -> None:
    assert route(CALL, "u1", known) == expected


def test_an_imported_call_goes_on_in_the_history_lane() -> None:
    imported = msgspec.structs.replace(CALL, history=True)

    assert route(imported, "u1", JOINED) == Move(USAGE_HISTORY, "acme")


moments = st.builds(Tie, st.sampled_from(["acme", "beta", "corp"]), st.integers(1, 9), st.sampled_from("abcdefghi"), st.booleans())


@given(st.lists(moments, max_size=12, unique_by=lambda tie: tie.stamp), st.data())
def test_joins_and_leaves_end_alike_in_any_order_and_however_often_they_come(found: list[Tie], data: st.DataObject) -> None:
    again = data.draw(st.permutations([*found, *found]))
    forth = back = NOBODY
    for tie in found:
        forth = tied(forth, tie)
    for tie in again:
        back = tied(back, tie)

    assert forth == back
    newest = {tie.account: tie for tie in sorted(found, key=lambda tie: tie.stamp)}
    joined = [tie for tie in newest.values() if not tie.left]
    assert forth.account == (max(joined, key=lambda tie: tie.stamp).account if joined else None)


@given(st.permutations([Tie(f"a{n}", n, "x", left=n % 3 == 0) for n in range(TIES_KEPT + 10)]))
def test_of_a_user_of_too_many_accounts_the_newest_are_kept_whatever_order_they_come_in(found: list[Tie]) -> None:
    known = NOBODY
    for tie in found:
        known = tied(known, tie)

    assert [tie.occurred_us for tie in known.ties] == list(range(TIES_KEPT + 9, 9, -1))


def test_the_later_alias_wins_whichever_comes_first() -> None:
    early, late = Alias("u2", 1, "a"), Alias("u3", 2, "b")

    assert aliased(aliased(NOBODY, early), late) == aliased(aliased(NOBODY, late), early) == Known(alias=late)


def test_a_moved_call_keeps_every_byte_but_its_account() -> None:
    value = encoder.encode(CALL).replace(b'"account":null,', b"").replace(b'"via":[],', b"")

    put = moved(CALL, value, "u1", 'ac"me')

    assert put == b'{"account":"ac\\"me","via":["user:u1"],' + value[1:]
    assert envelope_decoder.decode(put) == msgspec.structs.replace(CALL, account='ac"me', via=("user:u1",))
    assert envelope_decoder.decode(moved(CALL, encoder.encode(CALL), "u1", "acme")).account == "acme"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (group("acme", "u1", at(DAY), "g1"), [("u1", "acme", False)]),
        (group("acme", "u1", at(DAY), "g1", left=True), [("u1", "acme", True)]),
        (group("acme", "u1", at(DAY), "g1", left="yes"), [("u1", "acme", False)]),
        (
            msgspec.structs.replace(group("acme", "u1", at(DAY), "g1", left=True), via=("account:old",)),
            [("u1", "acme", True), ("u1", "old", True)],
        ),
        (IDENTIFY, [("u1", "acme", False), ("device", "acme", False)]),
        (msgspec.structs.replace(IDENTIFY, via=("user:u1",)), [("device", "acme", False)]),
        (ALIAS, [("u1", "acme", False), ("77", "u1")]),
        (msgspec.structs.replace(ALIAS, via=("user:u1",)), []),
        (track("acme", "x", at(DAY), "t", user="u1"), []),
    ],
)
def test_calls_that_say_who_belongs_where_tie_the_user_the_device_and_the_old_id(call: Envelope, said: list[tuple[Any, ...]]) -> None:
    assert [(c.subject, c.account, c.left) if isinstance(c, UserLinked) else (c.subject, c.into) for c in ties(call)] == said


@pytest.mark.parametrize(
    ("previous", "older"),
    [
        ("dev", ["dev"]),
        (77, ["77"]),
        (77.0, ["77"]),
        (" dev ", ["dev"]),
        (7.5, []),
        ("", []),
        (" ", []),
        (True, []),
        ({}, []),
        ("u1", []),
        (None, []),
    ],
)
def test_an_older_id_is_spelled_as_ingest_spells_ids_and_what_is_none_is_left_out(previous: Any, older: list[str]) -> None:
    call = envelope(None, {"type": "alias", "userId": "u1", "previousId": previous}, at(DAY), "a1", user="u1")

    assert [one.subject for one in aliases(call)] == older


def test_a_public_key_puts_nobody_into_an_account_and_brings_no_device_along() -> None:
    public = msgspec.structs.replace(IDENTIFY, public=True)

    assert list(ties(public)) == []
    # A server has put u1 into acme; whose device that was, anybody could say.
    assert list(ties(msgspec.structs.replace(public, via=("user:u1",)))) == []
    assert list(ties(msgspec.structs.replace(IDENTIFY, via=("user:u1",)))) == [UserLinked(subject="device", account="acme")]


def test_a_stranger_waits_and_a_link_in_the_same_batch_sends_the_call_on() -> None:
    effects = work(resolver(), CALL, linked("acme", 13))

    assert counted(effects) == {("moved", ""): 1, ("applied", ""): 1}
    assert effects.parked == []
    assert sent(effects) == {(USAGE_EVENTS, partition_of("acme", 8)): 1}


def test_what_was_parked_before_is_counted_as_moved_when_the_link_comes() -> None:
    effects = work(resolver(), linked("acme", 13), waiting=[waits(7), waits(9, "app")])

    assert counted(effects) == {("parked", ""): -2, ("moved", ""): 2, ("applied", ""): 1}
    assert sorted(row for gone in effects.unparked for row in gone.ids) == [7, 9]


def test_two_links_in_one_batch_credit_what_waits_once() -> None:
    effects = work(resolver(), linked("acme", 13, "l1"), linked("other", 14, "l2"), waiting=[waits(7)])

    assert sum(sent(effects).values()) == 1
    assert effects.links["u1"][1].account == "other"


def test_who_leaves_an_account_goes_back_to_the_one_joined_before_or_waits() -> None:
    left = work(resolver(), linked("old", 9, "l0"), linked("acme", 10), linked("acme", 11, "l2", left=True), CALL)
    nowhere = work(resolver(), linked("acme", 10), linked("acme", 11, "l2", left=True), CALL)

    assert [call.account for call in out(left, USAGE_EVENTS)] == ["old"]
    assert counted(nowhere) == {("applied", ""): 2, ("parked", ""): 1}


def test_an_older_join_that_comes_after_the_leave_does_not_bring_the_user_back() -> None:
    effects = work(resolver(), linked("acme", 11, "l2", left=True), linked("acme", 10), CALL)

    assert counted(effects) == {("applied", ""): 1, ("ignored", "stale_link"): 1, ("parked", ""): 1}


def test_an_alias_sends_links_and_what_waits_to_the_newer_id_and_later_calls_too() -> None:
    effects = work(resolver(), linked("acme", 9), renaming("u1", "u2", 10), CALL, waiting=[waits(7)])

    passed = out(effects, USAGE_UNRESOLVED)
    assert counted(effects) == {("applied", ""): 2, ("moved", ""): 2, ("parked", ""): -1}
    [link] = [command_decoder.decode(one.call) for one in passed if one.format is Format.COMMAND]
    assert link == UserLinked(subject="u2", account="acme")
    assert [one.occurred_at for one in passed if one.format is Format.COMMAND] == [at(DAY, 9)]
    assert [(one.user, one.via) for one in passed if one.id == "t1"] == [("u2", ("user:u1",))]
    # What waited was credited by the link, before the alias came.
    assert [one.via for one in out(effects, USAGE_EVENTS)] == [("user:u1",)]


def test_a_stranger_with_a_newer_id_waits_there_and_a_later_link_of_the_older_id_follows() -> None:
    effects = work(resolver(), CALL, renaming("u1", "u2", 10), linked("acme", 11, "l2"))

    assert counted(effects) == {("moved", ""): 1, ("applied", ""): 2}
    assert [(one.user, one.format.value) for one in out(effects, USAGE_UNRESOLVED)] == [("u2", "segment"), ("u2", "command")]


def test_an_alias_call_of_a_stranger_tells_the_owner_of_the_older_id_at_once() -> None:
    call = envelope(None, {"type": "alias", "userId": "u1", "previousId": "dev"}, at(DAY), "a1", user="u1")

    effects = work(resolver(), call)

    assert counted(effects) == {("parked", ""): 1}
    [told_on] = out(effects, USAGE_UNRESOLVED)
    assert command_decoder.decode(told_on.call) == UserAliased(subject="dev", into="u1")


def test_a_circle_of_aliases_ends_where_it_closes_and_loses_nothing() -> None:
    circling = msgspec.structs.replace(CALL, via=("user:u2",))

    effects = work(resolver(), linked("acme", 8), renaming("u1", "u2", 9), circling)

    assert [call.account for call in out(effects, USAGE_EVENTS)] == ["acme"]
    assert effects.links["u1"][1].alias is None


def test_an_id_that_is_said_to_be_its_own_older_one_stays_what_it_was() -> None:
    assert counted(work(resolver(), renaming("u1", "u1", 9))) == {("ignored", "stale_link"): 1}


def test_strangers_beyond_the_room_of_their_source_are_rejected_with_the_reason_and_counted() -> None:
    calls = [track(None, "x", at(DAY), f"t{n}", user=f"u{n}") for n in range(5)]
    other = track(None, "x", at(DAY), "other", user="u9", source="app")

    effects = work(resolver(per_source=3 * 8), *calls, other)

    assert counted(effects) == {("parked", ""): 4, ("dead", "parking_full"): 2}
    rejected = [rejected_decoder.decode(value) for row in effects.outbox() if row.topic == USAGE_REJECTED for _, value in row.records]
    assert [(one.source, one.reason, one.offset) for one in rejected] == [("web", "parking_full", 3), ("web", "parking_full", 4)]
    assert envelope_decoder.decode(rejected[0].body) == calls[3]


def test_the_room_is_one_of_bytes_too() -> None:
    size = len(encoder.encode(CALL))

    effects = work(resolver(size=8 * (2 * size + 1)), *[msgspec.structs.replace(CALL, id=f"t{n}") for n in range(4)])

    assert counted(effects) == {("parked", ""): 2, ("dead", "parking_full"): 2}


def test_the_room_counts_what_is_stored_and_forgets_what_left() -> None:
    full = resolver(per_source=8)
    full.committed(work(full, CALL))
    refused = work(full, track(None, "x", at(DAY), "t2", user="u2"))
    full.committed(work(full, linked("acme", 13), waiting=[waits(1)]))

    assert counted(refused) == {("dead", "parking_full"): 1}
    assert full.parked == {(2, "web"): (0, 0)}
    assert counted(work(full, track(None, "x", at(DAY), "t3", user="u3"))) == {("parked", ""): 1}


def test_a_command_that_is_no_link_is_dead_on_this_topic() -> None:
    odd = msgspec.structs.replace(linked("acme", 9), call=msgspec.Raw(b'{"type":"override.cleared","author":"x"}'))

    assert counted(work(resolver(), odd)) == {("dead", "unknown_command"): 1}


def test_a_call_that_one_id_sent_to_another_of_its_partition_is_no_duplicate_and_its_copy_is() -> None:
    sent_on = msgspec.structs.replace(CALL, user="u2", via=("user:u1",))
    records = [Record(n, encoder.encode(call)) for n, call in enumerate((CALL, CALL, sent_on, sent_on))]

    ids, _ = read([(PLACE, records)], {PLACE: 0}, lambda _: Usage(True, ())).fingerprints()

    assert (ids[0] == ids[1], ids[2] == ids[3], ids[0] == ids[2]) == (True, True, False)


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
    assert {Outcome(outcome) for outcome, _ in counted(effects)} == {Outcome.MOVED, Outcome.APPLIED, Outcome.IGNORED, Outcome.PARKED}


@pytest.mark.parametrize(("calls", "size", "part"), [(0, 0, 0.0), (2, 0, 0.5), (4, 10, 1.0), (1, 90, 0.9)])
def test_a_source_is_as_full_as_the_nearer_of_its_two_limits(calls: int, size: int, part: float) -> None:
    parking = Parking(per_source=32, bytes_per_source=800, partitions=8)

    assert parking.fullness(Filled(calls, size)) == part
    assert parking.has_room(Filled(calls, size))
