"""Pure. The one engine that live scoring, backtests and replays share: apply calls, settle after a batch, close a day."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import count
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from churnsignal_common.contracts.days import DayRecord
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.risk import MARKEDLY, AccountProfile, Band, Cause, RiskChanged, SilentSource, at_risk
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_common.mapping.usage import Usage

from churnsignal_scoring.health.assessment import (
    FROZEN,
    LAST,
    UNSCORED,
    Assessment,
    Closed,
    Explanation,
    Live,
    Look,
    Ranks,
    Settled,
    exists,
    forced_by,
)
from churnsignal_scoring.health.bands import Standing, is_worse
from churnsignal_scoring.health.beside import Asked, asked, beside, moved
from churnsignal_scoring.health.days import DayZone, from_date, to_date
from churnsignal_scoring.health.evaluate import Evaluation, evaluate
from churnsignal_scoring.health.kept import Kept, encode, keep, unfold
from churnsignal_scoring.health.knockouts import findings, knocked_out, overridden
from churnsignal_scoring.health.memory import TREND_CLOSES, BandMemory
from churnsignal_scoring.health.merging import empty
from churnsignal_scoring.health.norms import NORMS_BYTES, PARENTS_BYTES, Norms, Partial, add, fitting, merge_norms, merge_red, read_norms
from churnsignal_scoring.health.profile import PROFILE_FACTS, Lifecycle, fingerprint, lifecycle, read_profile, revenue, segment
from churnsignal_scoring.health.rows import Counted
from churnsignal_scoring.health.scorecard import Scorecard
from churnsignal_scoring.health.sources import feeding, freeze, judge_sources, silent_in
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.health.values import as_date
from churnsignal_scoring.health.view import View
from churnsignal_scoring.versions import Policy, fixed_policy


class OfDay(NamedTuple):
    """What counts for every account at the close of a day; no other has its `number` while the process lives."""

    number: int
    day: int
    record: DayRecord | None
    card: Scorecard
    norms: dict[str, Norms]
    silent: dict[str, SilentSource]
    end: datetime
    shadow: Scorecard | None


class Preview(NamedTuple):
    """One account under the scorecard in force and under another one."""

    profile: AccountProfile
    before: Asked
    after: Asked


DAYS_OF_CALLS = 1024
DAYS_AT_HAND = 8
"""For so many days what counts at their close is kept at hand; accounts of a batch were closed last on one or two."""
UNTOLD, IMPORTED = "untold", "imported"
"""In place of a profile's fingerprint: what came in while the account could not be evaluated is published by the next close that can.

What was imported meanwhile is silenced by the first evaluation that can.
"""
_AT_ONCE = (Cause.EVENT, Cause.MERGED)
_NONE: Mapping[str, int] = MappingProxyType({})


class AccountEngine:
    """Stateless besides its policy; safe to share between partitions of one process."""

    def __init__(self, mapper: Mapper, scorecard: Scorecard, zone: DayZone) -> None:
        self.zone = zone
        self._numbers = count()
        self._span_of = lru_cache(DAYS_OF_CALLS)(zone.span_of)
        self.adopt(fixed_policy(mapper, scorecard))

    def adopt(self, policy: Policy) -> None:
        """Go by this policy from now on: calls by the mapping of their moment, days by the scorecard that their record names."""
        self.policy = policy
        self.mapper = policy.mappings[-1][1]
        self.scorecard = policy.scorecards[-1][1]
        self.usage = policy.reader().usage
        self._days: dict[int, OfDay] = {}

    def apply(self, state: AccountState, envelope: Envelope, usage: Usage) -> None:
        """Add one distinct call that `usage` did not ignore."""
        self.apply_all(state, ((envelope, usage),))

    def apply_all(self, state: AccountState, calls: Sequence[tuple[Envelope, Usage]]) -> None:
        """Add distinct calls that their usage did not ignore: many at once cost less."""
        day_of, place, end_of_all = self.zone.day_of, 0, len(calls)
        while place < end_of_all:
            first, day = place, day_of(calls[place][0].occurred_at)
            begin, end = self._span_of(day)
            place += 1
            while place < end_of_all and begin <= calls[place][0].occurred_at < end:
                place += 1
            state.apply(day, end, calls[first:place], day_of)

    def settle(self, state: AccountState, now: datetime, record: DayRecord | None, last_closed: int | None, history: bool) -> Settled:
        """Evaluate after a micro-batch: a live score, and a change of band only if a fact worsened it or a person set it. `record` is that of `last_closed`.

        `history` is true when the batch brought the account imported calls: they never change a band by themselves.
        """
        history = history or state.published == IMPORTED
        today = self.zone.day_of(now)
        as_of = today - 1 if last_closed is None else last_closed
        of_day, live = self.of_day(record, as_of), state.live
        if live is not None and live.of_day != of_day.number:
            live = None
        # As long as only what it never asked for has moved, nothing else can come of the account.
        if live is not None and not history and not state.has_moved(live.asked):
            return Settled(live.verdict, None, None)
        look = self._look(state, of_day, live=True, before=None if live is None else live.found)
        new_facts = not PROFILE_FACTS.isdisjoint(state.dirty_facts)
        is_news = new_facts or not state.segment
        if is_news:
            state.segment = look.segment
        if history:
            self._silence(state, look)
        change = None if history else self._at_once(state, look, as_of, now)
        ranks = self._ranks(state, look, today) if is_news or change is not None else None
        verdict = self._assessment(state, look)
        state.live = None if history else Live(of_day.number, look.asked(), verdict, look.found)
        return Settled(verdict, change, self._news(state, look) if new_facts else None, ranks)

    def close(self, state: AccountState, day: int, record: DayRecord, cause: Cause) -> Settled:
        """Close `day` for one account: evaluate as of its end, move the band memory, prune. Idempotent: a closed day changes nothing.

        `cause` is CLOSE, or CATCH_UP when the close is made late, or SCORECARD/MAPPING on the first close under a new version.
        """
        memory, of_day = state.memory, self.of_day(record, day)
        if memory.closed_day is not None and memory.closed_day >= day:
            return Settled(self._assessment(state, self._look(state, of_day, live=False)), None, None)
        # First of all: a day that nobody saw is cut out of what is looked at.
        outage_news = freeze(state, of_day.silent, day)
        memory.red_children = record.red_children.get(state.account, 0)
        look = self._look(state, of_day, live=False)
        memory.closed_day = day
        if not exists(look.view):
            return Settled(self._assessment(state, look), None, None, None, Closed(memory.band, memory.sequence, None))
        holds, frozen = look.life.holds, memory.frozen
        if state.published == IMPORTED:
            self._silence(state, self._look(state, of_day, live=True))
        self._mark_close(state, look, cause, thawed=outage_news and not frozen)
        change = None if holds else self._move(state, look, cause)
        if not holds and not frozen:
            memory.score, memory.coverage = look.score, look.found.coverage
        if look.view.last == day and not frozen:
            memory.fed = feeding(look.view, record)
        self._run_shadow(state, look, of_day)
        if memory.mark is not None:
            self._settle_mark(memory, look.card, moved=change is not None and change.from_band is not change.to_band)
        memory.note(memory.score)
        for family, row in of_day.card.reporting.items():
            if row.measure.reports is not None and row.measure.reports(look.view, row.options):
                state.reported[family] = day
        state.segment = state.segment or look.segment
        ranks, verdict = self._ranks(state, look, day), self._assessment(state, look)
        closed = Closed(self._closed_band(state, look), memory.sequence, lambda: encode(self._kept(state, look, verdict)))
        # What is published is what is known by now, not what was at the end of a day that closes late.
        is_news = outage_news or state.published == UNTOLD
        news = self._news(state, self._look(state, of_day, live=True)) if is_news else None
        state.prune(day)
        return Settled(verdict, change, news, ranks, closed)

    def pass_over(
        self, state: AccountState, day: int, record: DayRecord | None, before: BandMemory, *, closes: bool = False, history: bool = False
    ) -> Settled:
        """Leave an account that cannot be evaluated as it was `before`: band and score stay, and nothing is told until a close can. `closes` its `day`."""
        state.published = IMPORTED if history or state.published == IMPORTED else UNTOLD
        state.memory, state.live = before, None
        state.memo.clear()
        if closes:
            before.closed_day = day
            before.note(before.score)
            state.prune(day)
        verdict = Assessment(
            as_of=day,
            score=before.score,
            coverage=before.coverage,
            band=before.band,
            segment=state.segment,
            lifecycle=Lifecycle.ACTIVE.value,
            knockout=None,
            held=None,
            record_day=None if record is None else from_date(record.day),
        )
        return Settled(verdict, None, None, None, Closed(before.band, before.sequence, None))

    def hand_over(self, state: AccountState, into: str, now: datetime, record: DayRecord | None, last_closed: int) -> Settled:
        """End an account whose history was handed over to `into`: it is grey from now on, and those who were told of it hear why."""
        of_day = self.of_day(record, last_closed)
        # Not evaluated: an account that cannot be is merged like any other.
        view = View(state, of_day.day, None, live=True)
        named = read_profile(view, segment(view, of_day.card.segment_by), Lifecycle.MERGED)
        profile = msgspec.structs.replace(named, merged_into=into, updated_at=now)
        empty(state)
        state.merged_into, state.published = into, ""
        memory = state.memory
        memory.own, memory.pending, memory.mark, memory.mark_left = Band.GREY, 0, None, 0
        memory.score, memory.coverage, memory.shadow = None, 0, None
        memory.fed, memory.silent, memory.outages, memory.red_children = (), (), (), 0
        look = self._look(state, of_day, live=True)
        state.segment = look.segment
        nothing_told = memory.band is Band.GREY and not memory.findings
        memory.findings = ()
        change = None if nothing_told else self._change(state, look, Band.GREY, Cause.MERGED, now)
        told = None if change is None else msgspec.structs.replace(change, account=profile)
        return Settled(self._assessment(state, look), told, profile, LAST)

    def explain(self, state: AccountState, record: DayRecord | None, as_of: int) -> Explanation:
        """Return the live evaluation after the close of `as_of` with its drivers, without touching the state."""
        look = self._look(state, self.of_day(record, as_of), live=True)
        verdict, profile = self._assessment(state, look), read_profile(look.view, look.segment, look.life)
        return unfold(self._kept(state, look, verdict), look.card, verdict, profile)

    def preview(self, state: AccountState, record: DayRecord | None, as_of: int, card: Scorecard) -> Preview:
        """Return what the account would be under another scorecard as of the end of a closed day, dwell aside; touches nothing."""
        of_day = self.of_day(record, as_of)
        now, then = self._look(state, of_day, live=False), self._look(state, of_day, live=False, scorecard=card)
        return Preview(read_profile(now.view, now.segment, now.life), asked(state.memory, now), asked(state.memory, then))

    def partial(self, accounts: Iterable[AccountState | Counted], day: int) -> Partial:
        """Return the sums over one partition's accounts as of the end of `day`."""
        sums = Partial(day, {})
        for account in accounts:
            if account.segment and not account.held:
                add(sums, account)
        return sums

    def merge(
        self,
        day: int,
        partials: Sequence[Partial],
        sources: Mapping[str, Sequence[int]],
        previous: Mapping[int, DayRecord],
        made_at: datetime,
        left_out: tuple[int, ...] = (),
        retired: Mapping[str, int] = _NONE,
    ) -> DayRecord:
        """Return the day record.

        `sources` are the calls of each source by hour of `day` over all partitions, `previous` the records before, as far as there are any,
        and `retired` the days on which operators called sources gone.
        """
        end = self.zone.end_of(day)
        verdicts = judge_sources(day, self.zone, sources, previous, retired, partly=bool(left_out))
        silent = {source for source, verdict in verdicts.items() if verdict.silent}
        norms = merge_norms(partials, previous.get(day - 1), silent, partly=bool(left_out))
        red = merge_red(partials, previous.get(day - 1), partly=bool(left_out))
        # The largest segments: small ones are no norm to anybody.
        told, heard = fitting(norms, NORMS_BYTES, lambda name: -norms[name].accounts), fitting(red, PARENTS_BYTES)
        return DayRecord(
            day=to_date(day),
            made_at=made_at,
            scorecard=self.policy.scorecard_at(end).version,
            mapping=self.policy.mapping_at(end).version,
            norms=told,
            sources=verdicts,
            left_out=left_out,
            red_children=heard,
            omitted={name: count for name, count in (("segments", len(norms) - len(told)), ("parents", len(red) - len(heard))) if count},
        )

    def _news(self, state: AccountState, look: Look) -> AccountProfile | None:
        """Return the profile when it differs from what was published: most group calls say again what is known."""
        profile = read_profile(look.view, look.segment, look.life)
        told = fingerprint(profile)
        if told == state.published:
            return None
        state.published = told
        return profile

    def _ranks(self, state: AccountState, look: Look, today: int) -> Ranks:
        if look.life.holds:
            return LAST
        score = state.memory.score if state.memory.frozen else look.score
        # A fact that forces red leaves nothing of the score to rely on.
        risk = 0 if state.memory.band is Band.RED and look.knockout(state.memory.own) is not None else score
        renewal = as_date(look.view.fact("renewal_on"))
        return Ranks(UNSCORED if score is None else score, at_risk(revenue(look.view), risk, renewal, to_date(today)))

    def of_day(self, record: DayRecord | None, as_of: int) -> OfDay:
        """Return what counts at the close of a day: the scorecard is the one that its record names."""
        found = self._days.get(as_of)
        if found is None or found.record is not record:
            end = self.zone.end_of(as_of)
            card = self.policy.scorecard_at(end) if record is None else self.policy.cards[record.scorecard]
            if len(self._days) >= DAYS_AT_HAND:
                self._days.clear()
            silent = {} if record is None else silent_in(record)
            number, shadow = next(self._numbers), self.policy.shadow_at(end)
            found = self._days[as_of] = OfDay(number, as_of, record, card, read_norms(record), silent, end, shadow)
        return found

    def _look(
        self, state: AccountState, of_day: OfDay, *, live: bool, scorecard: Scorecard | None = None, before: Evaluation | None = None
    ) -> Look:
        whole = scorecard or of_day.card
        view = View(state, of_day.day, None, live=live)
        name = segment(view, whole.segment_by)
        view.norms = of_day.norms.get(name)
        if whole.calendars is not None:
            view.calendar = whole.calendars.of(view.fact(whole.calendars.by))
        life = lifecycle(view)
        card = whole.of(name, life, view.tenure) if whole.variants else whole
        found = evaluate(view, card, before)
        view.asked = set()
        forced = knocked_out(view, card.knockouts)
        enough = found.coverage >= card.coverage_floor and view.age >= card.least_age_days
        score, override = found.score if enough else None, overridden(view, of_day.end)
        return Look(view, found, score, name, life, card, forced, override, of_day.record)

    def _at_once(self, state: AccountState, look: Look, last_closed: int, now: datetime) -> RiskChanged | None:
        """Return the change between closes: to the worse where a fact forces it, and either way where a person has just set or ended an override."""
        memory = state.memory
        if look.life.holds:
            return None
        shown, said = look.shown(memory.own), look.view.version("override")
        # What is older than the day closed last, or came by import, waits for the next close: it is no news.
        by_hand = said is not None and said.event_id != memory.hand and said.day >= last_closed
        memory.hand = said.event_id if said is not None and by_hand else memory.hand
        if not (by_hand and shown is not memory.band) and not self._worsens(memory, look, shown, last_closed):
            return None
        return self._change(state, look, shown, Cause.EVENT, now)

    def _worsens(self, memory: BandMemory, look: Look, shown: Band, last_closed: int) -> bool:
        reason = look.knockout(memory.own) if look.override is None else None
        # What no call says moves at closes only: the clock is no news.
        if reason is None or reason.fact is None or not is_worse(shown, memory.band):
            return False
        return reason.fact.day >= last_closed and reason.fact.event_id != memory.known_knockout

    def _move(self, state: AccountState, look: Look, cause: Cause) -> RiskChanged | None:
        memory, frozen = state.memory, state.memory.frozen
        if not frozen:
            standing = moved(look, Standing(memory.own, memory.pending))
            memory.own, memory.pending = standing.band, standing.pending
        # What was told since the day ended stands until that later day's own close.
        if memory.since is not None and memory.since > look.view.as_of:
            return None
        shown, known = look.shown(memory.own), memory.findings
        if not frozen and (known or look.card.findings):
            memory.findings = findings(look.view, look.card.findings, memory.own, known)
        told = memory.findings is known or [one.code for one in memory.findings] == [one.code for one in known]
        if shown is memory.band and told and not self._is_deeper(look, memory):
            return None
        return self._change(state, look, shown, memory.mark or cause, self.zone.end_of(look.view.as_of))

    def _is_deeper(self, look: Look, memory: BandMemory) -> bool:
        """Return whether a red account became markedly worse since what was last published of it."""
        if memory.band is not Band.RED or memory.frozen:
            return False
        forced = forced_by(look, memory.own, memory.band)
        if forced is not None and forced != memory.told_knockout:
            return True
        return look.score is not None and memory.told_score is not None and memory.told_score - look.score >= MARKEDLY

    def _run_shadow(self, state: AccountState, look: Look, of_day: OfDay) -> None:
        memory, card = state.memory, of_day.shadow
        if card is None or state.merged_into:
            memory.shadow = None
            return
        other = self._look(state, of_day, live=False, scorecard=card)
        memory.shadow = beside(memory, self._closed_band(state, look), other, card.version)

    def _closed_band(self, state: AccountState, look: Look) -> Band:
        """Return the band as of the end of the day that is closed, whatever was told since."""
        return state.memory.band if look.life.holds else look.shown(state.memory.own)

    def _kept(self, state: AccountState, look: Look, verdict: Assessment) -> Kept:
        memory = state.memory
        found = findings(look.view, look.card.findings, memory.own, memory.findings)
        return keep(look, memory, verdict, found)

    def _change(self, state: AccountState, look: Look, band: Band, cause: Cause, at: datetime) -> RiskChanged:
        memory, knockout = state.memory, forced_by(look, state.memory.own, band)
        verdict = msgspec.structs.replace(self._assessment(state, look), score=look.score, knockout=knockout)
        why = unfold(keep(look, memory, verdict, memory.findings), look.card, verdict)
        change = RiskChanged(
            account=read_profile(look.view, look.segment, look.life),
            sequence=memory.sequence + 1,
            from_band=memory.band if memory.sequence else None,
            to_band=band,
            score_before=memory.entered_score,
            score_after=look.score,
            coverage=look.found.coverage,
            drivers=why.drivers,
            knockout=knockout,
            override=why.override,
            counterfactual=why.counterfactual,
            previous_band_since=None if memory.since is None else to_date(memory.since),
            scorecard=look.card.version,
            day_record=None if look.record is None else look.record.day,
            as_of=at,
            last_seen=look.view.last_seen(),
            cause=cause,
            trend=(*memory.scores, look.score)[-TREND_CLOSES:],
            findings=memory.findings,
        )
        memory.sequence, memory.told_score, memory.told_knockout = change.sequence, look.score, knockout
        if change.from_band is band:
            return change
        memory.band = band
        memory.previous_since, memory.since = memory.since, self.zone.day_of(at) if cause in _AT_ONCE else look.view.as_of
        memory.entered_score, memory.entered = look.score, {driver.measure: driver.contribution for driver in why.drivers}
        return change

    def _mark_close(self, state: AccountState, look: Look, cause: Cause, *, thawed: bool) -> None:
        memory = state.memory
        if not memory.trend:
            self._mark(state, look.card, Cause.FIRST)
        if cause.silent:
            self._mark(state, look.card, cause)
        if thawed:
            self._mark(state, look.card, Cause.THAW)

    def _silence(self, state: AccountState, look: Look) -> None:
        """Make no news of what was imported: the next changes are silent, and what forces a band by now is known."""
        self._mark(state, look.card, Cause.HISTORY)
        known = look.knockout(state.memory.own)
        state.memory.known_knockout = None if known is None or known.fact is None else known.fact.event_id
        if state.published == IMPORTED:
            state.published = UNTOLD

    def _mark(self, state: AccountState, card: Scorecard, cause: Cause) -> None:
        memory = state.memory
        # What explains a change best: a new version before an import or a first evaluation.
        memory.mark = cause if cause in (Cause.SCORECARD, Cause.MAPPING) else memory.mark or cause
        memory.mark_left = card.bands.settle_closes

    def _settle_mark(self, memory: BandMemory, card: Scorecard, *, moved: bool) -> None:
        if moved or memory.pending:
            memory.mark_left = card.bands.settle_closes
            return
        memory.mark_left -= 1
        if memory.mark_left <= 0:
            memory.mark, memory.mark_left = None, 0

    def _assessment(self, state: AccountState, look: Look) -> Assessment:
        memory = state.memory
        held = look.life.value if look.life.holds else FROZEN if memory.frozen else None
        state.held = look.life.holds
        return Assessment(
            as_of=look.view.as_of,
            score=look.score if held is None else memory.score,
            coverage=look.found.coverage if held is None else memory.coverage,
            band=memory.band,
            segment=look.segment,
            lifecycle=look.life.value,
            knockout=forced_by(look, memory.own, memory.band),
            held=held,
            record_day=None if look.record is None else from_date(look.record.day),
        )
