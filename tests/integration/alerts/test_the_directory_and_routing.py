"""CSMs and the routing document, by API and by command line."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from churnsignal_devstack.problems import StackProblem

from tests.support.alerts_world import World
from tests.support.nursery import nursery
from tests.support.stack import run

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_csm_can_be_added_read_listed_and_removed(world: World) -> None:
    await world.csm("ines", locale="ja", zone="Asia/Tokyo", country="JP", hours="09:30-18:00", workdays="mon-thu")

    one = (await world.http.get("/v1/csms/ines")).json()
    page = (await world.http.get("/v1/csms", params={"limit": 1})).json()
    gone = await world.http.delete("/v1/csms/ines")

    assert (one["hours"], one["workdays"], one["zone"], one["locale"]) == ("09:30-18:00", "mon,tue,wed,thu", "Asia/Tokyo", "ja")
    assert len(page["items"]) == 1
    assert (
        gone.status_code,
        (await world.http.get("/v1/csms/ines")).status_code,
        (await world.http.delete("/v1/csms/ines")).status_code,
    ) == (204, 404, 404)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"zone": "Mars"}, "IANA"), ({"email": "a@b.c, d@e.f"}, "email"), ({"hours": "9-5"}, "09:00-18:00"), ({"email": None, "slack": None}, "email or a slack"),
     ({"country": "XX"}, "calendar"), ({"color": "red"}, "Extra"), ({"channels": ["pigeon"]}, "channels")],
)  # fmt: skip
async def test_nonsense_about_a_csm_is_refused_with_its_place(world: World, change: dict[str, Any], word: str) -> None:
    answer = await world.http.put("/v1/csms/bad", json={"name": "Bad", "email": "bad@example.com", **change})

    assert answer.status_code == 422
    assert word in answer.json()["detail"]


async def walked(world: World, url: str) -> list[dict[str, Any]]:
    """Return all items of a paged list."""
    items, more = [], ""
    while True:
        answer = (await world.http.get(url + more)).json()
        items += answer["items"]
        if answer["next_cursor"] is None:
            return items
        more = f"&cursor={answer['next_cursor']}"


async def test_lists_are_paged_without_gaps_or_repeats(world: World) -> None:
    await world.csm("pager")
    await world.publish(*(world.change(f"page-{n}", "pager") for n in range(5)))
    for number in range(5):
        await world.applied(f"page-{number}", 1)
    await world.quiet()

    episodes = await walked(world, "/v1/episodes?csm=pager&limit=2")
    deliveries = await walked(world, "/v1/deliveries?limit=1")

    assert sorted(item["account"] for item in episodes) == [f"page-{n}" for n in range(5)]
    assert (
        len({item["id"] for item in deliveries})
        == len(deliveries)
        == await world.database.fetchval("SELECT count(*) FROM alerts.deliveries")
    )
    assert (await world.http.get("/v1/episodes", params={"cursor": "nonsense"})).status_code == 400


async def test_routing_is_replaced_at_once_or_refused_with_line_and_fix(world: World) -> None:
    before = (await world.http.get("/v1/routing")).json()
    pool = "segments:\n  pooled: {email: pool@example.com}\n"

    bad = await world.http.put("/v1/routing", json={"document": "version: 1\ncatch_all:\n  locale: en\n"})
    good = await world.http.put("/v1/routing", json={"document": before["document"].replace("segments: {}\n", pool)})
    told = (await world.http.post("/v1/routing/explain", json={"account": "new", "segment": "pooled"})).json()

    assert (bad.status_code, "routing.yaml:2: catch_all" in bad.json()["detail"]) == (422, True)
    assert (good.status_code, good.json()["version"] > before["version"]) == (200, True)
    assert (told["recipient"], told["ways"]) == ("pool:pooled", [{"channel": "email", "address": "pool@example.com"}])


async def test_a_file_of_csms_is_imported_whole_or_not_at_all(world: World, tmp_path: Path) -> None:
    file = tmp_path / "team.csv"
    file.write_text(
        "id,name,email,locale,zone,hours,channels\nkei,Kei,kei@example.com,ja,Asia/Tokyo,10:00-19:00,email\nbad,Bad,,en,Mars,,\n"
    )
    with pytest.raises(StackProblem, match=r"team\.csv:3: zone: is no IANA zone"):
        run("alerts", ["csms", "import", str(file)], world.told)
    assert (await world.http.get("/v1/csms/kei")).status_code == 404
    file.write_text(file.read_text().replace("bad,Bad,,en,Mars,,\n", ""))

    printed = run("alerts", ["csms", "import", str(file), "--json"], world.told)
    explained = json.loads(run("alerts", ["routes", "explain", "nowhere", "--json"], world.told))

    assert json.loads(printed) == {"imported": 1}
    assert explained["recipient"] == "pool:catch-all"
    await world.until(lambda: world.http.get("/v1/csms/kei"))


async def test_the_check_of_the_configuration_names_line_and_fix(world: World, tmp_path: Path) -> None:
    (tmp_path / "routing.yaml").write_text("version: 1\ncatch_all: {slack: '#x'}\nhours: {zone: Mars}\n")

    with pytest.raises(StackProblem, match=r"routing\.yaml:3: hours\.zone: 'Mars' is no IANA zone"):
        run("alerts", ["check-config"], world.told | {"CHURNSIGNAL_CONFIG_DIR": str(tmp_path)})

    assert "valid" in run("alerts", ["check-config"], world.told)
    (tmp_path / "routing.yaml").write_text("version: 1\ncatch_all: {webhook: 'https://hooks.example.com/'}\n")
    _, _, said = await asyncio.to_thread(nursery().run, "alerts", ["check-config"], world.told | {"CHURNSIGNAL_CONFIG_DIR": str(tmp_path)})
    assert "catch_all has no address on a channel that is configured (email, slack)" in said
    assert "no watchdog" in said


async def test_readiness_names_each_dependency(world: World) -> None:
    answer = await world.http.get("/readyz")

    assert answer.status_code == 200
    assert [d["name"] for d in answer.json()["dependencies"]] == ["kafka", "postgres", "consumer"]
    assert {d["name"] for d in (await world.http.get("/v1/channels")).json()["items"]} == {"slack", "email"}


async def test_accounts_that_nobody_in_the_directory_looks_after_are_listed_with_the_reason(world: World) -> None:
    await world.csm("ursula", email="ursula@example.com")
    await world.csm("gone-u", active=False)
    owners = {"un-1": None, "un-2": "nobody-knows", "un-3": "gone-u", "un-4": "URSULA@example.com", "un-5": "ursula"}
    await world.publish(*(world.change(name, owner) for name, owner in owners.items()))
    for name in owners:
        await world.applied(name, 1)

    found = {row["account"]: row["why"] for row in await walked(world, "/v1/unowned?limit=2") if row["account"].startswith("un-")}

    assert found == {"un-1": "none", "un-2": "unknown", "un-3": "deactivated"}
