"""Scoring's HTTP: who may ask, what is answered, pages, and commands that reach the score by the log."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from churnsignal_common.runtime.tokens import hash_token

from tests.support.nursery import nursery
from tests.support.plant import Hands, at, group, open_plant, track
from tests.support.stack import Stack, service

DAY = 20_000
KEI = "kei@example.com"


@pytest.fixture(scope="module")
def world(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A running scoring process with two tokens and five accounts; the tests read, or change accounts of their own."""
    folder, prefix = tmp_path_factory.mktemp("api"), f"api{os.getpid()}."
    hands, tokens = Hands(folder / "clock.json"), folder / "tokens.toml"
    hands.set(DAY)
    tokens.write_text(
        f'[reader]\nrole = "reader"\nsha256 = "{hash_token("read")}"\n[kei]\nrole = "csm"\nsha256 = "{hash_token("csm")}"\n[ops]\nrole = "operator"\nsha256 = "{hash_token("ops")}"\n'
    )
    url = stack.create_database("scoring")
    world = stack.env(url, prefix, CHURNSIGNAL_CLOCK=hands.spec, CHURNSIGNAL_TOKENS_FILE=str(tokens))
    stack.apply_topics(world)
    with service("scoring", world, folder) as process:
        asyncio.run(fill(world))
        yield world | {"URL": process.url}
    stack.drop_database(url)
    stack.drop_topics(prefix)


def client(world: dict[str, str], token: str = "read") -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.AsyncClient(base_url=world["URL"], headers=headers, timeout=10)


async def fill(world: dict[str, str]) -> None:
    async with open_plant(world) as plant:
        for number in range(5):
            name = f"a{number}"
            await plant.put([group(name, "u", at(DAY, 8), f"g{number}", name=f"Account {number}", arr=1000 * number, owner=KEI)])
            await plant.put([track(name, "Opened Report", at(DAY, 9), f"{name}{n}", user=f"u{n}") for n in range(3)])
        await plant.put([track("a3", "Payment Failed", at(DAY, 10), "p"), track(None, "x", at(DAY, 10), "stranger", user="nobody")])
        await plant.drained()


async def get(world: dict[str, str], path: str, **query: Any) -> Any:
    async with client(world) as http:
        answer = await http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.mark.asyncio
async def test_accounts_are_listed_page_by_page_filtered_and_ordered(world: dict[str, str]) -> None:
    first = await get(world, "/v1/accounts", order="account", owner=KEI, limit=2)
    second = await get(world, "/v1/accounts", order="account", owner=KEI, limit=2, cursor=first["next_cursor"])
    third = await get(world, "/v1/accounts", order="account", owner=KEI, limit=2, cursor=second["next_cursor"])
    red = await get(world, "/v1/accounts", band="red")
    rich = await get(world, "/v1/accounts", order="arr", owner=KEI, limit=3)
    more = await get(world, "/v1/accounts", order="arr", owner=KEI, limit=3, cursor=rich["next_cursor"])

    assert [row["account"] for page in (first, second, third) for row in page["items"]] == [f"a{n}" for n in range(5)]
    assert third["next_cursor"] is None
    # Another test may have put `hand` into red by hand.
    assert {row["account"] for row in red["items"]} - {"hand"} == {"a3"}
    assert [row["account"] for page in (rich, more) for row in page["items"]] == ["a4", "a3", "a2", "a1", "a0"]
    assert len((await get(world, "/v1/accounts", owner=KEI))["items"]) == 5
    assert (await get(world, "/v1/accounts", owner="someone"))["items"] == []


@pytest.mark.asyncio
async def test_one_account_says_why(world: dict[str, str]) -> None:
    account = await get(world, "/v1/accounts/a3")

    assert (account["band"], account["knockout"], account["profile"]["name"]) == ("red", "payment_failed", "Account 3")
    assert account["drivers"]
    assert [change["to_band"] for change in account["changes"]] == ["red"]
    assert (await get(world, "/v1/accounts/a3/history")) == {"items": [], "next_cursor": None}
    assert (await get(world, "/v1/unresolved"))["items"] == [{"source": "web", "subject": "nobody", "calls": 1, "since": "2024-10-04"}]


@pytest.mark.asyncio
async def test_an_override_shows_at_once_beside_what_is_computed_and_so_does_its_end(world: dict[str, str]) -> None:
    body = {"band": "green", "reason": "They pay tomorrow", "expires_at": at(DAY + 30).isoformat()}
    async with open_plant(world) as plant, client(world, "csm") as http:
        await plant.put([track("hand", "Payment Failed", at(DAY, 10), "hand-p")])
        await plant.drained()
        given = await http.put("/v1/accounts/hand/override", json=body)
        await plant.drained()
        shown = await get(world, "/v1/accounts/hand")
        # Of two words of one moment neither is the later one.
        Hands(Path(world["CHURNSIGNAL_CLOCK"].removeprefix("file:"))).set(DAY, 12.01)
        ended = await http.delete("/v1/accounts/hand/override")
        await plant.drained()

    after = await get(world, "/v1/accounts/hand")
    assert (given.status_code, ended.status_code) == (202, 202)
    assert (shown["band"], shown["computed_band"], shown["knockout"]) == ("green", "red", "override")
    told = shown["override"]
    assert (told["band"], told["reason"], told["author"], told["disagrees"]) == ("green", "They pay tomorrow", "kei", True)
    assert [(change["to_band"], change["cause"]) for change in after["changes"]] == [("red", "event"), ("green", "event"), ("red", "event")]
    assert (after["band"], after["override"]) == ("red", None)


@pytest.mark.asyncio
async def test_what_became_of_an_account_is_kept_with_who_said_it_and_why(world: dict[str, str]) -> None:
    async with open_plant(world) as plant, client(world, "csm") as http:
        await plant.put([track("told", "Opened Report", at(DAY, 9), "told-1", user="u")])
        await plant.drained()
        sent = [
            await http.post("/v1/accounts/told/outcome", json={"outcome": outcome, "note": note})
            for outcome, note in (("downgraded", "予算削減のため"), ("churned", ""))
        ]
        await plant.drained()

    found = (await get(world, "/v1/accounts/told/outcomes"))["items"]
    assert [answer.status_code for answer in sent] == [202, 202]
    assert {row["id"] for row in found} == {answer.json()["id"] for answer in sent}
    assert {(row["outcome"], row["note"], row["author"]) for row in found} == {
        ("downgraded", "予算削減のため", "kei"),
        ("churned", "", "kei"),
    }


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("token", "method", "path", "body", "status"),
    [
        ("", "GET", "/v1/accounts", None, 401),
        ("wrong", "GET", "/v1/accounts", None, 401),
        ("read", "PUT", "/v1/accounts/a1/override", {"band": "red", "reason": "x", "expires_at": "2030-01-01T00:00:00Z"}, 403),
        ("read", "GET", "/v1/accounts/none", None, 404),
        ("read", "GET", "/v1/accounts?cursor=zzz", None, 400),
        ("read", "GET", "/v1/accounts?band=purple", None, 422),
        ("csm", "POST", "/v1/accounts/none/outcome", {"outcome": "churned"}, 404),
        ("csm", "PUT", "/v1/accounts/none/override", {"band": "red", "reason": "x", "expires_at": "2030-01-01T00:00:00"}, 422),
        ("csm", "PUT", "/v1/accounts/a1/override", {"band": "red", "reason": "x", "expires_at": "2020-01-01T00:00:00Z"}, 422),
        ("csm", "PUT", "/v1/accounts/a1/override", {"band": "red", "reason": "x", "expires_at": "9999-12-31T23:59:59-05:00"}, 422),
        ("read", "GET", "/v1/accounts/none/explain", None, 404),
        ("read", "GET", "/v1/accounts/a1/explain?at=2001-01-01", None, 404),
        ("csm", "POST", "/v1/accounts/a1/outcome", {"outcome": "churned", "note": "a\0b"}, 422),
        ("read", "GET", "/v1/accounts/a1/explain?at=soon", None, 422),
    ],
)
async def test_a_refusal_is_a_problem_that_says_what_to_do(
    world: dict[str, str], token: str, method: str, path: str, body: Any, status: int
) -> None:
    async with client(world, token) as http:
        answer = await http.request(method, path, json=body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.asyncio
async def test_probes_name_what_they_depend_on_and_metrics_count(world: dict[str, str]) -> None:
    ready = await get(world, "/readyz")
    async with client(world) as http:
        metrics = (await http.get("/metrics")).text

    assert [d["name"] for d in ready["dependencies"]] == ["kafka", "postgres", "consumer"]
    assert 'churnsignal_scoring_risk_changes_total{cause="event",to="red"}' in metrics
    for name in (
        "scoring_events_total",
        "scoring_event_to_score_seconds",
        "scoring_lag_events",
        "scoring_batch_seconds",
        "pipeline_unaccounted",
    ):
        assert f"churnsignal_{name}" in metrics


@pytest.mark.asyncio
async def test_an_account_is_merged_by_an_operator_and_only_where_it_makes_sense(world: dict[str, str]) -> None:
    async with open_plant(world) as plant:
        await plant.put([track(name, "Opened Report", at(DAY), f"m{name}", user="u") for name in ("merge-a", "merge-b", "merge-c")])
        await plant.drained()
        async with client(world, "csm") as http:
            refused = await http.post("/v1/accounts/merge-a/merge", json={"into": "merge-b"})
        async with client(world, "ops") as http:
            missing = await http.post("/v1/accounts/merge-a/merge", json={"into": "nowhere"})
            itself = await http.post("/v1/accounts/merge-a/merge", json={"into": "merge-a"})
            done = await http.post("/v1/accounts/merge-a/merge", json={"into": "merge-b"})
            await plant.drained()
            again = await http.post("/v1/accounts/merge-a/merge", json={"into": "merge-c"})
            into_it = await http.post("/v1/accounts/merge-c/merge", json={"into": "merge-a"})
            edited = await http.patch("/v1/accounts/merge-a/profile", json={"plan": "pro"})

    assert [answer.status_code for answer in (refused, missing, itself, done, again, into_it, edited)] == [
        403,
        404,
        422,
        202,
        409,
        409,
        409,
    ]
    assert (await get(world, "/v1/accounts/merge-b"))["events"] == 2
    assert (await get(world, "/v1/accounts/merge-a"))["profile"]["merged_into"] == "merge-b"


@pytest.mark.asyncio
async def test_contract_data_is_imported_whole_or_not_at_all_and_reaches_the_profile(world: dict[str, str], tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("account_id,arr,renewal_date,csm\nimp-1,77000,2027-03-31,hana\nnobody-yet,5,,\n")
    bad.write_text("account_id,arr\nimp-1,1\nimp-2,many\n")

    async with open_plant(world) as plant:
        await plant.put([group("imp-1", None, at(DAY, 8), "imp", plan="pro")])
        await plant.drained()
    dry = run_command(world, "accounts", "import", str(good), "--dry-run", "--json")
    refused = run_command(world, "accounts", "import", str(bad))
    done = run_command(world, "accounts", "import", str(good), "--json")
    async with open_plant(world) as plant:
        await plant.drained()

    assert (dry[0], json.loads(dry[1])) == (0, {"accounts": 2, "values": 4, "cleared": 0, "unknown": 1, "sent": 0})
    assert refused[:2] == (1, "")
    assert f"{bad}:3: arr: 'many': write a number" in refused[2]
    assert (done[0], json.loads(done[1])["sent"]) == (0, 2)
    profile = (await get(world, "/v1/accounts/imp-1"))["profile"]
    assert (profile["arr"], profile["renewal_on"], profile["owner"], profile["plan"]) == (77000, "2027-03-31", "hana", "pro")
    assert (await get(world, "/v1/accounts/nobody-yet"))["profile"]["arr"] == 5


def run_command(world: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    return nursery().run("scoring", arguments, {name: value for name, value in world.items() if name != "URL"})


@pytest.mark.asyncio
async def test_the_most_at_risk_come_first_and_accounts_without_an_owner_are_listed(world: dict[str, str]) -> None:
    async with open_plant(world) as plant:
        await plant.put([group("lone-1", None, at(DAY, 8), "l1", name="Lone", arr=5, tier="high", renewal_date="2024-11-03")])
        await plant.put([group("lone-2", None, at(DAY, 8), "l2", tier="low", renewal_date="2024-11-03")])
        await plant.put([group("lone-3", None, at(DAY, 8), "l3", tier="high", renewal_date="2024-10-03")])
        await plant.drained()

    listed = (await get(world, "/v1/accounts", owner=KEI))["items"]
    unowned = (await get(world, "/v1/accounts", owner="none", limit=500))["items"]
    renewing = (await get(world, "/v1/accounts", tier="high", renewal_by="2024-12-01"))["items"]

    # a3 is red by a failed payment; of the others, not yet scored, more revenue means more at risk. a0 has none.
    assert [row["account"] for row in listed] == ["a3", "a4", "a2", "a1", "a0"]
    assert [row["at_risk"] for row in listed] == [3001, 2000, 1000, 500, 0]
    assert "lone-1" in {row["account"] for row in unowned}
    assert [row["account"] for row in renewing] == ["lone-1"]
    assert all("owner" not in row["profile"] for row in unowned)


@pytest.mark.asyncio
async def test_it_is_known_whose_account_it_was_since_when(world: dict[str, str]) -> None:
    async with open_plant(world) as plant:
        # In one batch or in several: each change counts.
        for hours in (((8, "kei"), (9, "kei"), (10, "hana")), ((11, None),)):
            await plant.put([group("handed", None, at(DAY, hour), f"h{hour}", owner=owner) for hour, owner in hours])
            await plant.drained()

    found = (await get(world, "/v1/accounts/handed/owners"))["items"]

    times = [at(DAY, hour).isoformat() for hour in (11, 10, 8)]
    assert [(row["owner"], row["since"], row["until"]) for row in found] == [
        (None, times[0], None),
        ("hana", times[1], times[0]),
        ("kei", times[2], times[1]),
    ]


@pytest.mark.asyncio
async def test_a_tree_of_accounts_is_shown_with_what_it_comes_to_and_ends_even_in_a_ring(world: dict[str, str]) -> None:
    async with open_plant(world) as plant:
        for name, parent in (("tree", "leaf"), ("branch", "tree"), ("leaf", "branch"), ("other", "tree")):
            await plant.put([group(name, None, at(DAY, 8), f"t{name}", parent=parent)])
        await plant.drained()

    found = await get(world, "/v1/accounts/tree/tree")

    assert [(node["account"], node["depth"]) for node in found["items"]] == [("tree", 0), ("branch", 1), ("other", 1), ("leaf", 2)]
    assert found["roll_up"] == {"own": None, "worst_child": None, "average_of_children": None, "children": 3, "scored_children": 0}


@pytest.mark.asyncio
async def test_a_profile_is_edited_by_a_person_and_nonsense_is_refused_with_its_place(world: dict[str, str]) -> None:
    async with open_plant(world) as plant:
        await plant.put([group("edited", None, at(DAY, 8), "e1", plan="pro", seats=3)])
        await plant.drained()
        async with client(world, "csm") as http:
            bad = await http.patch("/v1/accounts/edited/profile", json={"arr": "a lot", "colour": "red", "renewal_date": "2027-03-31"})
            empty = await http.patch("/v1/accounts/edited/profile", json={})
            done = await http.patch("/v1/accounts/edited/profile", json={"csm": "kei", "ARR": 1200, "plan": None})
        await plant.drained()

    profile = (await get(world, "/v1/accounts/edited"))["profile"]
    assert [answer.status_code for answer in (bad, empty, done)] == [422, 422, 202]
    assert bad.json()["detail"].split("; ") == [
        "colour: no trait of this name",
        "arr: write a number such as 12000 or 12000.50, without a currency",
    ]
    assert (profile["owner"], profile["arr"], profile.get("plan"), profile["seats"]) == ("kei", 1200, None, 3)
