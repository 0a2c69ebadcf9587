"""Pure. Rows of an events file as the calls an SDK would have sent, in the envelopes that ingest would have put around them."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

import msgspec
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.mapping.mapper import Mapper

SOURCE = "backtest"


class Row(NamedTuple):
    """One event. `rest` are the values of the file's other columns."""

    account: str
    user: str | None
    event: str
    at: datetime
    rest: tuple[Any, ...]


class Caller:
    """Turns rows into calls: columns that are traits into a group call whenever their values change, those a mapping reads into properties."""

    def __init__(self, mapper: Mapper, names: tuple[str, ...]) -> None:
        self._traits = [(place, name) for place, name in enumerate(names) if mapper.is_trait(name)]
        self._properties = [(place, name) for place, name in enumerate(names) if name in mapper.properties and not mapper.is_trait(name)]
        self._said: dict[str, tuple[Any, ...]] = {}
        self._plain: dict[str, msgspec.Raw] = {}
        self._number = count(1)

    def calls(self, rows: Iterable[Row]) -> Iterator[Envelope]:
        """Yield the calls of these rows, in order."""
        for row in rows:
            if self._traits:
                yield from self._group(row)
            yield self._call(row, self._track(row))

    def _call(self, row: Row, call: msgspec.Raw) -> Envelope:
        name = str(next(self._number))
        return Envelope(id=name, source=SOURCE, account=row.account, user=row.user, occurred_at=row.at, received_at=row.at, call=call)

    def _group(self, row: Row) -> Iterator[Envelope]:
        values = tuple(row.rest[place] for place, _ in self._traits)
        if self._said.get(row.account) == values:
            return
        self._said[row.account] = values
        traits = {name: value for (_, name), value in zip(self._traits, values, strict=True) if value is not None}
        if traits:
            yield self._call(row, _raw({"type": "group", "groupId": row.account, "traits": traits}))

    def _track(self, row: Row) -> msgspec.Raw:
        if self._properties:
            properties = {name: row.rest[place] for place, name in self._properties}
            return _raw({"type": "track", "event": row.event, "properties": properties})
        known = self._plain.get(row.event)
        if known is None:
            known = self._plain[row.event] = _raw({"type": "track", "event": row.event})
        return known


def _raw(call: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(call))
