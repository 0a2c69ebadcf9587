"""Any story of accounts, people, clocks and faults, through the service's own decisions: everybody is told, once, and not after the end."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from churnsignal_alerts.act import Act, Command
from churnsignal_alerts.decide import Rules
from churnsignal_alerts.directory import Channel, Csm
from churnsignal_alerts.episodes import Episode, Kind, NoticeKind, Outcome, State
from churnsignal_alerts.hours import ALWAYS, parse_hours
from churnsignal_alerts.mute import Matcher, Silence
from churnsignal_alerts.route import Setup
from churnsignal_common.contracts.risk import Band, Cause, Finding, FindingKind, RiskChanged, SilentSource
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from msgspec.structs import replace as with_fields

from tests.support.alerts import BOTH, EMMA, HANAKO, NOON, POLICY, change, setup
from tests.support.alerts_life import Life, Owed

SEED, SEEDS = int(os.environ.get("ALERTS_SEED", "1")), int(os.environ.get("ALERTS_SEEDS", "1"))
STEPS = int(os.environ.get("ALERTS_STEPS", "20000"))
PER_STORY = 100
# Long enough for every timer, snooze, silence and leave to end.
THE_END = timedelta(days=60)
ACCOUNTS = ("acme", "acme-child", "lone", "poor")
IDS = ("hanako", "emma", "boss")
WEEK = parse_hours("09:00-18:00", "mon-fri")
RULES: Rules = replace(POLICY.rules, kinds=frozenset(Kind))
BUDGET = 2
# What the scorecard may point out, in its order.
FINDINGS = ("seats_full", "renewal_in_90_days", "renewal_in_60_days", "onboarding_stuck")
KINDS = {"seats_full": FindingKind.OPPORTUNITY, "onboarding_stuck": FindingKind.ONBOARDING}

AHEAD = tuple(timedelta(hours=hours) for hours in range(1, 24 * 12 + 1))
FAULTS = ("ok", "ok", "busy", "refuse", "die", "lost", "crash")
# A step is drawn as one number of three bytes: enough for any event with any of its values. Hypothesis draws some at a time, as to draw costs
# it more than to live them costs us.
WIDE, AT_A_TIME = 3, 10


@dataclass(frozen=True, slots=True)
class Event:
    """Something that can happen, and the values it can happen with."""

    happens: Callable[..., None]
    values: dict[str, Sequence[Any]]

    def picked(self, drawn: int) -> dict[str, Any]:
        """Return the values that a number stands for."""
        found = {}
        for name, choices in self.values.items():
            drawn, at = divmod(drawn, len(choices))
            found[name] = choices[at]
        return found


EVENTS: dict[str, Event] = {}
# What was lived: steps and stories.
LIVED: Counter[str] = Counter()


def event(**values: Sequence[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def known(happens: Callable[..., None]) -> Callable[..., None]:
        EVENTS[happens.__name__] = Event(happens, values)
        return happens

    return known


def people() -> dict[str, Csm]:
    boss = replace(EMMA, id="boss", email="boss@example.com", slack="U0BOSS", zone="America/New_York", country="US", hours=WEEK)
    return {
        "hanako": replace(HANAKO, manager="boss", delegate="emma", channels=(Channel.SLACK, Channel.EMAIL), hours=WEEK),
        "emma": replace(EMMA, manager="boss", hours=ALWAYS, country=None),
        "boss": boss,
    }


class Story(RuleBasedStateMachine):
    """One event after the other, of those that may happen in this story; after each of them all must be well."""

    @initialize(possible=st.just(frozenset[str]()) | st.deferred(lambda: st.frozensets(st.sampled_from(list(EVENTS)), min_size=1)))
    def begin(self, possible: frozenset[str]) -> None:
        # Some stories know only a few kinds of events, and so much of each.
        self.possible = sorted(possible or EVENTS)
        self.people, self.channels = people(), BOTH
        self.life = Life(self._setup(), NOON)
        self.sequences: Counter[str] = Counter()
        self.owners: dict[str, str | None] = {"acme": "hanako", "acme-child": "hanako", "lone": "emma", "poor": None}
        self.bands: dict[str, Band] = dict.fromkeys(ACCOUNTS, Band.GREEN)
        self.findings: dict[str, tuple[Finding, ...]] = dict.fromkeys(ACCOUNTS, ())
        self.silent: dict[str, tuple[SilentSource, ...]] = dict.fromkeys(ACCOUNTS, ())
        self.fates: dict[Channel, str] = {}

    def _setup(self) -> Setup:
        policy = replace(POLICY, rules=RULES, budget=BUDGET, digest_kinds=frozenset({Kind.EARLY_WARNING}))
        return Setup(setup(self.people.values()).directory, policy, self.channels)

    def _fate(self, channel: Channel, _now: object) -> str:
        # A death or a lost answer happens once; the others last.
        fate = self.fates.get(channel, "ok")
        if fate in ("die", "lost", "crash"):
            self.fates[channel] = "ok"
        return fate

    def _change(self, account: str, band: Band, **fields: Any) -> RiskChanged:
        self.sequences[account] += 1
        parent = "acme" if account == "acme-child" else None
        values = {"from_band": self.bands[account], "as_of": self.life.now, "score_after": None if band is Band.GREY else 2_000} | fields
        self.bands[account] = band
        return change(
            self.sequences[account], band, profile_account=account, profile_owner=self.owners[account], profile_parent=parent,
            profile_silent_sources=self.silent[account], findings=self.findings[account], **values
        )  # fmt: skip

    @rule(drawn=st.binary(min_size=WIDE * AT_A_TIME, max_size=WIDE * AT_A_TIME))
    def events_happen(self, drawn: bytes) -> None:
        for begin in range(0, len(drawn), WIDE):
            number, at = divmod(int.from_bytes(drawn[begin : begin + WIDE]), len(self.possible))
            name, values = self.possible[at], EVENTS[self.possible[at]].picked(number)
            note(f"{self.life.now}: {name} {values}")
            EVENTS[name].happens(self, **values)
            self.all_is_well()
        LIVED["steps"] += AT_A_TIME

    @event(
        account=ACCOUNTS,
        band=tuple(Band),
        cause=(*[Cause.CLOSE] * 3, Cause.FIRST, Cause.THAW),
    )
    def a_band_changes(self, account: str, band: Band, cause: Cause) -> None:
        self.life.change(self._change(account, band, cause=cause))

    @event(
        account=ACCOUNTS,
        late=range(6),
        score=range(3_001),
        fact=(None, None, "cancelled", "payment_failed"),
    )
    def trouble_comes_late_or_grows(self, account: str, late: int, score: int, fact: str | None) -> None:
        self.life.change(self._change(account, Band.RED, as_of=self.life.now - timedelta(days=late), score_after=score, knockout=fact))

    @event(account=ACCOUNTS, codes=tuple(some for size in range(len(FINDINGS) + 1) for some in combinations(FINDINGS, size)))
    def findings_come_and_go(self, account: str, codes: tuple[str, ...]) -> None:
        since = {one.code: one.since for one in self.findings[account]}
        today = self.life.now.date()
        self.findings[account] = tuple(
            Finding(kind=KINDS.get(code, FindingKind.RENEWAL), code=code, since=since.get(code, today)) for code in codes
        )
        self.life.change(self._change(account, self.bands[account]))

    @event(account=ACCOUNTS, silent=(False, True))
    def a_source_falls_silent_or_is_heard(self, account: str, silent: bool) -> None:
        self.silent[account] = (SilentSource("web", self.life.now),) if silent else ()
        if account in self.life.profiles:
            self.life.own(with_fields(self.life.profiles[account], silent_sources=self.silent[account]))

    @event(ahead=AHEAD)
    def time_passes(self, ahead: timedelta) -> None:
        self.life.run_until(self.life.now + ahead)

    @event()
    def the_sender_turns(self) -> None:
        self.life.turn()

    @event(account=ACCOUNTS, act=tuple(Act), who=IDS, ahead=AHEAD)
    def somebody_acts(self, account: str, act: Act, who: str, ahead: timedelta) -> None:
        for kind in Kind:
            if ident := self.life.newest.get((account, kind)):
                command = Command(act, "somebody", self.life.now + ahead, who, Outcome.SAVED, "n", worse_only=ahead > timedelta(days=6))
                self.life.command(ident, command)

    @event(account=ACCOUNTS, owner=(*IDS, None, "unknown"))
    def an_account_gets_a_new_owner(self, account: str, owner: str | None) -> None:
        self.owners[account] = owner
        if account in self.life.profiles:
            self.life.own(with_fields(self.life.profiles[account], owner=owner))

    @event(account=ACCOUNTS)
    def a_customer_leaves(self, account: str) -> None:
        if account in self.life.profiles:
            self.life.own(with_fields(self.life.profiles[account], lifecycle="churned"))

    @event(who=IDS, days=range(10))
    def somebody_goes_on_leave(self, who: str, days: int) -> None:
        today = self.life.now.date()
        self._becomes(replace(self.people[who], away_from=today, away_until=today + timedelta(days=days)))

    @event(
        who=IDS,
        active=(False, True),
        channels=((Channel.SLACK,), (Channel.EMAIL,), (Channel.SLACK, Channel.EMAIL)),
    )
    def somebody_returns_leaves_or_changes_channels(self, who: str, active: bool, channels: tuple[Channel, ...]) -> None:
        self._becomes(replace(self.people[who], away_from=None, away_until=None, active=active, channels=channels))

    def _becomes(self, csm: Csm) -> None:
        self.people[csm.id] = csm
        self.life.people(self._setup())

    @event(channels=(BOTH, BOTH - {Channel.SLACK}, BOTH - {Channel.EMAIL}))
    def other_channels_are_configured(self, channels: frozenset[Channel]) -> None:
        self.channels = channels
        self.life.people(self._setup())

    @event(account=(*ACCOUNTS, "acme*"), ahead=AHEAD)
    def somebody_silences(self, account: str, ahead: timedelta) -> None:
        now, number = self.life.now, len(self.life.setup.silences) + 1
        self.life.silence(Silence(number, Matcher(account=account), "emma", "known", now, now + ahead))

    @event(channel=(Channel.SLACK, Channel.EMAIL), fate=FAULTS)
    def a_provider_has_a_bad_time(self, channel: Channel, fate: str) -> None:
        self.fates[channel] = fate
        self.life.fault = self._fate

    def all_is_well(self) -> None:
        active = [(e.account, e.kind) for e in self.life.episodes.values() if e.active]
        assert len(active) == len(set(active)), "two episodes of one account and kind are active"
        assert self.life.twice == 0, "somebody heard the same twice"
        for episode in self.life.episodes.values():
            if episode.state is State.OPEN and not episode.muted and not self.life.told(episode.id) and not self._touched(episode):
                waiting = [row for row in self.life.rows.get(episode.id, ()) if row.state in ("queued", "sending", "failed")]
                assert waiting, f"nobody will hear of {episode}"
            assert not (episode.muted and episode.state is State.OPEN and episode.next_at is None), "muted for ever"
            assert not (episode.state is State.SNOOZED and episode.next_at is None), "asleep for ever"
            assert episode.active or episode.next_at is None, "a step after the end"

    def _touched(self, episode: Episode) -> bool:
        return any(e.actor != "churnsignal" and e.at >= episode.since for e in self.life.entries[episode.id])

    def _story(self, owed: Owed) -> str:
        rows = [(r.notice.kind.value, r.recipient, r.state, str(r.made_at)) for r in self.life.rows[owed.episode]]
        seen = [(e.what, e.actor, str(e.at)) for e in self.life.entries[owed.episode]]
        return f"owed since {owed.since}: {rows} {seen}"

    def teardown(self) -> None:
        """Let the providers recover and all time pass: then everything owed was told, and nothing waits."""
        if not hasattr(self, "life"):
            return
        LIVED["stories"] += 1
        self.fates.clear()
        for account in ACCOUNTS:
            # An outage ends as well.
            self.a_source_falls_silent_or_is_heard(account=account, silent=False)
        self.life.run_until(self.life.now + THE_END)
        stories = [self._story(owed) for owed in self.life.silent_falls()]
        assert not stories, stories[0]
        assert [
            f"{r.notice.kind} {r.recipient} {r.due_at} {r.state} now {self.life.now} {[(m.state, m.not_before) for m in self.life.messages]}"
            for r in self.life.queued()
        ] == []
        # What waits to be one message may be torn apart: one is void, or waits for an earlier message about its episode.
        assert self.life.most_a_day() < BUDGET + POLICY.merge_from
        assert all(message.told for message in self.life.heard)
        assert {kind for heard in self.life.heard for _, kind, _ in heard.told} <= set(NoticeKind)


# The same stories each time, so that a red run is about the change at hand; other seeds are for longer runs.
@pytest.mark.timeout(60 + STEPS // 100)
@pytest.mark.parametrize("number", range(SEED, SEED + SEEDS))
def test_in_any_story_everybody_is_told_and_once_and_not_after_the_end(number: int) -> None:
    LIVED.clear()
    run_state_machine_as_test(
        seed(number)(Story),
        settings=settings(
            # Shrinking a story of a year takes longer than reading it.
            phases=(Phase.explicit, Phase.generate),
            database=None,
            deadline=None,
            max_examples=max(1, STEPS // PER_STORY),
            stateful_step_count=PER_STORY // AT_A_TIME,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"seed {number}: {LIVED['steps']:,} steps in {LIVED['stories']:,} stories")
