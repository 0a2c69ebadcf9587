"""Pure. A year of transitions through alerts in simulated time: the people, what they do, and what is counted."""

import hashlib
import heapq
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

from churnsignal_alerts.act import Act, Command
from churnsignal_alerts.directory import Csm
from churnsignal_alerts.episodes import CALLS, NoticeKind, Outcome
from churnsignal_alerts.hours import parse_hours
from churnsignal_alerts.route import Setup, addressee, due
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.contracts.risk import Band, Cause

from tests.support.alerts import BOTH, POLICY, change, setup
from tests.support.alerts_life import FIRST, Heard, Life, working_time

CSMS = 20
_PLACES = (("Asia/Tokyo", "JP"), ("Europe/London", "GB"), ("America/New_York", "US"), ("America/Los_Angeles", "US"), ("Europe/Berlin", "DE"), ("Australia/Sydney", "AU"))  # fmt: skip
_WEEK = parse_hours("09:00-18:00", "mon-fri")
_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def people() -> Setup:
    """Return 20 CSMs with two managers among them; two go on leave, one in spring and one in summer."""
    team = []
    for n in range(CSMS):
        zone, country = _PLACES[n % len(_PLACES)]
        mail, slack, boss = f"csm{n}@example.com", f"U0CSM{n}", f"csm{n % 2}" if n > 1 else None
        stand_in = f"csm{(n + len(_PLACES)) % CSMS}"
        team.append(Csm(f"csm{n}", f"Csm {n}", mail, slack, Locale.EN, zone, country, _WEEK, manager=boss, delegate=stand_in))
    team[3] = replace(team[3], away_from=date(2026, 4, 1), away_until=date(2026, 4, 14))
    team[8] = replace(team[8], away_from=date(2026, 8, 3), away_until=date(2026, 8, 21))
    return Setup(setup(team).directory, POLICY, BOTH)


def _chance(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest())


@dataclass(slots=True)
class Year:
    """What was lived, to be counted."""

    life: Life

    @staticmethod
    def first() -> datetime:
        return _FIRST_DAY

    def figures(self) -> dict[str, float]:
        """Return what is promised and what is felt."""
        weeks = 52.0
        messages = [heard for heard in self.life.heard if heard.recipient.startswith("csm")]
        each = [sum(1 for heard in messages if heard.recipient == f"csm{n}") / weeks for n in range(CSMS)]
        delays = sorted(self._delays())
        p95 = delays[int(len(delays) * 0.95)] if delays else timedelta(0)
        return {
            "episodes": len(self.life.episodes), "messages": len(self.life.heard), "alerts_a_csm_a_week": statistics.mean(each),
            "most_a_csm_a_week": max(each), "told_twice": self.life.twice, "lost": len(self.life.silent_falls()),
            "outside_hours": sum(map(self._outside, self.life.heard)), "p95_delay_working_minutes": p95.total_seconds() / 60,
        }  # fmt: skip

    def _opening(self, heard: Heard, moment: datetime) -> datetime:
        who = addressee(heard.recipient, self.life.setup)
        return due(who, moment, urgent=False) if who else moment

    def _outside(self, heard: Heard) -> bool:
        return self._opening(heard, heard.at) != heard.at

    def _delays(self) -> Iterable[timedelta]:
        since = {(owed.episode, owed.due_at): owed.since for owed in self.life.owed}
        begun = {episode: moment for (episode, _), moment in sorted(since.items(), reverse=True)}
        told: set[tuple[str, int]] = set()
        for heard in self.life.heard:
            for episode, kind, number in heard.told:
                if kind in FIRST and kind is not NoticeKind.DIGEST and number == 0 and (episode, number) not in told:
                    told.add((episode, number))
                    yield working_time(begun[episode], heard.at, lambda moment, heard=heard: self._opening(heard, moment))  # type: ignore[misc]


def live(life: Life, moves: Iterable[tuple[str, Any, Band]]) -> Year:
    """Let a year pass: every account's every year is an account of its own in 2026; four in five people act on what they hear."""
    order, year = count(), Year(life)
    coming: list[tuple[datetime, int, Any]] = []
    for account, at, band in moves:
        moment = at if isinstance(at, datetime) else datetime.combine(at, datetime.min.time())
        moment = moment.replace(tzinfo=UTC)
        if (moment.month, moment.day) != (2, 29):
            heapq.heappush(coming, (moment.replace(year=2026), next(order), (f"{account}@{moment.year}", band)))
    known: dict[str, tuple[int, Band | None]] = {}
    seen, end = 0, _FIRST_DAY + timedelta(days=365)
    while coming:
        moment, _, what = heapq.heappop(coming)
        life.run_until(moment)
        if isinstance(what, tuple):
            _moves(life, known, *what)
        else:
            life.command(*what.args)
        life.turn()
        for heard in life.heard[seen:]:
            for act in _answers(heard):
                heapq.heappush(coming, (act.at, next(order), act))
        seen = len(life.heard)
    life.run_until(end + timedelta(days=30))
    return year


@dataclass(frozen=True, slots=True)
class _Act:
    at: datetime
    args: tuple[str, Command]


def _answers(heard: Heard) -> Iterable[_Act]:
    for episode, kind, number in heard.told:
        if kind in CALLS and _chance(f"{episode}{kind}{number}") % 5:
            yield _Act(heard.at + timedelta(hours=2), (episode, Command(Act.ACKNOWLEDGE, heard.recipient)))
            if _chance(episode) % 2:
                yield _Act(heard.at + timedelta(days=6), (episode, Command(Act.CLOSE, heard.recipient, outcome=Outcome.SAVED)))


def _moves(life: Life, known: dict[str, tuple[int, Band | None]], account: str, band: Band) -> None:
    number, before = known.get(account, (0, None))
    known[account] = (number + 1, band)
    chance = _chance(account)
    cause = Cause.CLOSE if number else Cause.FIRST
    life.change(
        change(
            number + 1, band, from_band=before, as_of=life.now, cause=cause, score_after=None if band is Band.GREY else 2_000,
            profile_account=account, profile_name=account, profile_owner=f"csm{chance % CSMS}", profile_arr=float(chance % 100_000),
        )
    )  # fmt: skip
