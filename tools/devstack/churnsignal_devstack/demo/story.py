"""Pure. What the demo tells: real projects and their real events, told as calls of an SDK; contracts and people are invented."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl

Call = dict[str, Any]
START = date(2018, 1, 1)
DATA = Path(__file__).parent / "data" / "asf_podlings"

# Invented people. Working hours are their own, in their own zones.
CSMS: tuple[dict[str, Any], ...] = (
    {
        "id": "hanako",
        "name": "佐藤 花子",
        "slack": "U0HANAKO",
        "locale": "ja",
        "zone": "Asia/Tokyo",
        "country": "JP",
        "channels": ["slack"],
    },
    {"id": "kenji", "name": "田中 健二", "locale": "ja", "zone": "Asia/Tokyo", "country": "JP", "channels": ["email"]},
    {
        "id": "maria",
        "name": "Maria Weber",
        "slack": "U0MARIA",
        "locale": "en",
        "zone": "Europe/Berlin",
        "country": "DE",
        "channels": ["slack"],
    },
    {"id": "sam", "name": "Sam Carter", "locale": "en", "zone": "America/New_York", "country": "US", "channels": ["email"]},
)
_PAYDAY_UTC = {"hanako": time(3), "kenji": time(3), "maria": time(10), "sam": time(16)}


@dataclass(frozen=True, slots=True)
class Account:
    """One project as a customer. `ended_on` is the day it left (retired or graduated), if it did."""

    id: str
    started_on: date
    ended_on: date | None
    owner: str


@dataclass(slots=True)
class Story:
    """The whole demo: accounts, the history before `start`, and the calls of each later day in order of time."""

    start: date
    accounts: tuple[Account, ...]
    history: pl.DataFrame
    replay: pl.DataFrame
    grouped: set[str] = field(default_factory=set)

    def opening(self) -> Iterator[Call]:
        """Yield the group calls that tell who the customers are, on the morning of the first day."""
        at = datetime.combine(self.start, time(0, 0, 1), UTC)
        for account in self.accounts:
            if account.started_on <= self.start:
                yield profile_call(account, at, self.start)

    def past(self) -> Iterator[Call]:
        """Yield the history as calls that name their account."""
        for row in self.history.iter_rows(named=True):
            yield {**_track(row), "context": {"groupId": row["account_id"]}}

    def between(self, after: datetime, until: datetime) -> list[Call]:
        """Return the calls with after < time <= until: usage, profiles of new and leaving accounts, failed payments."""
        rows = self.replay.filter((pl.col("occurred_at") > after) & (pl.col("occurred_at") <= until))
        calls = [call for row in rows.iter_rows(named=True) for call in self._usage(row)]
        calls += self._changes(after, until)
        return sorted(calls, key=lambda call: str(call["timestamp"]))

    def _usage(self, row: dict[str, Any]) -> Iterator[Call]:
        """Most calls carry only the user, as real SDKs send them; the user's first call of ours is followed by its group call."""
        call = _track(row)
        if row["n"] % 5 == 0:
            call["context"] = {"groupId": row["account_id"]}
        yield call
        if row["user_id"] not in self.grouped:
            self.grouped.add(row["user_id"])
            yield {
                "type": "group", "messageId": f"g-{row['user_id']}", "userId": row["user_id"], "groupId": row["account_id"],
                "timestamp": call["timestamp"],
            }  # fmt: skip

    def _changes(self, after: datetime, until: datetime) -> Iterator[Call]:
        for account in self.accounts:
            began = datetime.combine(account.started_on, time(0, 0, 2), UTC)
            if after < began <= until and account.started_on > self.start:
                yield profile_call(account, began, account.started_on)
            if account.ended_on:
                ended = datetime.combine(account.ended_on, time(0, 0, 3), UTC)
                if after < ended <= until:
                    yield profile_call(account, ended, account.ended_on)
            yield from _payments(account, self.start, after, until)


def _track(row: dict[str, Any]) -> Call:
    return {
        "type": "track", "messageId": f"e-{row['n']}", "userId": row["user_id"], "event": row["event"],
        "properties": {"items": row["items"]}, "timestamp": iso(row["occurred_at"]),
    }  # fmt: skip


def profile_call(account: Account, at: datetime, today: date) -> Call:
    """Return the group call that tells the invented contract of `account`, and whether it has left."""
    dice = _dice(account.id)
    seats = 5 + dice % 46
    renewal = account.started_on.replace(year=today.year, day=min(account.started_on.day, 28))
    traits = {
        "name": account.id.removeprefix("asf-").replace("-", " ").title(), "plan": ("team", "business", "enterprise")[dice % 3],
        "arr": seats * (120_000 if account.owner in ("hanako", "kenji") else 1_100), "currency": "JPY" if account.owner in ("hanako", "kenji") else "USD",
        "seats": seats, "renewal_date": (renewal if renewal > today else renewal.replace(year=today.year + 1)).isoformat(),
        "owner": f"{account.owner}@example.com", "created_at": account.started_on.isoformat(),
        "lifecycle": "churned" if account.ended_on and account.ended_on <= today else "active",
    }  # fmt: skip
    return {
        "type": "group", "messageId": f"p-{account.id}-{at:%Y%m%d}", "userId": f"{account.id}-admin", "groupId": account.id,
        "timestamp": iso(at), "traits": traits,
    }  # fmt: skip


def _payments(account: Account, start: date, after: datetime, until: datetime) -> Iterator[Call]:
    """One account in six fails to pay once in the second or third month, and pays four days later."""
    dice = _dice(account.id)
    if dice % 6 or (account.ended_on and account.ended_on < start + timedelta(days=100)) or account.started_on > start:
        return
    day = start + timedelta(days=25 + dice % 60)
    # On a Thursday: of this year's, none is a holiday of theirs, so each is told at once.
    failed = datetime.combine(day + timedelta(days=(3 - day.weekday()) % 7), _PAYDAY_UTC[account.owner], UTC)
    for name, at in (("Payment Failed", failed), ("Payment Succeeded", failed + timedelta(days=4))):
        if after < at <= until:
            yield {
                "type": "track", "messageId": f"pay-{account.id}-{at:%Y%m%d}", "userId": f"{account.id}-billing", "event": name,
                "properties": {"invoice": f"inv-{dice % 10_000}"}, "context": {"groupId": account.id}, "timestamp": iso(at),
            }  # fmt: skip


def _dice(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def iso(at: datetime) -> str:
    """Return `at` as SDKs write times."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def read_story(start: date = START, days: int = 120, folder: Path = DATA) -> Story:
    """Read the data and cut it at `start`; the replay ends `days` later."""
    outcomes = pl.read_csv(folder / "outcomes.csv", infer_schema_length=None).sort("account_id")
    accounts = []
    for row in outcomes.iter_rows(named=True):
        began, ended = date.fromisoformat(row["started_at"][:10]), date.fromisoformat(row["observed_until"][:10])
        if began < start + timedelta(days=days):
            left = row["outcome"] == "churned" or row["status"] == "graduated"
            accounts.append(
                Account(row["account_id"], began, ended if left else None, CSMS[_dice(row["account_id"]) // 7 % len(CSMS)]["id"])
            )
    names = [account.id for account in accounts]
    events = pl.read_parquet(folder / "events.parquet").sort("occurred_at", "account_id", "user_id", "event").with_row_index("n")
    events = events.filter(pl.col("account_id").is_in(names))
    midnight = datetime.combine(start, time(), UTC)
    history = events.filter(pl.col("occurred_at") <= midnight)
    replay = events.filter((pl.col("occurred_at") > midnight) & (pl.col("occurred_at") <= midnight + timedelta(days=days)))
    return Story(start, tuple(accounts), history, replay)
