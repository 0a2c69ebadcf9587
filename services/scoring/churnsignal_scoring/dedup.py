"""Pure. Which calls were seen before: sorted runs of 64-bit hashes per partition, lane and day, 12 bytes an id."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from churnsignal_scoring.effects import DedupRow
from churnsignal_scoring.outcomes import Outcome

Ids = npt.NDArray[np.uint64]
Bodies = npt.NDArray[np.uint32]
Codes = npt.NDArray[np.int8]

WINDOW_DAYS = 7
"""A retry repeats the call's own timestamp; further from its receipt than this, the day of receipt is used instead."""
COMPACT_ROWS = 200
"""Stored rows of a bucket after which its small ones are joined into one."""


class Seen(IntEnum):
    """What the log says about a call."""

    NEW = 0
    DUPLICATE = 1
    CONFLICT = 2


SEEN_BEFORE = {Seen.DUPLICATE: Outcome.DUPLICATE, Seen.CONFLICT: Outcome.CONFLICT}
"""What becomes of a call that the log knows."""


class Stored(NamedTuple):
    """What is on disk of a bucket: how many rows, and the product's day of the newest."""

    rows: int
    written: int


class Bucket(NamedTuple):
    """Where an id is looked for. `lane` keeps calls by account (0) apart from calls by user (1)."""

    partition: int
    lane: int
    day: int


class Run(NamedTuple):
    """Distinct ids in ascending order, and beside each the hash of its body."""

    ids: Ids
    bodies: Bodies

    def packed(self, bucket: Bucket) -> DedupRow:
        return DedupRow(*bucket, self.ids.astype("<u8").tobytes(), self.bodies.astype("<u4").tobytes())


@dataclass(frozen=True, slots=True)
class Group:
    """Calls of one bucket in a micro-batch. `loose` ones have no timestamp of their own, so a retry may lie a day beside.

    `rows` are their places in the batch, in the order of the log.
    """

    bucket: Bucket
    loose: bool
    rows: npt.NDArray[np.intp]

    def probed(self) -> list[Bucket]:
        """Return the buckets in which a call of this group may have been seen."""
        if not self.loose:
            return [self.bucket]
        partition, lane, day = self.bucket
        return [self.bucket, Bucket(partition, lane, day - 1), Bucket(partition, lane, day + 1)]


def unpack(rows: Iterable[tuple[bytes, bytes]]) -> Run:
    """Return the stored rows of one bucket as one run."""
    pairs = list(rows)
    ids = np.frombuffer(b"".join(ids for ids, _ in pairs), "<u8").astype(np.uint64)
    bodies = np.frombuffer(b"".join(bodies for _, bodies in pairs), "<u4").astype(np.uint32)
    return _sorted(ids, bodies)


def _sorted(ids: Ids, bodies: Bodies) -> Run:
    order = np.argsort(ids, kind="stable")
    return Run(ids[order], bodies[order])


def _merge(left: Run, right: Run) -> Run:
    return _sorted(np.concatenate((left.ids, right.ids)), np.concatenate((left.bodies, right.bodies)))


def _look(run: Run, ids: Ids, found: npt.NDArray[np.bool_], bodies: Bodies) -> None:
    if not len(run.ids):
        return
    at = np.searchsorted(run.ids, ids)
    at[at == len(run.ids)] = 0
    hit = run.ids[at] == ids
    found |= hit
    bodies[hit] = run.bodies[at[hit]]


class Seenlog:
    """The ids of the owned partitions. Buckets that are on disk only are named by `missing` and brought by `load`."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._runs: OrderedDict[Bucket, list[Run]] = OrderedDict()
        self._stored: dict[Bucket, Stored] = {}
        self._ids = 0

    def own(self, stored: dict[Bucket, Stored]) -> None:
        """Note what newly owned partitions have on disk."""
        self._stored.update(stored)

    def forget(self) -> None:
        """Drop everything: the partitions are no longer ours, or a transaction's fate is unknown."""
        self._runs.clear()
        self._stored.clear()
        self._ids = 0

    def missing(self, groups: Sequence[Group]) -> list[Bucket]:
        """Return the buckets that must be loaded before `judge`."""
        wanted = {bucket for group in groups for bucket in group.probed()}
        return sorted(bucket for bucket in wanted if bucket in self._stored and bucket not in self._runs)

    def load(self, bucket: Bucket, run: Run) -> None:
        self._runs[bucket] = [run]
        self._ids += len(run.ids)

    def judge(self, groups: Sequence[Group], ids: Ids, bodies: Bodies) -> tuple[Codes, dict[Bucket, list[Run]]]:
        """Return a code for each call and the runs to remember once the transaction has committed. The first of equal ids wins."""
        codes = np.zeros(len(ids), np.int8)
        fresh: dict[Bucket, list[Run]] = {}
        for group in groups:
            codes[group.rows], run = self._judge_group(group, ids[group.rows], bodies[group.rows], fresh)
            if len(run.ids):
                fresh.setdefault(group.bucket, []).append(run)
        return codes, fresh

    def _judge_group(self, group: Group, ids: Ids, bodies: Bodies, fresh: dict[Bucket, list[Run]]) -> tuple[Codes, Run]:
        order = np.argsort(ids, kind="stable")
        ids, bodies = ids[order], bodies[order]
        first = np.ones(len(ids), np.bool_)
        first[1:] = ids[1:] != ids[:-1]
        leader = np.maximum.accumulate(np.where(first, np.arange(len(ids)), 0))
        known, reference = np.zeros(len(ids), np.bool_), bodies[leader]
        for bucket in group.probed():
            for run in (*self._runs.get(bucket, ()), *fresh.get(bucket, ())):
                _look(run, ids, known, reference)
        new = first & ~known
        codes = np.empty(len(ids), np.int8)
        codes[order] = np.where(new, Seen.NEW, np.where(bodies == reference, Seen.DUPLICATE, Seen.CONFLICT))
        return codes, Run(ids[new], bodies[new])

    def remember(self, fresh: dict[Bucket, list[Run]], today: int) -> list[Bucket]:
        """Keep what a committed transaction has stored; return the buckets whose rows on disk should be joined."""
        crowded = []
        for bucket, new in fresh.items():
            if bucket not in self._stored:
                self._runs.setdefault(bucket, [])
            before = self._stored.get(bucket, Stored(0, today))
            self._stored[bucket] = Stored(before.rows + len(new), max(before.written, today))
            if self._stored[bucket].rows >= COMPACT_ROWS:
                crowded.append(bucket)
            if bucket in self._runs:
                self._add(bucket, new)
        self._evict()
        return crowded

    def joined(self, bucket: Bucket) -> None:
        """Note that the rows of `bucket` on disk were joined."""
        self._stored[bucket] = self._stored[bucket]._replace(rows=1)

    def prune(self, partitions: Iterable[int], day: int) -> list[Bucket]:
        """Forget and return the buckets that no retry after the close of `day` can need; the store must delete the same ones.

        A bucket that was written to in the last days stays even if its day is long past: what was just published may come twice.
        """
        mine, oldest = set(partitions), day - WINDOW_DAYS - 1
        old = [b for b, stored in self._stored.items() if b.partition in mine and b.day < oldest and stored.written < day - 1]
        for bucket in old:
            del self._stored[bucket]
            self._drop(bucket)
        return old

    def _add(self, bucket: Bucket, new: list[Run]) -> None:
        runs = self._runs[bucket]
        self._runs.move_to_end(bucket)
        for run in new:
            runs.append(run)
            self._ids += len(run.ids)
        # Sizes at least halve from run to run: few runs to search, and each id is merged O(log n) times.
        while len(runs) > 1 and len(runs[-2].ids) <= 2 * len(runs[-1].ids):
            runs[-2:] = [_merge(runs[-2], runs[-1])]

    def _evict(self) -> None:
        while self._ids > self._capacity and len(self._runs) > 1:
            self._drop(next(iter(self._runs)))

    def _drop(self, bucket: Bucket) -> None:
        self._ids -= sum(len(run.ids) for run in self._runs.pop(bucket, ()))
