"""Door. Who may write a partition: an epoch in Postgres that each new owner raises, so that a zombie's transaction is refused."""

from collections.abc import Iterable
from typing import Any

from churnsignal_common.postgres.engine import RawConnection

CLAIM = """-- take partitions: whoever held an older epoch can write no more
INSERT INTO ownership AS o (partition, epoch, owner) SELECT p, 1, $2 FROM unnest($1::int[]) AS p ORDER BY p
ON CONFLICT (partition) DO UPDATE SET epoch = o.epoch + 1, owner = $2, taken_at = now() RETURNING partition, epoch, config"""

CHECK = """-- lock our epochs until the commit: a new owner waits for us, or we see its epoch
SELECT partition, epoch, config FROM ownership WHERE partition = ANY($1::int[]) ORDER BY partition FOR SHARE"""


class Fenced(Exception):
    """Another process owns these partitions now; this one must end, because it cannot know since when."""

    def __init__(self, partitions: list[int]) -> None:
        super().__init__(
            f"partitions {partitions} belong to another process now. After a pause of this process that is normal, and a restart joins again; "
            "when it happens over and over, two processes run with the same CHURNSIGNAL_INSTANCE"
        )
        self.partitions = partitions


class Reconfigured(Exception):
    """Another mapping or scorecard was activated: what was read and evaluated by the old one must be done again by the new one."""


class Ownership:
    """The epochs under which this process may write, and the configuration that each partition's owner has to know."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self.epochs: dict[int, tuple[int, int]] = {}

    async def claim(self, pg: RawConnection, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Return new epochs, each with the newest configuration; they count once the caller's transaction has committed."""
        rows = await pg.fetch(CLAIM, sorted(partitions), self._owner)
        return {row["partition"]: (row["epoch"], row["config"]) for row in rows}

    async def check(self, pg: RawConnection, partitions: Iterable[int]) -> None:
        """Raise `Fenced` unless this process still owns all `partitions`; they stay ours until the transaction ends."""
        wanted = sorted(partitions)
        self.verify(wanted, await pg.fetch(CHECK, wanted))

    def verify(self, partitions: Iterable[int], rows: Iterable[Any]) -> None:
        """Raise `Fenced` unless `rows`, read and locked in the caller's transaction, hold our epochs of all `partitions`.

        Raises `Reconfigured` when they are ours, but a configuration that we have not read is in force.
        """
        found = {row["partition"]: (row["epoch"], row["config"]) for row in rows}
        mine = {partition: self.epochs.get(partition, (0, 0)) for partition in sorted(partitions)}
        lost = [partition for partition, (epoch, _) in mine.items() if found.get(partition, (-1, 0))[0] != epoch]
        if lost:
            raise Fenced(lost)
        if any(found[partition] != known for partition, known in mine.items()):
            raise Reconfigured
