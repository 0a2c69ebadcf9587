"""One answer for a newcomer: why is this account red, what would make it yellow, and what was it on the 3rd? And two scorecards compared."""

from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from typing import Any

import pytest
from churnsignal_common.contracts.envelope import Envelope, OutcomeRecorded, OverrideSet
from churnsignal_scoring.api import command_envelope
from churnsignal_scoring.shadow import compare
from churnsignal_scoring.versions import Kind
from churnsignal_scoring.why import NothingKnown, Reader

from tests.support.closing import ZONE, Town, open_town
from tests.support.plant import at, group, track
from tests.support.stack import Stack

THIRD = 20_150  # 2025-03-03
CARD = files("churnsignal_scoring.health.config").joinpath("scorecard.yaml").read_text().replace("name: default", "name: strict")
STRICT = CARD.replace("red: {enter: 50, leave: 50, beyond_pauses: 2.5", "red: {enter: 70, leave: 70, beyond_pauses: 0")


@pytest.fixture
def url(stack: Stack) -> Iterator[str]:
    made = stack.create_database("scoring")
    yield made
    stack.drop_database(made)


def used(day: int, *accounts: str) -> list[Envelope]:
    return [track(name, "Opened Report", at(day), f"{name}{day}.{user}", user=user) for name in accounts for user in "abc"]


def reader(town: Town) -> Reader:
    return Reader(town.queries, town.load, town.configs, town.engine)


async def explain(town: Town, account: str, when: Any = None) -> dict[str, Any]:
    asked = reader(town)
    return await asked.explain(account, asked.moment(when), town.clock.now())


@pytest.mark.asyncio
async def test_a_newcomer_learns_from_one_answer_why_it_is_red_what_would_help_and_what_it_was_on_the_third(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise ZeroDivisionError

    async with open_town(url, THIRD - 41) as town:
        await town.batch([group("acme", None, at(THIRD - 40, 8), "g", name="Acme 株式会社")])
        await town.live(*[used(day, "acme") for day in range(THIRD - 40, THIRD)], *[[] for _ in range(22)])
        answer = await explain(town, "acme")
        then = await explain(town, "acme", date(2025, 3, 3))
        with pytest.raises(NothingKnown):
            await explain(town, "acme", date(2025, 1, 1))
        closed = await town.queries.history("acme", None, 100)

        monkeypatch.setattr(town.engine, "explain", cannot)
        failing = await explain(town, "acme")

    # Of an account that cannot be evaluated the last close is told.
    assert failing | {"text": 0, "drivers": 0} == answer | {"text": 0, "drivers": 0}
    text, third = answer["text"], next(day for day in answer["days"] if day["on"] == "2025-03-03")
    assert (answer["band"], sum(driver["contribution"] for driver in answer["drivers"])) == ("red", answer["score"])
    assert text["en"]["headline"].startswith("Acme 株式会社 on Tue, Mar 25, 2025: red, score ")
    assert text["en"]["why"][0] == "No use for 22 days; the usual pause is 1 day."
    assert text["ja"]["why"][0] == "22日間ご利用がありません(普段の間隔は1日)。"
    assert text["en"]["better"][0].endswith("would bring it back to yellow.")
    assert text["ja"]["better"][0].endswith("「注意」に戻ります。")
    assert (
        text["en"]["better"][1]
        == "That has to hold for 14 days in a row, with use on 3 days in the last 14 days (or in its usual pause, if longer)."
    )
    assert (third["band"], third["why"]["ja"] != "") == ("green", True)
    assert [(day["on"], day["band"], day["score"]) for day in answer["days"]] == [(row["on"], row["band"], row["score"]) for row in closed][
        :31
    ]
    assert {row["scorecard"] for row in closed} == {answer["scorecard"]}
    # The day itself, asked for later, with the reasons of that day.
    assert (then["band"], then["score"], then["days"][0]) == ("green", third["score"], third)
    assert sum(driver["contribution"] for driver in then["drivers"]) == then["score"]
    assert then["text"]["en"]["headline"].startswith("Acme 株式会社 on Mon, Mar 3, 2025: green, score ")
    assert then["text"]["en"]["why"] != text["en"]["why"]


@pytest.mark.asyncio
async def test_a_moment_between_closes_is_explained_by_what_happened_then(url: str) -> None:
    hand = OverrideSet(band="green", reason="They pay tomorrow", author="kei", expires_at=at(THIRD + 9))
    async with open_town(url, THIRD - 20) as town:
        await town.live(*[used(day, "acme") for day in range(THIRD - 19, THIRD)])
        await town.batch([track("acme", "Payment Failed", at(THIRD, 1), "p")])
        await town.batch([command_envelope("acme", hand, "o", at(THIRD, 9))])
        await town.live(used(THIRD, "acme"), used(THIRD + 1, "acme"))
        told = [await explain(town, "acme", at(THIRD, hour)) for hour in (0.5, 2, 10)]

    assert [(one["band"], one["computed_band"], one["knockout"]) for one in told] == [
        ("green", "green", None),
        ("red", "red", "payment_failed"),
        ("green", "red", "override"),
    ]
    assert told[1]["text"]["en"]["better"] == ["It stays red while this holds: A payment failed."]
    assert (told[2]["override"]["author"], told[2]["override"]["disagrees"]) == ("kei", True)


@pytest.mark.asyncio
async def test_a_shadow_is_compared_with_the_one_in_force_and_its_bands_are_told_to_nobody(url: str) -> None:
    async with open_town(url, THIRD - 30) as town:
        quiet = [f"quiet{n}" for n in range(3)]
        await town.batch([group(name, None, at(THIRD - 29, 8), f"g{name}", name=name, arr=100 * place) for place, name in enumerate(quiet)])
        await town.live(*[used(day, "busy", *quiet) for day in range(THIRD - 29, THIRD)])
        version = (await town.configs.publish(Kind.SCORECARD, STRICT, "ops", town.clock.now())).version
        await town.configs.activate(Kind.SHADOW, version, None, "ops", town.clock.now())
        await town.live(*[used(day, "busy") for day in range(THIRD, THIRD + 9)])
        await town.batch([command_envelope("quiet1", OutcomeRecorded(outcome="churned", author="kei"), "c", at(THIRD + 9))])
        await town.live(used(THIRD + 9, "busy"))
        shown = await compare(town.queries, town.configs, ZONE, town.clock.now())
        told = {change["to_band"] for name in ("busy", *quiet) for change in await town.queries.changes(name, 20)}
        await town.configs.activate(Kind.SHADOW, None, None, "ops", town.clock.now())
        ended = await town.configs.shadow(town.clock.now())

    assert (shown["scorecard"], shown["since"], shown["as_of"], shown["accounts"]) == (version, "2025-03-03", "2025-03-12", 4)
    assert shown["red"] == {"both": 0, "only_shadow": 3, "only_in_force": 0}
    assert shown["turned_red"] == {"in_force": 0, "shadow": 3}
    assert [(row["account"], row["from"] != "red", row["to"]) for row in shown["only_shadow_red"]] == [
        (name, True, "red") for name in reversed(quiet)
    ]
    assert shown["outcomes"] == [{"outcome": "churned", "accounts": 1, "red_in_force": 0, "red_shadow": 1}]
    assert {(row["in_force"] == "green", row["shadow"]) for row in shown["bands"]} >= {(True, "green")}
    assert "red" not in told
    assert ended is None
