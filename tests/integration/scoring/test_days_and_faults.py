"""Days that close late or on two replicas, records that nobody can process, and disks, clocks and brokers that misbehave."""

import asyncio
import json
import urllib.request
from pathlib import Path

import httpx2
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.risk import Band
from churnsignal_common.kafka.client import Brokers, open_admin
from churnsignal_common.runtime.tokens import hash_token
from churnsignal_devstack.services import free_port_base

from tests.support.plant import Hands, Plant, at, envelope, group, open_plant, readiness, ticks, track
from tests.support.stack import service

DAY = 20_000
TEAM = "abcd"
FULL_DISK = """CREATE FUNCTION scoring.full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON scoring.outcomes EXECUTE FUNCTION scoring.full_disk()"""


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    """A clock that stands at noon of the first day."""
    clock = Hands(tmp_path / "clock.json")
    clock.set(DAY)
    return clock


@pytest.fixture
def world(told: dict[str, str], hands: Hands) -> dict[str, str]:
    return told | {"CHURNSIGNAL_CLOCK": hands.spec}


async def history(plant: Plant, *names: str) -> None:
    for name in names:
        calls = [
            track(name, "Opened Report", at(DAY - n), f"{name}{n}.{u}", user=f"{name}.{u}", history=True)
            for n in range(1, 60)
            for u in TEAM
        ]
        await plant.put([*calls, *(group(name, f"{name}.{u}", at(DAY - 1), f"{name}g{u}") for u in TEAM)])


def failed(name: str, day: int) -> Envelope:
    return envelope(name, {"type": "track", "event": "Payment Failed"}, at(day, 1), f"{name}{day}failed")


def today(name: str, day: int) -> list[Envelope]:
    """Return a day of calls that do not name their account."""
    return [track(None, "Opened Report", at(day, 9 + n), f"{name}{day}.{n}.{u}", user=f"{name}.{u}") for n in range(3) for u in TEAM]


@pytest.mark.asyncio
async def test_a_day_on_which_scoring_was_down_turns_nobody_red_who_was_there(world: dict[str, str], hands: Hands, tmp_path: Path) -> None:
    async with open_plant(world) as plant:
        with service("scoring", world, tmp_path):
            await history(plant, "busy", "also")
            await plant.drained()
            for day in range(DAY, DAY + 4):
                hands.set(day)
                await plant.put([*today("busy", day), *today("also", day)])
                await plant.drained()
                hands.set(day + 1, 2.2)
                await plant.closed(day)
        before = {row["account"]: row["band"] for row in await plant.rows("SELECT account, band FROM scoring.accounts")}
        for day in range(DAY + 4, DAY + 12):
            await plant.put([*today("busy", day), *today("also", day)])
        hands.set(DAY + 12, 9)
        with service("scoring", world, tmp_path):
            for day in range(DAY + 4, DAY + 12):
                await plant.closed(day)
            await plant.drained()
        after = {row["account"]: row["band"] for row in await plant.rows("SELECT account, band FROM scoring.accounts")}
        causes = {row["day"]: row["cause"] for row in await plant.rows("SELECT DISTINCT day, cause FROM scoring.closes")}
        reds = await plant.value("SELECT count(*) FROM scoring.score_history WHERE band = 'red'")

    assert before == after == {"busy": "green", "also": "green"}
    assert reds == 0
    assert causes[DAY + 3] == "close"
    assert {causes[day] for day in range(DAY + 4, DAY + 11)} == {"catch_up"}


@pytest.mark.asyncio
async def test_two_replicas_close_a_day_together_with_one_record(world: dict[str, str], hands: Hands, tmp_path: Path) -> None:
    other = world | {"CHURNSIGNAL_PORT_BASE": str(free_port_base())}
    async with open_plant(world) as plant:
        with service("scoring", world, tmp_path), service("scoring", other, tmp_path):
            await plant.until("SELECT count(DISTINCT owner) FROM scoring.ownership", 2)
            await history(plant, *(f"a{n}" for n in range(6)))
            await plant.drained()
            for day in range(DAY, DAY + 3):
                hands.set(day)
                await plant.put([call for n in range(6) for call in today(f"a{n}", day)])
                if day == DAY + 1:
                    await plant.put([group("a0", "a0.a", at(day), "part", parent="a1"), failed("a0", day)])
                await plant.drained()
                hands.set(day + 1, 2.2)
                await plant.closed(day)
        rows = await plant.rows(
            "SELECT day, (record->'norms'->k->>'accounts')::int AS n FROM scoring.day_records, jsonb_object_keys(record->'norms') k"
        )
        red = await plant.rows("SELECT record->>'red_children' AS red FROM scoring.day_records ORDER BY day")
        closed = await plant.value("SELECT count(*) FROM scoring.score_history")

    assert partition_of("a0", 8) != partition_of("a1", 8)
    assert [json.loads(row["red"]) for row in red] == [{}, {"a1": 1}, {"a1": 1}]
    assert [(row["day"], row["n"]) for row in rows] == [(day, 6) for day in range(DAY, DAY + 3)]
    assert closed == 18


@pytest.mark.asyncio
async def test_a_silent_source_freezes_its_accounts_is_shown_and_may_be_retired(
    world: dict[str, str], hands: Hands, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f'[ops]\nrole = "operator"\nsha256 = "{hash_token("ops")}"\n')
    told = world | {"CHURNSIGNAL_TOKENS_FILE": str(tokens)}
    async with open_plant(world) as plant:
        with service("scoring", told, tmp_path) as process:
            for day in range(DAY, DAY + 14):
                await plant.put(
                    [track("busy", "Opened Report", at(day, 8 + n), f"{day}.{n}", user=f"u{n % 4}") for n in range(15) for _ in "12"]
                )
                await plant.put([track("also", "Opened Report", at(day, 8 + n), f"also{day}.{n}", user=f"v{n % 4}") for n in range(15)])
            await plant.drained()
            hands.set(DAY + 15, 2.2)
            await plant.closed(DAY + 14)
            async with httpx2.AsyncClient(base_url=process.url, headers={"Authorization": "Bearer ops"}, timeout=10) as http:
                [shown] = (await http.get("/v1/sources")).json()["items"]
                account = (await http.get("/v1/accounts/busy")).json()
                stranger = await http.put("/v1/sources/nobody/retired")
                retired = await http.put(f"/v1/sources/{shown['source']}/retired")
            hands.set(DAY + 16, 2.2)
            await plant.closed(DAY + 15)
            async with httpx2.AsyncClient(base_url=process.url, headers={"Authorization": "Bearer ops"}, timeout=10) as http:
                [after] = (await http.get("/v1/sources")).json()["items"]
                thawed = (await http.get("/v1/accounts/busy")).json()
        profiles = [json.loads(record.value) for record in await plant.records("accounts.v1")]

    assert (shown["state"], shown["usual"], shown["events"], shown["frozen_accounts"]) == ("silent", 30, 0, 2)
    assert (account["held"], account["held_by"][0]["en"][:12]) == ("frozen", "No data from")
    assert (stranger.status_code, retired.status_code) == (404, 200)
    assert (after["state"], after["retired_by"], thawed["held"]) == ("retired", "ops", None)
    assert [bool(profile.get("silent_sources")) for profile in profiles if profile["account"] == "busy"] == [True, False]


@pytest.mark.asyncio
async def test_a_day_does_not_wait_for_ever_for_a_replica_that_hangs(world: dict[str, str], hands: Hands, tmp_path: Path) -> None:
    patient = world | {"CHURNSIGNAL_CLOSE_PATIENCE_S": "1", "CHURNSIGNAL_SESSION_TIMEOUT_S": "30"}
    other = patient | {"CHURNSIGNAL_PORT_BASE": str(free_port_base())}
    async with open_plant(world) as plant:
        with service("scoring", patient, tmp_path) as first, service("scoring", other, tmp_path) as second:
            await plant.until("SELECT count(DISTINCT owner) FROM scoring.ownership", 2)
            await history(plant, *(f"a{n}" for n in range(6)))
            await plant.drained()
            head = await plant.value("SELECT owner FROM scoring.ownership WHERE partition = 0")
            hung = second if head.endswith(f":{first.child.pid}") else first  # type: ignore[union-attr] # both run
            hung.freeze()
            hands.set(DAY + 1, 2.2)
            await plant.until("SELECT count(*) FROM scoring.v_closes WHERE done", 4)
            left_out = await plant.value("SELECT record->'left_out' FROM scoring.day_records")
            hung.thaw()
            await plant.closed(DAY)
        closed = await plant.value("SELECT count(*) FROM scoring.score_history")

    assert len(json.loads(left_out)) == 4
    assert closed == 6


@pytest.mark.asyncio
async def test_a_record_that_makes_scoring_fail_is_buried_and_the_others_count(world: dict[str, str], tmp_path: Path) -> None:
    partition = partition_of("acme", 8)
    # A time without a zone: no ingest writes that, and no comparison survives it.
    bad = b'{"id":"bad","source":"web","account":"acme","occurred_at":"2024-10-04T12:00:00","received_at":"2024-10-04T12:00:00Z","call":{"type":"track","event":"x"}}'
    async with open_plant(world) as plant:
        with service("scoring", world, tmp_path) as process:
            await plant.put([track("acme", "Opened Report", at(DAY), f"t{n}", user="u") for n in range(5)])
            await (await plant.put_bytes("usage.events.v1", partition, "acme", bad))
            await plant.put([track("acme", "Opened Report", at(DAY), f"s{n}", user="u") for n in range(5)])
            await plant.drained()
            log = process.log.read_text()
        rejected = await plant.records("usage.rejected.v1")

        assert await plant.outcomes() == {"applied": 10, "dead": 1}
        assert await plant.value("SELECT events_total FROM scoring.accounts") == 10
    assert "record_buried" in log
    assert [b'"unprocessable"' in record.value for record in rejected] == [True]


@pytest.mark.asyncio
async def test_nothing_but_garbage_brakes_the_partition_and_shows(world: dict[str, str], tmp_path: Path) -> None:
    partition = partition_of("acme", 8)
    async with open_plant(world) as plant:
        with service("scoring", world | {"CHURNSIGNAL_POISON_BRAKE": "3"}, tmp_path) as process:
            for _ in range(3):
                await (await plant.put_bytes("usage.events.v1", partition, "acme", b"garbage"))
            await plant.drained()
            await plant.put(
                [track("acme", "Opened Report", at(DAY), "held", user="u"), track("other", "Opened Report", at(DAY), "free", user="u")]
            )
            await plant.until("SELECT count(*)::int FROM scoring.accounts", 1)
            url = f"{process.url}/metrics"
            shown = (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()

            assert await plant.value("SELECT account FROM scoring.accounts") == "other"
    assert f'churnsignal_scoring_partition_braked{{partition="{partition}"}} 1.0' in shown


@pytest.mark.asyncio
async def test_an_account_touched_while_its_day_closes_is_closed_first(world: dict[str, str], hands: Hands, tmp_path: Path) -> None:
    quick = world | {"CHURNSIGNAL_CRASH_AT": "scoring.close_before_chunk:1"}
    async with open_plant(world) as plant:
        with service("scoring", world, tmp_path):
            await history(plant, "acme")
            await plant.drained()
        hands.set(DAY + 1, 2.2)
        with service("scoring", quick, tmp_path) as process:
            async for _ in ticks(30, "the process died at its crash point"):
                if not process.is_alive():
                    break
        hands.set(DAY + 1, 9)
        await plant.put([failed("acme", DAY + 1)])
        with service("scoring", world, tmp_path):
            await plant.closed(DAY)
            await plant.drained()
        closed = await plant.rows("SELECT day, band FROM scoring.score_history")
        band = await plant.value("SELECT band FROM scoring.accounts")

    assert [(row["day"], row["band"]) for row in closed] == [(DAY, "green")]
    assert band == "red"


@pytest.mark.asyncio
async def test_a_full_disk_of_postgres_is_said_and_waited_for(world: dict[str, str], tmp_path: Path) -> None:
    async with open_plant(world) as plant:
        with service("scoring", world, tmp_path) as process:
            await plant.database.execute(FULL_DISK)
            await plant.put(today("acme", DAY))
            await plant.put([track("acme", "Opened Report", at(DAY), f"t{n}", user="u") for n in range(9)])
            async for _ in ticks(20, "readyz names postgres"):
                status, body = await asyncio.to_thread(readiness, process)
                if status == 503 and "postgres" in body["status"]:
                    break
            full = await plant.outcomes()
            await plant.database.execute("DROP TRIGGER full_disk ON scoring.outcomes")
            await plant.drained()
            assert process.is_alive()

        assert full == {}
        assert await plant.outcomes() == {"applied": 9, "parked": 12}
    assert "DiskFullError" in process.log.read_text()


@pytest.mark.asyncio
async def test_a_clock_that_is_set_back_closes_no_day_and_tells_nobody_twice(world: dict[str, str], hands: Hands, tmp_path: Path) -> None:
    async with open_plant(world) as plant:
        with service("scoring", world, tmp_path):
            await history(plant, "acme")
            await plant.put(today("acme", DAY))
            await plant.drained()
            hands.set(DAY + 1, 2.2)
            await plant.closed(DAY)
            hands.set(DAY - 1, 23)
            await plant.put([*today("acme", DAY + 1), failed("acme", DAY + 1)])
            await plant.drained()
            for hour in (2.1, 2.2):
                hands.set(DAY + 1, hour)
                await asyncio.sleep(0.2)  # time to do what should not be done
            hands.set(DAY + 2, 2.2)
            await plant.closed(DAY + 1)
        closed = await plant.rows("SELECT day, band FROM scoring.score_history ORDER BY day")
        changes = await plant.changes()

    assert [(row["day"], row["band"]) for row in closed] == [(DAY, "green"), (DAY + 1, "red")]
    assert [change.to_band for change in changes if change.from_band is not change.to_band] == [Band.GREEN, Band.RED]
    assert [change.sequence for change in changes] == list(range(1, len(changes) + 1))


@pytest.mark.asyncio
async def test_what_kafka_deleted_unread_is_counted_and_said_and_holds_no_day_open(
    world: dict[str, str], hands: Hands, tmp_path: Path
) -> None:
    some, all_of_it = (
        TopicPartition(f"{world['CHURNSIGNAL_TOPIC_PREFIX']}usage.events.v1", partition_of(name, 8)) for name in ("acme", "globex")
    )
    async with open_plant(world) as plant:
        with service("scoring", world, tmp_path):
            await plant.put(
                [track(name, "Opened Report", at(DAY), f"{name}{n}", user="u") for n in range(5) for name in ("acme", "globex")]
            )
            await plant.drained()
        await plant.put(
            [track(name, "Opened Report", at(DAY), f"{name}{n}", user="u") for n in range(5, 35) for name in ("acme", "globex")]
        )
        async with open_admin(Brokers(world["KAFKA_BOOTSTRAP_SERVERS"], {}), "test") as admin:
            await admin.delete_records({some: RecordsToDelete(25), all_of_it: RecordsToDelete(35)})
        with service("scoring", world, tmp_path) as process:
            await plant.drained()
            hands.set(DAY + 1, 2.2)
            await plant.closed(DAY)
            shown = (await asyncio.to_thread(urllib.request.urlopen, f"{process.url}/metrics")).read().decode()
        lost = await plant.rows("SELECT partition, count FROM scoring.v_outcomes WHERE reason = 'lost_by_broker'")

        assert await plant.outcomes() == {"applied": 20, "dead": 50}
    assert some != all_of_it
    assert {row["partition"]: row["count"] for row in lost} == {some.partition: 20, all_of_it.partition: 30}
    assert "churnsignal_scoring_lost_records_total 50.0" in shown
    assert process.log.read_text().count("records_lost") == 2


@pytest.mark.asyncio
async def test_others_get_on_beside_one_account_with_nine_tenths_of_the_calls(world: dict[str, str], tmp_path: Path) -> None:
    others = [f"o{n}" for n in range(20) if partition_of(f"o{n}", 8) != partition_of("hot", 8)]
    async with open_plant(world) as plant:
        await plant.put([track("hot", "Opened Report", at(DAY), f"h{n}", user=f"u{n}") for n in range(9_000)])
        await plant.put([track(others[n % len(others)], "Opened Report", at(DAY), f"o{n}", user="u") for n in range(1_000)])
        with service("scoring", world | {"CHURNSIGNAL_BATCH_RECORDS": "200"}, tmp_path):
            await plant.until("SELECT sum(events_total)::int FROM scoring.accounts WHERE account <> 'hot'", 1_000)
            meanwhile = await plant.value("SELECT events_total FROM scoring.accounts WHERE account = 'hot'")
            await plant.drained()
        users = await plant.value("SELECT count(*) FROM scoring.user_days WHERE account = 'hot'")

    assert 0 < meanwhile < 6_000
    assert users == 9_000
