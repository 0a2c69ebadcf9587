"""Changes of an account in their order: seen ones are ignored, ones after a gap wait."""

from churnsignal_alerts.episodes import NoticeKind
from churnsignal_alerts.gather import MOST, Waiting, gather
from churnsignal_alerts.order import Arrived, Outcome, arrange, give_up
from hypothesis import given
from hypothesis import strategies as st

from tests.support.alerts import change


def arrived(sequence: int, account: str = "acme") -> Arrived:
    return Arrived(change(sequence, profile_account=account), b"", 0)


def numbers(found: list[Arrived]) -> list[int]:
    return [one.change.sequence for one in found]


def test_the_next_one_is_applied() -> None:
    result = arrange([arrived(4), arrived(5)], {"acme": 3}, {})

    assert (numbers(result.ready), result.last, result.outcomes) == ([4, 5], {"acme": 5}, [Outcome.APPLIED] * 2)


def test_seen_ones_are_duplicates_within_a_batch_and_across() -> None:
    result = arrange([arrived(3), arrived(4), arrived(4)], {"acme": 3}, {})

    assert (numbers(result.ready), result.outcomes) == ([4], [Outcome.DUPLICATE, Outcome.APPLIED, Outcome.DUPLICATE])


def test_after_a_gap_a_change_waits_until_the_gap_closes() -> None:
    first = arrange([arrived(5), arrived(6)], {"acme": 3}, {})
    then = arrange([arrived(4)], {"acme": 3}, {"acme": first.waiting})

    assert (numbers(first.ready), numbers(first.waiting), first.outcomes) == ([], [5, 6], [Outcome.HELD] * 2)
    assert (numbers(then.ready), then.last) == ([4, 5, 6], {"acme": 6})


def test_a_gap_that_closes_in_the_same_batch_holds_nothing() -> None:
    result = arrange([arrived(5), arrived(4)], {"acme": 3}, {})

    assert (numbers(result.ready), numbers(result.waiting)) == ([4, 5], [])


def test_an_account_never_seen_may_start_anywhere() -> None:
    assert numbers(arrange([arrived(7)], {}, {}).ready) == [7]


def test_giving_up_applies_what_waits_in_order() -> None:
    result = give_up({"acme": [arrived(9), arrived(7)]})

    assert (numbers(result.ready), result.last) == ([7, 9], {"acme": 9})


@given(st.permutations(list(range(1, 9))), st.integers(0, 8))
def test_any_order_of_arrival_applies_each_once_in_order(order: list[int], cut: int) -> None:
    arrivals = [*order, *order[:cut]]
    seen: dict[str, int] = {"acme": 0}
    held: dict[str, list[Arrived]] = {"acme": []}
    applied: list[int] = []
    for number in arrivals:
        result = arrange([arrived(number)], seen, held)
        applied += numbers(result.ready)
        seen |= result.last
        held["acme"] = [one for one in held["acme"] + result.waiting if one.change.sequence > seen["acme"]]
        assert len(result.outcomes) == 1

    assert applied == list(range(1, 9))
    assert held["acme"] == []


def waiting(*kinds: NoticeKind) -> list[Waiting]:
    return [Waiting(number, kind) for number, kind in enumerate(kinds, 1)]


def test_few_are_sent_one_by_one_and_many_as_one() -> None:
    risk = NoticeKind.RISK

    assert gather(waiting(risk, risk), 3) == [1]
    assert gather(waiting(risk, risk, risk), 3) == [1, 2, 3]
    assert gather(waiting(risk, NoticeKind.SUMMARY, NoticeKind.SUMMARY), 3) == [1]
    assert gather(waiting(NoticeKind.SUMMARY, NoticeKind.DIGEST), 3) == [1, 2]
    assert gather(waiting(risk, NoticeKind.STATE, risk, risk), 3) == [2]


@given(st.lists(st.sampled_from(list(NoticeKind)), min_size=1, max_size=400), st.integers(2, 10))
def test_something_always_leaves_and_never_too_much(kinds: list[NoticeKind], merge_from: int) -> None:
    ids = gather(waiting(*kinds), merge_from)

    assert 1 <= len(ids) <= MOST
    assert len(set(ids)) == len(ids)
