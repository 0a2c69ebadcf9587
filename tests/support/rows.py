"""Pure. A state as it comes back from the rows that it was written as, without a database between."""

import msgspec
from churnsignal_scoring.health.rows import Fact, StateRows
from churnsignal_scoring.health.state import AccountState

_counts = msgspec.json.Decoder(dict[str, int])
_versions = msgspec.json.Decoder(list[Fact])


def loaded_from(rows: StateRows) -> AccountState:
    """Return the state that was written as these rows."""
    days = {day.day: _counts.decode(day.counts) for day in rows.days}
    facts = {fact.name: _versions.decode(fact.versions) for fact in rows.facts}
    return AccountState.stored(rows.account, days, [(user.user, user.block, user.mask) for user in rows.users], facts)
