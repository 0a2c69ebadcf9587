"""Pure. Which account a call belongs to: groupId of a group call, context.groupId, then configured paths into traits and properties."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from churnsignal_ingest.validate.calls import Call
from churnsignal_ingest.validate.reasons import Reason, Refusal


@dataclass(frozen=True, slots=True)
class AccountPaths:
    """Where else an account's id may stand, first hit wins. Each path starts at `traits`, `context` or `properties`, as the mapping's schema demands."""

    paths: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class PathsInForce:
    """The paths of each mapping for the calls received since its moment, the newest first. `revision` names this state."""

    newest_first: Sequence[tuple[datetime, AccountPaths]]
    revision: int = 0

    def at(self, moment: datetime) -> AccountPaths:
        for since, paths in self.newest_first:
            if moment >= since:
                return paths
        return self.newest_first[-1][1]


def always(paths: AccountPaths) -> PathsInForce:
    """Return `paths` for all calls, whenever they came."""
    return PathsInForce(((datetime.min.replace(tzinfo=UTC), paths),))


def account_paths(spelled: tuple[str, ...]) -> AccountPaths:
    """Return the parsed paths."""
    return AccountPaths(tuple(tuple(path.split(".")) for path in spelled))


def account_value(call: Call, batch_group_id: Any, where: AccountPaths) -> Any:
    """Return the raw account id of a call that is no group call; None leaves it to the user's last known account."""
    context = call.context
    if context is not None:
        found = context.get("groupId")
        if type(found) is str and found:
            return found
        if found is not None and found != "":
            return _scalar(found)
    if batch_group_id is not None:
        return _scalar(batch_group_id)
    for path in where.paths:
        root = getattr(call, path[0])
        found = None if root is None else _follow(root, path[1:])
        if found is not None:
            return found
    return None


def _scalar(value: Any) -> Any:
    if isinstance(value, dict | list):
        raise Refusal(Reason.BAD_ID)
    return value


def _follow(value: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else None
