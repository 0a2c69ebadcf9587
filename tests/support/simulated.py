"""Pure. Days of use by accounts of every rhythm, as an events file has them: daily, weekly and monthly ones, with those who fade and those who fail to pay."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
EVENTS = ("Report Viewed", "Signed In", "Dashboard Opened", "Error", "Export Finished")
RHYTHMS = ((1, 0.7), (7, 0.9), (28, 0.9))
"""Every so many days, with this chance; of ten accounts three are daily, five weekly and two monthly."""
OF_TEN = (0, 0, 0, 1, 1, 1, 1, 1, 2, 2)


def use(accounts: int, days: int, first: datetime = FIRST) -> pl.DataFrame:
    """Return the events of so many accounts in so many days: about 0.7 a day from each."""
    columns = ["account_id", "user_id", "event", "occurred_at", "seats"]
    return pl.DataFrame(list(_rows(accounts, days, first)), schema=columns, orient="row").sort("occurred_at", maintain_order=True)


def _rows(accounts: int, days: int, first: datetime) -> Iterator[tuple[str, str, str, datetime, int | None]]:
    for number in range(accounts):
        chance = random.Random(number)
        every, likely = RHYTHMS[OF_TEN[number % 10]]
        # A fifth of them fade away.
        end = chance.randrange(days) if number % 5 == 4 else days
        users, seats = chance.randint(1, 6), chance.choice((None, 5, 10))
        for day in range(chance.randrange(every), end, every):
            for _ in range(chance.randint(1, 2) if chance.random() < likely else 0):
                at = first + timedelta(days=day, minutes=chance.randrange(420, 1200))
                event = "Payment Failed" if chance.random() < 0.002 else chance.choice(EVENTS)
                yield f"account-{number}", f"account-{number}-{chance.randrange(users)}", event, at, seats
