"""Pure. Evaluate accounts after a micro-batch or at a close, and note in the effects what came of it."""

from collections.abc import Callable
from copy import copy
from datetime import datetime
from functools import partial

import msgspec
from churnsignal_common.contracts.days import DayRecord
from churnsignal_common.contracts.risk import Cause

from churnsignal_scoring.effects import AccountRow, Effects, PassedOver, ScoreRow, ShadowRow
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.assessment import Settled
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.ledger import Ledger
from churnsignal_scoring.residents import Resident


class Conclude:
    """The engine's two questions, with what this process knows about records and closes."""

    def __init__(self, engine: AccountEngine, ledger: Ledger) -> None:
        self.engine = engine
        self._ledger = ledger

    def settle(self, resident: Resident, effects: Effects, now: datetime, history: bool) -> None:
        """Give the account its live score after the calls of a micro-batch."""
        state, closed_day = resident.state, resident.closed_day
        record = self._ledger.records.get(closed_day)
        evaluate = partial(self.engine.settle, state, now, record, closed_day, history)
        settled, _ = self._or_pass_over(evaluate, state, closed_day, record, effects, history=history)
        self._keep(resident, settled, effects)

    def hand_over(self, resident: Resident, into: str, effects: Effects) -> None:
        """End an account that was handed over to another."""
        record = self._ledger.records.get(resident.closed_day)
        settled = self.engine.hand_over(resident.state, into, effects.now, record, resident.closed_day)
        effects.emptied.append(resident.state.account)
        self._keep(resident, settled, effects)

    def close(self, resident: Resident, effects: Effects) -> None:
        """Close the partition's recorded day for the account, unless that was done."""
        closing = self._ledger.partitions[resident.partition]
        day = closing.recorded
        if resident.closed_day >= day:
            return
        record = self._ledger.records[day]
        evaluate = partial(self.engine.close, resident.state, day, record, self._cause(record, closing.cause, day))
        settled, reasons = self._or_pass_over(evaluate, resident.state, day, record, effects, closes=True)
        resident.closed_day = day
        verdict, closed = settled.assessment, settled.closed
        if resident.state.merged_into is None and closed is not None:
            row = (closed.band.value, verdict.score, verdict.coverage, closed.sequence, reasons)
            effects.scores.append(ScoreRow(resident.state.account, day, *row))
            shadow = resident.state.memory.shadow
            if shadow is not None:
                sides = (part for side in (shadow.in_force, shadow.shadow) for part in msgspec.structs.astuple(side))
                effects.shadows.append(ShadowRow(resident.state.account, shadow.version, shadow.since, day, *sides))
        self._keep(resident, settled, effects)

    def _or_pass_over(
        self, evaluate: Callable[[], Settled], state: AccountState, day: int, record: DayRecord | None, effects: Effects, **how: bool
    ) -> tuple[Settled, bytes | None]:
        """Return what an evaluation comes to, and the reasons that it keeps; an account on which it fails is passed over."""
        before = copy(state.memory)
        try:
            settled = evaluate()
            return settled, None if settled.closed is None or settled.closed.reasons is None else settled.closed.reasons()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the calls were fine and count, and the others' day must close; a replay fails on it, too, and does the same
            effects.passed_over.append(PassedOver(state.account, day, error))
            return self.engine.pass_over(state, day, record, before, **how), None

    def _cause(self, record: DayRecord, cause: Cause, day: int) -> Cause:
        # A new version explains the change better than lateness does.
        before = self._ledger.records.get(day - 1)
        if before is not None and before.scorecard != record.scorecard:
            return Cause.SCORECARD
        if before is not None and before.mapping != record.mapping:
            return Cause.MAPPING
        return cause

    def _keep(self, resident: Resident, settled: Settled, effects: Effects) -> None:
        row = AccountRow(resident.state, resident.partition, settled.assessment, settled.profile, settled.ranks, resident.closed_day)
        effects.conclude(row, settled)
