"""One scoring process on real Kafka and Postgres: from calls on the topics to states, scores and published changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from churnsignal_common.contracts.envelope import rejected_decoder

from tests.support.plant import Hands, at, envelope, group, open_plant, track
from tests.support.stack import service

DAY = 20_000


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    """A clock that stands at noon of the first day."""
    clock = Hands(tmp_path / "clock.json")
    clock.set(DAY)
    return clock


@pytest.fixture
def world(told: dict[str, str], hands: Hands) -> dict[str, str]:
    return told | {"CHURNSIGNAL_CLOCK": hands.spec}


@pytest.fixture
def scoring(world: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a running scoring process."""
    with service("scoring", world, tmp_path):
        yield world


@pytest.mark.asyncio
async def test_a_failed_payment_turns_an_account_red_at_once_and_says_why(scoring: dict[str, str]) -> None:
    async with open_plant(scoring) as plant:
        await plant.put([group("acme", "u1", at(DAY, 9), "g1", name="Acme", plan="pro")])
        await plant.put([track("acme", "Opened Report", at(DAY, 10), f"t{n}", user="u1") for n in range(20)])
        await plant.put([track("acme", "Payment Failed", at(DAY, 11), "p1")])
        await plant.drained()
        changes = await plant.changes()

    assert [(c.account.name, c.sequence, c.to_band, c.cause, c.knockout) for c in changes] == [
        ("Acme", 1, "red", "event", "payment_failed")
    ]


@pytest.mark.asyncio
async def test_a_call_counts_once_however_often_it_arrives(scoring: dict[str, str]) -> None:
    call = track("acme", "Opened Report", at(DAY), "same", user="u1")
    other = track("acme", "Something Else", at(DAY), "same", user="u1")

    async with open_plant(scoring) as plant:
        await plant.put([call] * 5)
        await plant.drained()
        await plant.put([call, other])
        await plant.drained()

        assert await plant.outcomes() == {"applied": 1, "duplicate": 5, "conflict": 1}
        assert await plant.value("SELECT events_total FROM scoring.accounts WHERE account = 'acme'") == 1


@pytest.mark.asyncio
async def test_the_calls_of_an_unknown_user_wait_and_are_credited_once_when_the_user_is_linked(scoring: dict[str, str]) -> None:
    async with open_plant(scoring) as plant:
        await plant.put([track(None, "Opened Report", at(DAY, 9), f"t{n}", user="u1") for n in range(7)])
        await plant.drained()
        parked = await plant.outcomes()
        await plant.put([group("acme", "u1", at(DAY, 10), "g1", name="Acme")])
        await plant.drained()
        await plant.put([track(None, "Opened Report", at(DAY, 11), "t7", user="u1")])
        await plant.drained()

        assert parked == {"parked": 7}
        assert await plant.value("SELECT count(*) FROM scoring.parked") == 0
        # 8 calls and the group call applied for the account, the link applied for the user.
        assert await plant.outcomes() == {"moved": 8, "applied": 10}
        assert await plant.value("SELECT (counts->>'use')::int FROM scoring.day_counts WHERE account = 'acme'") == 8


@pytest.mark.asyncio
async def test_an_anonymous_visitor_is_credited_when_identify_names_the_device(scoring: dict[str, str]) -> None:
    body = {"type": "identify", "userId": "u1", "anonymousId": "device", "traits": {"company": {"id": "acme"}}}

    async with open_plant(scoring) as plant:
        await plant.put([track(None, "Viewed Pricing", at(DAY, 8), "a1", anonymous="device")])
        await plant.drained()
        await plant.put([envelope("acme", body, at(DAY, 9), "i1", user="u1", anonymous="device")])
        await plant.drained()

        assert await plant.value("SELECT (counts->>'use')::int FROM scoring.day_counts WHERE account = 'acme'") == 1


@pytest.mark.asyncio
async def test_a_record_that_nobody_can_read_is_published_as_rejected_and_the_next_one_counts(scoring: dict[str, str]) -> None:
    good = track("acme", "Opened Report", at(DAY), "t1", user="u1")

    async with open_plant(scoring) as plant:
        for garbage in (b"\xff\xfe garbage", b"[]", b'{"v":1}', b""):
            await (await plant.put_bytes("usage.events.v1", 3, "x", garbage))
        await plant.put([good])
        await plant.drained()
        rejected = await plant.records("usage.rejected.v1")

        assert await plant.outcomes() == {"dead": 4, "applied": 1}
        assert len(rejected) == 4


@pytest.mark.asyncio
async def test_what_became_of_the_records_adds_up_to_the_offsets(scoring: dict[str, str]) -> None:
    calls = [track(f"a{n % 7}" if n % 3 else None, "Opened Report", at(DAY), f"t{n % 50}", user=f"u{n % 11}") for n in range(200)]

    async with open_plant(scoring) as plant:
        await plant.put(calls)
        await plant.drained()

        unequal = await plant.rows(
            """SELECT p.topic, p.partition, p.next_offset - p.first_offset AS read, coalesce(sum(o.count), 0) AS told
               FROM scoring.v_positions p LEFT JOIN scoring.v_outcomes o USING (topic, partition)
               GROUP BY p.topic, p.partition, p.next_offset, p.first_offset HAVING p.next_offset - p.first_offset <> coalesce(sum(o.count), 0)"""
        )
        assert unequal == []
        assert sum((await plant.outcomes()).values()) >= 200


@pytest.mark.asyncio
async def test_history_loads_without_waking_anybody(scoring: dict[str, str]) -> None:
    async with open_plant(scoring) as plant:
        await plant.put([track("acme", "Opened Report", at(DAY - n), f"t{n}", user="u1", history=True) for n in range(1, 100)])
        await plant.put([track("acme", "Payment Failed", at(DAY - 40), "p1", history=True)])
        await plant.drained()

        assert await plant.outcomes() == {"applied": 100}
        assert await plant.changes() == []


@pytest.mark.asyncio
async def test_an_account_that_falls_silent_turns_red_by_closes_alone(scoring: dict[str, str], hands: Hands) -> None:
    async with open_plant(scoring) as plant:
        for name in ("quiet", "busy"):
            await plant.put(
                [
                    track(name, "Opened Report", at(DAY - n), f"{name}{n}.{user}", user=user, history=True)
                    for n in range(60)
                    for user in "abcd"
                ]
            )
        await plant.drained()
        # Both go on until what was imported has settled; from then on a change is news.
        for day in range(DAY, DAY + 56):
            hands.set(day)
            using = ("quiet", "busy") if day < DAY + 16 else ("busy",)
            await plant.put([track(name, "Opened Report", at(day), f"{name}{day}.{user}", user=user) for name in using for user in "abcd"])
            await plant.drained()
            hands.set(day + 1, 2.2)
            await plant.closed(day)
        await plant.drained()
        bands = {row["account"]: row["band"] for row in await plant.rows("SELECT account, band FROM scoring.accounts")}
        changes = [c for c in await plant.changes() if c.account.account == "quiet"]

    assert bands == {"quiet": "red", "busy": "green"}
    assert [c.sequence for c in changes] == list(range(1, len(changes) + 1))
    assert (changes[-1].to_band, changes[-1].cause) == ("red", "close")


@pytest.mark.asyncio
async def test_a_profile_is_published_when_it_changes(scoring: dict[str, str]) -> None:
    async with open_plant(scoring) as plant:
        await plant.put([group("acme", "u1", at(DAY, 9), "g1", name="Acme", owner="kei@example.com")])
        await plant.drained()
        profiles = await plant.records("accounts.v1")

    assert [b'"owner":"kei@example.com"' in record.value for record in profiles] == [True]


@pytest.mark.asyncio
async def test_an_older_id_brings_its_account_and_its_waiting_calls_to_the_newer_one(scoring: dict[str, str]) -> None:
    async with open_plant(scoring) as plant:
        await plant.put([track(None, "Opened Report", at(DAY, 8), f"w{n}", user=f"new{n}") for n in range(4)])
        await plant.put([track(None, "Opened Report", at(DAY, 8), f"o{n}", user=f"old{n}") for n in range(4)])
        await plant.drained()
        # Both waited; the older ones are known in two cases, the newer ones in the other two.
        await plant.put([group("acme", f"{'old' if n < 2 else 'new'}{n}", at(DAY, 9), f"g{n}") for n in range(4)])
        aliases = [{"type": "alias", "userId": f"new{n}", "previousId": f"old{n}"} for n in range(4)]
        await plant.put([envelope(None, body, at(DAY, 10), f"a{n}", user=body["userId"]) for n, body in enumerate(aliases)])
        await plant.drained()
        await plant.put([track(None, "Opened Report", at(DAY, 11), f"l{n}", user=f"old{n}") for n in range(4)])
        await plant.drained()

        assert await plant.value("SELECT count(*) FROM scoring.parked") == 0
        assert await plant.value("SELECT (counts->>'use')::int FROM scoring.day_counts WHERE account = 'acme'") == 12


@pytest.mark.asyncio
async def test_who_leaves_an_account_is_counted_there_no_more(scoring: dict[str, str]) -> None:
    async with open_plant(scoring) as plant:
        await plant.put([group("acme", "u1", at(DAY, 8), "g1")])
        await plant.drained()
        await plant.put([track(None, "Opened Report", at(DAY, 9), "t1", user="u1")])
        await plant.drained()
        await plant.put([group("acme", "u1", at(DAY, 10), "g2", left=True)])
        await plant.drained()
        await plant.put([track(None, "Opened Report", at(DAY, 11), "t2", user="u1")])
        await plant.drained()

        assert await plant.value("SELECT (counts->>'use')::int FROM scoring.day_counts WHERE account = 'acme'") == 1
        assert await plant.value("SELECT count(*) FROM scoring.parked") == 1


@pytest.mark.asyncio
async def test_strangers_beyond_the_room_are_rejected_with_their_place_and_reason(world: dict[str, str], tmp_path: Path) -> None:
    with service("scoring", world | {"CHURNSIGNAL_PARKED_PER_SOURCE": "16"}, tmp_path):
        async with open_plant(world) as plant:
            await plant.put([track(None, "Opened Report", at(DAY), f"t{n}", user="u1") for n in range(7)])
            await plant.drained()
            rejected = [rejected_decoder.decode(record.value) for record in await plant.records("usage.rejected.v1")]

            assert await plant.outcomes() == {"parked": 2, "dead": 5}
    assert {(one.reason, one.topic, one.source) for one in rejected} == {("parking_full", "usage.unresolved.v1", "web")}
    assert len({one.offset for one in rejected}) == 5
