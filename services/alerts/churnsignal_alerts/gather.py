"""Pure. Which waiting notices become one message: one alone, or, when many wait for one person, all of them as a summary."""

from collections.abc import Sequence
from dataclasses import dataclass

from churnsignal_alerts.episodes import NoticeKind

# What one message can still name one by one in its metadata and list; the next message takes the rest.
MOST = 200


@dataclass(frozen=True, slots=True)
class Waiting:
    """A due notice. Rows come in the order in which they should be told."""

    id: int
    kind: NoticeKind


def gather(waiting: Sequence[Waiting], merge_from: int) -> list[int]:
    """Return the ids for the next message to one address; never empty when something waits.

    Edits of earlier messages go first and alone. Lines wait for each other by their due time, so all that are due go together.
    """
    edits = [notice.id for notice in waiting if notice.kind is NoticeKind.STATE]
    if edits:
        return edits[:1]
    alone = [notice.id for notice in waiting if notice.kind.alone]
    lines = [notice.id for notice in waiting if not notice.kind.alone]
    if len(alone) >= merge_from:
        return (alone + lines)[:MOST]
    return alone[:1] or lines[:MOST]
