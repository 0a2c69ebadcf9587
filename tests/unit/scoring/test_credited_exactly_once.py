"""Whatever is said of users and accounts, in whatever order, however often and through whatever restarts: each call counts exactly once."""

from collections.abc import Callable
from typing import Any

import msgspec
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.partitions import Place
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scoring.accounts import envelope
from tests.unit.scoring.town import Town

USERS = ("u1", "u2", "u3", "dev")
ACCOUNTS = ("acme", "beta", "corp")


def unresolved(call: Envelope, **changed: Any) -> Envelope:
    return msgspec.structs.replace(call, account=None, **changed)


@st.composite
def calls(draw: st.DrawFn) -> list[Envelope]:
    """Calls of users, and calls that say whose they are; those with an account come only as group calls."""
    found: list[Envelope] = []
    for number in range(draw(st.integers(1, 25))):
        name, day, user = f"c{number}", number / 100, draw(st.sampled_from(USERS))
        match draw(st.integers(0, 9)):
            case 0 | 1:
                left = draw(st.booleans())
                joined = envelope(name, day, user=user, kind="group", traits={"left": True} if left else {})
                found.append(msgspec.structs.replace(joined, account=draw(st.sampled_from(ACCOUNTS))))
            case 2:
                older = draw(st.sampled_from([other for other in USERS if other != user]))
                found.append(unresolved(envelope(name, day, user=user, kind="alias", previousId=older, userId=user)))
            case 3:
                found.append(unresolved(envelope(name, day, user=user, kind="identify", traits={}), anonymous="dev"))
            case 4:
                found.append(unresolved(envelope(name, day, user=None), anonymous="dev"))
            case _:
                found.append(unresolved(envelope(name, day, user=user)))
    return found


def at_random(data: st.DataObject, town: Town) -> Callable[[list[Place]], tuple[Place, int]]:
    def choose(places: list[Place]) -> tuple[Place, int]:
        if data.draw(st.integers(0, 9)) == 0:
            town.restart()
        return data.draw(st.sampled_from(places)), data.draw(st.sampled_from([1, 2, 1000]))

    return choose


@given(calls(), st.data())
@settings(max_examples=80)
def test_each_distinct_call_is_credited_once_or_waits_once(sent: list[Envelope], data: st.DataObject) -> None:
    town = Town()
    town.put(data.draw(st.permutations([*sent, *sent[::2]])))

    town.run(at_random(data, town))

    waiting = town.waiting()
    assert town.applied + len(waiting) == len(sent)
    assert len({call.id for call in waiting}) == len(waiting)
    for row in town.parked.values():
        known = town.links.get(row.subject)
        assert known is None or (known.alias is None and known.account is None)


@given(st.data())
@settings(max_examples=25)
def test_calls_that_came_before_any_link_are_credited_whatever_order_the_links_take(data: st.DataObject) -> None:
    early = [unresolved(envelope(f"e{n}", n / 100, user=user)) for n, user in enumerate(USERS)]
    joined = [envelope(f"g{n}", 0.5, user=user, kind="group", traits={}) for n, user in enumerate(USERS)]
    town = Town()
    town.put(early)
    town.run()
    parked = len(town.parked)
    town.put(data.draw(st.permutations(joined)))

    town.run(at_random(data, town))

    assert parked == len(USERS)
    assert town.parked == {}
    assert town.states["acme"].events_total == 2 * len(USERS)
