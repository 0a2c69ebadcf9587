"""Versions of scorecard and mapping on real services: published, previewed, activated; history keeps its own, people hear one cause."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx2
import pytest
from churnsignal_common.runtime.tokens import hash_token
from churnsignal_devstack.services import run_once

from tests.support.plant import Hands, Plant, at, open_plant, ticks, track
from tests.support.stack import Stack, run, service

DAY = 20_000
CARD = files("churnsignal_scoring.health.config").joinpath("scorecard.yaml").read_text().replace("name: default", "name: strict")
STRICT = CARD.replace("green: {enter: 74, leave: 70}", "green: {enter: 99, leave: 98}").replace(
    "[20, 90.4], [28, 100]", "[20, 90.4], [28, 91]"
)
MAPPING = "name: ours\nsignals:\n- signal: login\n  events: [Opened Report]\n"


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    clock = Hands(tmp_path / "clock.json")
    clock.set(DAY)
    return clock


@pytest.fixture
def world(told: dict[str, str], hands: Hands, tmp_path: Path) -> dict[str, str]:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(
        f'[reader]\nrole = "reader"\nsha256 = "{hash_token("read")}"\n[ops]\nrole = "operator"\nsha256 = "{hash_token("ops")}"\n'
    )
    return told | {"CHURNSIGNAL_CLOCK": hands.spec, "CHURNSIGNAL_TOKENS_FILE": str(tokens)}


def client(url: str, token: str = "ops") -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20)


async def fill(plant: Plant, *names: str) -> None:
    for name in names:
        calls = [track(name, "Opened Report", at(DAY - n), f"{name}{n}.{u}", user=u, history=True) for n in range(1, 60) for u in "ab"]
        await plant.put(calls)
    await plant.drained()


async def close(plant: Plant, hands: Hands, day: int, *names: str) -> None:
    await plant.put([track(name, "Opened Report", at(day), f"{name}{day}.{u}", user=u) for name in names for u in "ab"])
    await plant.drained()
    hands.set(day + 1, 2.2)
    await plant.closed(day)


@pytest.mark.asyncio
async def test_a_scorecard_is_previewed_activated_and_counts_from_the_next_close(
    world: dict[str, str], hands: Hands, tmp_path: Path
) -> None:
    async with open_plant(world) as plant:
        with service("scoring", world, tmp_path) as process:
            await fill(plant, "acme", "bolt")
            await close(plant, hands, DAY, "acme", "bolt")
            hands.set(DAY + 1, 9)
            async with client(process.url) as http:
                shown = (await http.post("/v1/scorecards/preview", content=STRICT)).json()
                version = (await http.post("/v1/scorecards", content=STRICT)).json()["version"]
                done = await http.post(f"/v1/scorecards/{version}/activate")
                listed = (await http.get("/v1/scorecards")).json()["items"]
            await close(plant, hands, DAY + 1, "acme", "bolt")
            await close(plant, hands, DAY + 2, "acme", "bolt")
        history = await plant.rows(
            "SELECT h.account, h.band, r.record->>'scorecard' AS card FROM scoring.score_history h JOIN scoring.day_records r USING (day) "
            "ORDER BY h.day, h.account"
        )
        changes = await plant.changes()

    assert (shown["changes"], shown["to"], shown["accounts"]) == (2, {"yellow": 2}, 2)
    assert shown["summary"] == "2 of 2 accounts change band: 2 to yellow"
    assert [one["account"] for one in shown["examples"]] == ["acme", "bolt"]
    assert done.status_code == 200
    assert (listed[0]["version"], listed[0]["in_force"]) == (version, True)
    assert [row["band"] for row in history] == ["green", "green", "yellow", "yellow", "yellow", "yellow"]
    assert [row["card"] == version for row in history] == [False] * 2 + [True] * 4
    assert {(c.account.account, c.to_band.value, c.cause.value) for c in changes if c.to_band.value == "yellow"} == {
        ("acme", "yellow", "scorecard"),
        ("bolt", "yellow", "scorecard"),
    }


@pytest.mark.asyncio
async def test_a_shadow_is_compared_across_a_restart_alerts_nobody_and_is_recomputed_exactly(
    world: dict[str, str], hands: Hands, tmp_path: Path
) -> None:
    async with open_plant(world) as plant:
        with service("scoring", world, tmp_path) as process:
            await fill(plant, "acme", "bolt")
            await close(plant, hands, DAY, "acme", "bolt")
            async with client(process.url) as http:
                none = await http.get("/v1/scorecards/shadow")
                version = (await http.post("/v1/scorecards", content=STRICT)).json()["version"]
                begun = await http.post(f"/v1/scorecards/{version}/shadow")
            await close(plant, hands, DAY + 1, "acme", "bolt")
            async with client(process.url) as http:
                await http.post("/v1/accounts/bolt/outcome", json={"outcome": "renewed"})
        with service("scoring", world, tmp_path) as process:
            await close(plant, hands, DAY + 2, "acme", "bolt")
            async with client(process.url, "read") as http:
                shown = (await http.get("/v1/scorecards/shadow")).json()
                rows = (await http.get("/v1/accounts")).json()["items"]
            printed = run("scoring", ["scorecard", "shadow"], world)
            proof = json.loads(run_once([str(Path(sys.executable).parent / "churnsignal-verify"), "--from", "beginning", "--json"], world))
            ended = json.loads(run("scoring", ["scorecard", "shadow", "--end", "--json"], world))
            async with client(process.url) as http:
                gone = await http.get("/v1/scorecards/shadow")
        changes = await plant.changes()

    assert (none.status_code, begun.status_code, gone.status_code, ended["summary"]) == (404, 200, 404, "ended")
    assert (shown["scorecard"], shown["since"], shown["as_of"], shown["accounts"]) == (version, "2024-10-05", "2024-10-06", 2)
    assert shown["bands"] == [{"in_force": "green", "shadow": "yellow", "accounts": 2, "arr": 0}]
    assert shown["red"] == {"both": 0, "only_shadow": 0, "only_in_force": 0}
    assert shown["outcomes"] == [{"outcome": "renewed", "accounts": 1, "red_in_force": 0, "red_shadow": 0}]
    assert shown["summary"] in " ".join(printed.split())
    assert {row["band"] for row in rows} == {"green"} == {change.to_band.value for change in changes if change.to_band.value != "grey"}
    assert proof["ok"], proof


@pytest.mark.asyncio
async def test_a_mapping_counts_for_the_calls_received_since_it_takes_effect(world: dict[str, str], hands: Hands, tmp_path: Path) -> None:
    async with open_plant(world) as plant:
        with service("scoring", world, tmp_path) as process:
            await plant.put([track("acme", "Opened Report", at(DAY, 12), "before", user="u")])
            await plant.drained()
            async with client(process.url) as http:
                unknown = (await http.get("/v1/mapping/unknown", params={"days": 1})).json()["items"]
                version = (await http.post("/v1/mappings", content=MAPPING)).json()["version"]
                early = await http.post(f"/v1/mappings/{version}/activate", json={"effective_from": at(DAY, 12).isoformat()})
                await http.post(f"/v1/mappings/{version}/activate", json={"effective_from": at(DAY, 15).isoformat()})
            # In one batch, received before and after; nobody told the consumer that anything has changed.
            await plant.put([track("acme", "Opened Report", at(DAY, hour), f"h{hour}", user="u") for hour in (13, 14, 15, 16)])
            await plant.drained()
        counts = json.loads(await plant.value("SELECT counts::text FROM scoring.day_counts WHERE account = 'acme'"))

    assert [(one["event"], one["calls"], one["rule"]) for one in unknown] == [
        ("Opened Report", 1, "- signal: feature_used:Opened Report\n  events:\n  - Opened Report\n")
    ]
    assert early.status_code == 409
    assert "give a later time" in early.json()["detail"]
    assert (counts["login"], counts["feature_used:Opened Report"], counts["use"]) == (2, 3, 5)


@pytest.mark.asyncio
async def test_a_changed_file_goes_into_force_and_a_wrong_one_does_not(world: dict[str, str], hands: Hands, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "mapping.yaml").write_text("name: first\n")
    in_force = "SELECT version FROM scoring.activations WHERE kind = 'mapping' ORDER BY id DESC LIMIT 1"
    async with open_plant(world) as plant:
        with service("scoring", world | {"CHURNSIGNAL_CONFIG_DIR": str(folder)}, tmp_path) as process:
            await plant.until("SELECT count(*)::int FROM scoring.ownership", 8)
            first = await plant.value(in_force)
            (folder / "mapping.yaml").write_text("name: first\nsignal: []\n")
            async for _ in ticks(30, "the wrong file is told"):
                if "config_file_refused" in process.log.read_text():
                    break
            wrong = await plant.value(in_force)
            (folder / "mapping.yaml").write_text("name: second\n")
            await plant.until("SELECT count(*)::int FROM scoring.activations WHERE kind = 'mapping'", 2)
            second = await plant.value(in_force)
        log = process.log.read_text()

    assert (first == wrong, first.split("-")[0], second.split("-")[0]) == (True, "first", "second")
    assert "mapping.yaml:2: signal: unknown key" in log


@pytest.fixture(scope="module")
def asked(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], str]]:
    """One service for the tests that only ask and are refused."""
    folder, prefix = tmp_path_factory.mktemp("versions"), f"versions{os.getpid()}."
    tokens = folder / "tokens.toml"
    tokens.write_text(f'[kei]\nrole = "csm"\nsha256 = "{hash_token("csm")}"\n[ops]\nrole = "operator"\nsha256 = "{hash_token("ops")}"\n')
    url = stack.create_database("scoring")
    env = stack.env(url, prefix, CHURNSIGNAL_TOKENS_FILE=str(tokens))
    stack.apply_topics(env)
    with service("scoring", env, folder) as process:

        async def owned() -> None:
            async with open_plant(env) as plant:
                await plant.until("SELECT count(*)::int FROM scoring.ownership", 8)

        asyncio.run(owned())
        yield env, process.url
    stack.drop_database(url)
    stack.drop_topics(prefix)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("token", "path", "body", "status", "said"),
    [
        ("csm", "/v1/scorecards", CARD, 403, "operator"),
        (
            "ops",
            "/v1/scorecards",
            CARD.replace("least_age_days: 7", "least_age_days: -7"),
            422,
            "scorecard.yaml:16: evidence.least_age_days",
        ),
        ("ops", "/v1/scorecards/preview", "", 422, "send the scorecard's text"),
        ("ops", "/v1/scorecards/none-1/activate", "", 404, "GET /v1/scorecards"),
        ("ops", "/v1/scorecards/none-1/shadow", "", 404, "GET /v1/scorecards"),
        ("ops", "/v1/mappings", "name: [", 422, "not YAML"),
        ("ops", "/v1/mappings", "\0", 422, "mapping.yaml:1"),
    ],
)
async def test_a_refusal_says_what_to_do(
    asked: tuple[dict[str, str], str], token: str, path: str, body: str, status: int, said: str
) -> None:
    async with client(asked[1], token) as http:
        answer = await http.post(path, content=body)

    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]


def test_the_same_from_a_terminal(asked: tuple[dict[str, str], str], tmp_path: Path) -> None:
    env, _ = asked
    file = tmp_path / "scorecard.yaml"
    file.write_text(STRICT)

    questions = (["scorecard", "validate", str(file)], ["scorecard", "preview", str(file)], ["mapping", "unknown"])
    valid, shown, unknown = (run("scoring", words, env) for words in questions)
    done = json.loads(run("scoring", ["scorecard", "publish", str(file), "--activate", "--json"], env))
    listed = json.loads(run("scoring", ["scorecard", "list", "--json"], env))

    assert valid.strip() == f"ok: {done['version']}"
    assert "none of 0 accounts changes band" in shown
    assert "is named by default-" in unknown
    assert [row["version"] for row in listed if row["in_force"]] == [done["version"]]
