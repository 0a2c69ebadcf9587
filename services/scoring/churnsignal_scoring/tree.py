"""Pure. A company in many accounts: what its parts come to, as of the last day that all of them have closed."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Node(NamedTuple):
    """One account of a tree; `depth` 0 is the account asked about. No score: grey on that day, or younger than it."""

    account: str
    name: str | None
    parent: str | None
    depth: int
    score: int | None
    band: str | None


def roll_up(nodes: Sequence[Node]) -> dict[str, Any]:
    """Return the account's own score, the worst and the average of those below it; without any below that have one, its own stands in."""
    own, below = nodes[0], nodes[1:]
    scored = [(node.score, node.account) for node in below if node.score is not None]
    worst = min(scored, default=None)
    return {
        "own": own.score,
        "worst_child": None if worst is None else {"account": worst[1], "score": worst[0]},
        "average_of_children": own.score if not scored else sum(score for score, _ in scored) // len(scored),
        "children": len(below),
        "scored_children": len(scored),
    }
