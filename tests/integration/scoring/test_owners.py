"""Who owns a partition writes it, and nobody else: hand-over, zombies, and a restart that goes on where it was."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from churnsignal_common.contracts.envelope import AccountMerged
from churnsignal_scoring.api import command_envelope

from tests.support.plant import Plant, at, group, open_plant, readiness, ticks, track
from tests.support.stack import Service, Stack, service, stack_to_hurt  # noqa: F401 takes the place of `stack`

DAY = 20_000


def calls(name: str, count: int, accounts: int = 20) -> list[Any]:
    return [track(f"a{n % accounts}", "Opened Report", at(DAY), f"{name}{n}", user=f"u{n % 7}") for n in range(count)]


async def applied(plant: Plant) -> int:
    return int(await plant.value("SELECT coalesce(sum(count), 0) FROM scoring.v_outcomes WHERE outcome = 'applied'"))


@pytest.mark.asyncio
async def test_a_restart_goes_on_where_the_last_transaction_ended(told: dict[str, str], tmp_path: Path) -> None:
    async with open_plant(told) as plant:
        with service("scoring", told, tmp_path):
            await plant.put(calls("a", 300))
            await plant.drained()
        await plant.put(calls("b", 300))
        with service("scoring", told, tmp_path):
            await plant.drained()

        assert await plant.outcomes() == {"applied": 600}
        assert await plant.value("SELECT sum(events_total) FROM scoring.accounts") == 600


@pytest.mark.asyncio
async def test_a_process_that_wakes_as_a_zombie_applies_nothing_twice(told: dict[str, str], tmp_path: Path) -> None:
    quick = told | {"CHURNSIGNAL_SESSION_TIMEOUT_S": "2"}
    async with open_plant(told) as plant:
        with service("scoring", quick, tmp_path) as zombie:
            await plant.put(calls("a", 200))
            await plant.drained()
            zombie.freeze()
            other = stack_ports(quick)
            with service("scoring", other, tmp_path):
                await plant.put(calls("b", 400))
                await plant.drained(60)
                assert await plant.value("SELECT min(epoch) FROM scoring.ownership") >= 2, "the partitions moved while it slept"
                zombie.thaw()
                # It may wake in a rebalance, and then rejoins in good order; or in a transaction, and then it must end.
                await plant.put(calls("c", 400))
                await plant.drained(60)

        assert await plant.outcomes() == {"applied": 1000}
        assert await plant.value("SELECT sum(events_total) FROM scoring.accounts") == 1000


def stack_ports(told: dict[str, str]) -> dict[str, str]:
    from churnsignal_devstack.services import free_port_base

    return told | {"CHURNSIGNAL_PORT_BASE": str(free_port_base())}


@pytest.mark.asyncio
async def test_two_processes_of_one_name_end_instead_of_sharing_partitions(told: dict[str, str], tmp_path: Path) -> None:
    named = told | {"CHURNSIGNAL_INSTANCE": "scoring-0"}
    async with open_plant(told) as plant:
        with service("scoring", named, tmp_path) as first, service("scoring", stack_ports(named), tmp_path) as second:
            async for n in numbers(60, "one of the two has ended"):
                await plant.put(calls(f"n{n}.", 20))
                if not (first.is_alive() and second.is_alive()):
                    break
            ended = second if first.is_alive() else first
            survivor = second if ended is first else first
            assert ended.child is not None
            assert ended.child.poll() == 1
            assert "CHURNSIGNAL_INSTANCE" in ended.log.read_text()
            if not survivor.is_alive():
                survivor.start()
            await plant.drained(60)

        read = await plant.value("SELECT sum(next_offset - first_offset) FROM scoring.v_positions")
        assert await plant.outcomes() == {"applied": read}
        assert await plant.value("SELECT sum(events_total) FROM scoring.accounts") == read


async def numbers(patience_s: float, what: str) -> Any:
    n = 0
    async for _ in ticks(patience_s, what):
        yield n
        n += 1


@pytest.mark.asyncio
async def test_a_second_replica_takes_half_and_gives_it_back(told: dict[str, str], tmp_path: Path) -> None:
    async with open_plant(told) as plant:
        with service("scoring", told, tmp_path):
            await plant.put(calls("a", 200))
            with service("scoring", stack_ports(told), tmp_path):
                await plant.until("SELECT count(DISTINCT owner) FROM scoring.ownership", 2)
                await plant.put(calls("b", 200))
                await plant.drained()
            await plant.put(calls("c", 200))
            await plant.until("SELECT count(DISTINCT owner) FROM scoring.ownership", 1)
            await plant.drained()

        assert await plant.outcomes() == {"applied": 600}
        assert await plant.value("SELECT sum(events_total) FROM scoring.accounts") == 600


@pytest.mark.asyncio
async def test_a_missing_topic_is_said_and_not_waited_for_in_silence(stack: Stack, tmp_path: Path) -> None:
    url = stack.create_database("scoring")
    process = Service("scoring", stack.env(url, "nowhere."), tmp_path / "s.log")
    process.launch()
    try:
        status, said = 0, ""
        async for _ in ticks(30, "the process says what is missing"):
            try:
                status, body = await asyncio.to_thread(readiness, process)
            except OSError:
                continue
            said = next(d["reason"] for d in body["dependencies"] if d["name"] == "kafka")
            if "churnsignal-topics apply" in said:
                break
        assert status == 503
        assert "nowhere.usage.events.v1" in said
    finally:
        process.stop(10)
        stack.drop_database(url)


@pytest.mark.asyncio
async def test_other_settings_than_the_data_was_begun_with_are_refused(told: dict[str, str], tmp_path: Path) -> None:
    with service("scoring", told, tmp_path):
        pass
    process = Service("scoring", told | {"CHURNSIGNAL_DAY_ZONE": "Asia/Tokyo"}, tmp_path / "zone.log")
    process.launch()
    async for _ in ticks(60, "the process has ended"):
        if process.child is not None and process.child.poll() is not None:
            break

    assert "begun with UTC" in process.log.read_text()
    assert process.child is not None
    assert process.child.poll() == 1


@pytest.mark.asyncio
async def test_strangers_are_credited_once_though_processes_come_and_go_and_the_user_moves_meanwhile(
    told: dict[str, str], tmp_path: Path
) -> None:
    def strangers(name: str) -> list[Any]:
        return [track(None, "Opened Report", at(DAY), f"{name}{n}", user=f"u{n % 9}") for n in range(90)]

    async with open_plant(told) as plant:
        with service("scoring", told, tmp_path):
            await plant.put(strangers("a"))
            await plant.drained()
        parked = await plant.outcomes()
        with service("scoring", told, tmp_path):
            await plant.put([group("first", f"u{n}", at(DAY, 13), f"f{n}") for n in range(9)])
            await plant.put(strangers("b"))
            # A second replica takes partitions over while links are on their way, and the users move on.
            with service("scoring", stack_ports(told), tmp_path):
                await plant.put([group("second", f"u{n}", at(DAY, 14), f"s{n}") for n in range(9)])
                await plant.put(strangers("c"))
                await plant.drained(60)
            await plant.put(strangers("d"))
            await plant.drained(60)

        used = await plant.rows("SELECT account, sum((counts->>'use')::int)::int AS use FROM scoring.day_counts GROUP BY 1")
        assert parked == {"parked": 90}
        assert await plant.value("SELECT count(*) FROM scoring.parked") == 0
        assert sum(row["use"] for row in used) == 360
        # Whatever comes after both links counts for the later account.
        assert {row["account"]: row["use"] for row in used}["second"] >= 90
        assert (await plant.outcomes()).keys() == {"moved", "applied"}


@pytest.mark.asyncio
async def test_accounts_are_merged_across_partitions_and_processes_and_nothing_counts_twice(told: dict[str, str], tmp_path: Path) -> None:
    # Each old account has users of its own, calls on both lanes, strangers that are linked to it later, and calls that come too late.
    def used(name: str, number: int) -> list[Any]:
        return [
            track(f"old{number}", "Opened Report", at(DAY - n), f"{name}{number}.{n}", user=f"u{n % 3}", history=n % 2 == 1)
            for n in range(20)
        ]

    def merged(number: int) -> Any:
        return command_envelope(f"old{number}", AccountMerged(into=f"new{number}", author="kei"), f"m{number}", at(DAY))

    async with open_plant(told) as plant:
        with service("scoring", told, tmp_path), service("scoring", stack_ports(told), tmp_path):
            await plant.until("SELECT count(DISTINCT owner) FROM scoring.ownership", 2)
            for number in range(6):
                await plant.put([*used("a", number), track(f"new{number}", "Opened Report", at(DAY), f"n{number}", user="u0")])
            await plant.drained()
            for number in range(6):
                await plant.put([merged(number), *used("b", number), *used("a", number)])
        with service("scoring", told, tmp_path):
            for number in range(6):
                await plant.put([track(None, "Opened Report", at(DAY), f"s{number}", user=f"only{number}"), merged(number)])
                await plant.put([group(f"old{number}", f"only{number}", at(DAY), f"g{number}"), *used("c", number)])
            await plant.drained(60)

        rows = await plant.rows(
            """SELECT a.account, events_total, sum((counts->>'use')::int)::int AS use, profile->>'merged_into' AS into_,
                      (SELECT count(DISTINCT user_id) FROM scoring.user_days u WHERE u.account = a.account) AS users
               FROM scoring.accounts a LEFT JOIN scoring.day_counts d USING (account) GROUP BY 1, 2, 4 ORDER BY 1"""
        )
        spread = await plant.value(
            "SELECT count(*) FROM scoring.accounts o JOIN scoring.accounts n ON n.account = o.profile->>'merged_into' WHERE o.partition <> n.partition"
        )
        left = await plant.value("SELECT count(*) FROM scoring.day_counts WHERE account LIKE 'old%'")
        outcomes = await plant.outcomes()

    assert spread > 0
    assert left == 0
    # 60 calls of the old account, the new one's own, the stranger's, and its group call.
    assert [tuple(row) for row in rows if row["account"].startswith("new")] == [(f"new{n}", 63, 62, None, 4) for n in range(6)]
    assert [row["into_"] for row in rows if row["account"].startswith("old")] == [f"new{n}" for n in range(6)]
    assert outcomes.keys() == {"applied", "moved", "duplicate"}
