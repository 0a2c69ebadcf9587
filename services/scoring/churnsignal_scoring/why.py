"""Flow. Why an account is what it is, now or at any moment of the past: one answer, in words too, with the days before."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.contracts.risk import Band, RiskChanged

from churnsignal_scoring.configs import Configs
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.assessment import Assessment, Explanation
from churnsignal_scoring.health.days import from_date, to_date
from churnsignal_scoring.health.kept import decode, unfold
from churnsignal_scoring.health.scorecard import Scorecard
from churnsignal_scoring.load import Load
from churnsignal_scoring.narrate import reasons, words
from churnsignal_scoring.queries import NEVER, Queries

DAYS = 31
_INSTANT = timedelta(microseconds=1)  # the end of a day is the first moment of the next one


class NothingKnown(Exception):
    """The account was not there, or what was kept of it does not reach back so far."""


@dataclass(frozen=True, slots=True)
class Past:
    """A closed day, unfolded. `card` is the scorecard's variant that counted."""

    day: int
    card: Scorecard
    why: Explanation


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads what a process knows; `engine` goes by the policy in force."""

    queries: Queries
    load: Load
    configs: Configs
    engine: AccountEngine

    def moment(self, at: date | datetime | None) -> datetime | None:
        """Return the moment that is meant; of a day, its end."""
        return at if at is None or isinstance(at, datetime) else self.engine.zone.end_of(from_date(at))

    async def explain(self, account: str, at: datetime | None, now: datetime) -> dict[str, Any]:
        """Return the answer; raises `NothingKnown`."""
        row = await self.queries.account(account)
        if row is None:
            raise NothingKnown(f"no account {account!r}: none of its calls was applied yet")
        zone, past = self.engine.zone, at is not None and at < now
        moment = at if at is not None and past else now
        days = await self._days(account, zone.day_of(moment) - 1 if past else NEVER)
        card, why = await (self._then(account, moment, days) if past else self.now(account))
        on = to_date(zone.day_of(moment - _INSTANT) if past else zone.day_of(moment))
        name = row["profile"].get("name") or account
        return {
            "account": account,
            "name": name,
            "at": moment.isoformat(),
            "band": why.assessment.band.value,
            "score": why.assessment.score,
            "coverage": why.assessment.coverage,
            "scorecard": card.version,
            **told(why),
            "text": words(name, on, why, card, ZoneInfo(zone.name)),
            "days": [_day(one) for one in days],
        }

    async def now(self, account: str) -> tuple[Scorecard, Explanation]:
        """Return the live evaluation of an account that is there; of one that cannot be evaluated, the last close that could; raises `NothingKnown`."""
        [resident] = await self.load.residents([account])
        day = resident.closed_day
        record = (await self.load.records(day, day)).get(day)
        try:
            why = self.engine.explain(resident.state, record, day)
        except Exception as error:
            last = await self.queries.closed(account, NEVER, 1)
            if not last:
                raise NothingKnown(f"{account!r} cannot be evaluated ({type(error).__name__}), and no close could") from error
            past = await self._past(last[0])
            return past.card, past.why
        return self.engine.of_day(record, day).card.variant(why.variant), why

    async def _then(self, account: str, at: datetime, days: list[Past]) -> tuple[Scorecard, Explanation]:
        body = await self.queries.change_by(account, at)
        if not days:
            raise NothingKnown(f"no day of {account!r} was closed before {at.isoformat()}, or it is not kept any more")
        last = days[0]
        change = None if body is None else msgspec.convert(body, RiskChanged)
        if change is None or change.as_of <= self.engine.zone.end_of(last.day):
            return last.card, last.why
        return last.card, _since(last.why, change)

    async def _days(self, account: str, until: int) -> list[Past]:
        return [await self._past(row) for row in await self.queries.closed(account, until, DAYS)]

    async def _past(self, row: dict[str, Any]) -> Past:
        kept = decode(row["reasons"])
        card = (await self.configs.scorecard(row["scorecard"])).variant(kept.variant)
        verdict = Assessment(
            row["day"], row["score"], row["coverage"], Band(row["band"]), "", kept.lifecycle, kept.knockout, kept.held, row["day"]
        )
        return Past(row["day"], card, unfold(kept, card, verdict))


def _since(why: Explanation, change: RiskChanged) -> Explanation:
    """Return what a change between closes made of the last close's explanation."""
    verdict = msgspec.structs.replace(
        why.assessment, score=change.score_after, coverage=change.coverage, band=change.to_band, knockout=change.knockout
    )
    computed = change.to_band if change.override is None else change.override.computed
    return replace(
        why,
        assessment=verdict,
        drivers=change.drivers,
        counterfactual=change.counterfactual,
        computed=computed,
        override=change.override,
        findings=change.findings,
    )


def told(why: Explanation) -> dict[str, Any]:
    """Return an explanation as the API tells it."""
    verdict, said = why.assessment, why.override
    return {
        "computed_band": why.computed.value,
        "override": None if said is None else msgspec.to_builtins(said) | {"disagrees": said.band is not why.computed},
        "lifecycle": verdict.lifecycle,
        "knockout": verdict.knockout,
        "held": verdict.held,
        "variant": why.variant,
        "drivers": msgspec.to_builtins(why.drivers),
        "missing": {name: {"code": reason.name.lower(), "why": reason.value} for name, reason in why.missing.items()},
        "counterfactual": msgspec.to_builtins(why.counterfactual),
        "findings": msgspec.to_builtins(why.findings),
    }


def _day(past: Past) -> dict[str, Any]:
    verdict = past.why.assessment
    return {
        "on": to_date(past.day).isoformat(),
        "band": verdict.band.value,
        "score": verdict.score,
        "computed_band": past.why.computed.value,
        "why": {locale.value: " ".join(reasons(locale, past.why, 1)) for locale in Locale},
    }
