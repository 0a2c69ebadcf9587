"""A year in simulated time, and a minute in which everything falls: nothing lost, nothing twice, nobody at night."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.hours import ALWAYS
from churnsignal_common.contracts.risk import Band

from tests.support.alerts import NOON, change, setup
from tests.support.alerts_life import Fault, Life
from tests.support.alerts_year import CSMS, Year, live, people

ACCOUNTS = 60


def moves() -> list[tuple[str, datetime, Band]]:
    """Return a year of changes that go up and down, the same in every run. Real ones are the benchmark's."""
    chance = random.Random(11)
    return [
        (f"account-{n}", datetime(2025, 1, 1) + timedelta(days=day), chance.choice(list(Band)))
        for n in range(ACCOUNTS)
        for day in sorted(chance.sample(range(365), 8))
    ]


def slack_down_on_every_ninth_day(channel: Channel, now: datetime) -> str:
    return "busy" if channel is Channel.SLACK and now.timetuple().tm_yday % 9 == 0 else "ok"


def never_down(_channel: Channel, _now: datetime) -> str:
    return "ok"


@pytest.mark.parametrize("fault", [never_down, slack_down_on_every_ninth_day])
def test_in_a_year_nothing_is_lost_or_told_twice_or_at_night(fault: Fault) -> None:
    seen = live(Life(people(), Year.first(), fault), moves()).figures()

    assert seen["episodes"] > ACCOUNTS
    assert (seen["lost"], seen["told_twice"]) == (0, 0)
    if fault is never_down:
        assert seen["outside_hours"] == 0
        assert seen["p95_delay_working_minutes"] <= 20


def test_the_count_of_the_lost_counts_what_no_provider_ever_takes_as_waiting_or_failed_but_never_as_told() -> None:
    life = Life(people(), datetime(2026, 6, 3, tzinfo=UTC), lambda _c, _n: "busy")

    life.change(change(1, profile_account="a", profile_owner="csm1", as_of=life.now))
    life.run_until(life.now + timedelta(days=2))

    assert life.heard == []
    assert [owed.episode for owed in life.silent_falls()] == list(life.episodes) * len(life.owed)


def test_when_500_accounts_turn_red_in_a_minute_each_csm_gets_one_message_and_every_episode_is_in_it() -> None:
    # A Wednesday, an hour before the first of them opens.
    life = Life(people(), datetime(2026, 6, 2, 22, 0, tzinfo=UTC))
    for n in range(500):
        life.change(change(1, profile_account=f"a{n}", profile_owner=f"csm{n % CSMS}", as_of=life.now))

    life.run_until(life.now + timedelta(hours=20))

    assert Counter(heard.recipient for heard in life.heard) == Counter(f"csm{n}" for n in range(CSMS))
    assert {episode for heard in life.heard for episode, _, _ in heard.told} == set(life.episodes)
    assert len(life.episodes) == 500


def test_when_500_accounts_turn_red_within_a_minute_of_work_each_csm_gets_the_first_at_once_and_all_others_in_one_message() -> None:
    awake = [replace(csm, hours=ALWAYS, country=None, away_from=None) for csm in people().directory.csms.values()]
    life = Life(setup(awake), NOON)
    for n in range(500):
        life.now = NOON + n * timedelta(seconds=0.1)
        life.change(change(1, profile_account=f"a{n}", profile_owner=f"csm{n % CSMS}", as_of=life.now))
        life.turn()

    life.run_until(NOON + timedelta(hours=1))

    told = {f"csm{n}": [len(heard.told) for heard in life.heard if heard.recipient == f"csm{n}"] for n in range(CSMS)}
    assert set(map(tuple, told.values())) == {(1, 24)}
    assert max(heard.at for heard in life.heard) <= NOON + timedelta(minutes=2)


def test_when_500_accounts_turn_red_in_one_batch_each_csm_at_work_gets_one_message_at_once() -> None:
    awake = [replace(csm, hours=ALWAYS, country=None, away_from=None) for csm in people().directory.csms.values()]
    life = Life(setup(awake), NOON)
    for n in range(500):
        life.change(change(1, profile_account=f"a{n}", profile_owner=f"csm{n % CSMS}", as_of=life.now))

    life.turn()

    assert {heard.recipient: len(heard.told) for heard in life.heard} == {f"csm{n}": 500 // CSMS for n in range(CSMS)}
    assert len(life.heard) == CSMS
