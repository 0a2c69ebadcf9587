"""Door. How a scorecard that runs beside the one in force has done since it began: sizes, who would be red, and what became of them."""

from datetime import datetime
from typing import Any

from churnsignal_scoring.configs import Configs
from churnsignal_scoring.health.days import DayZone, to_date
from churnsignal_scoring.queries import Queries

SHOWN = 50

# Rows of an earlier run, and of accounts that were not closed since, are older than the day this run began on.
SIZES = """-- how many accounts are in which band under both, and how often each turned one red
SELECT in_force_band, s.band, count(*) AS accounts, coalesce(sum((a.profile ->> 'arr')::float8), 0) AS arr, min(s.since) AS since, max(s.day) AS day,
    sum(in_force_turned_red)::bigint AS in_force_turned_red, sum(turned_red)::bigint AS turned_red
FROM shadow_scores s JOIN accounts a USING (account) WHERE s.version = :version AND s.day >= :begun
GROUP BY in_force_band, s.band ORDER BY in_force_band, s.band"""
ONLY_RED = """-- who is red under one of them only, the most valuable first
SELECT account, a.profile ->> 'name' AS name, (a.profile ->> 'arr')::float8 AS arr, in_force_band AS "from", s.band AS "to",
    in_force_score AS score_from, s.score AS score_to
FROM shadow_scores s JOIN accounts a USING (account)
WHERE s.version = :version AND s.day >= :begun AND s.band <> in_force_band AND 'red' IN (s.band, in_force_band)
ORDER BY s.band = 'red' DESC, (a.profile ->> 'arr')::float8 DESC NULLS LAST, account"""
OUTCOMES = """-- what people recorded since, and under which of them the account was red by then
SELECT versions -> 0 ->> 'value' AS outcome, count(*) AS accounts,
    count(*) FILTER (WHERE in_force_first_red <= (versions -> 0 ->> 'day')::int) AS red_in_force,
    count(*) FILTER (WHERE first_red <= (versions -> 0 ->> 'day')::int) AS red_shadow
FROM shadow_scores s JOIN facts f ON f.account = s.account AND f.name = 'outcome'
WHERE s.version = :version AND s.day >= :begun AND (versions -> 0 ->> 'day')::int >= s.since AND versions -> 0 ->> 'value' IS NOT NULL
GROUP BY 1 ORDER BY 1"""


class NoShadow(Exception):
    """No scorecard runs beside the one in force."""

    def __init__(self) -> None:
        super().__init__("no scorecard runs beside the one in force; begin with POST /v1/scorecards/{version}/shadow")


async def compare(queries: Queries, configs: Configs, zone: DayZone, now: datetime) -> dict[str, Any]:
    """Return the two side by side as of each account's last close; raises `NoShadow`."""
    running = await configs.shadow(now)
    if running is None:
        raise NoShadow
    since, version = running
    given = {"version": version, "begun": zone.day_of(since)}
    sizes, moved, outcomes = [await queries.rows(query, **given) for query in (SIZES, ONLY_RED, OUTCOMES)]
    reds = {
        "both": sum(row["accounts"] for row in sizes if row["band"] == row["in_force_band"] == "red"),
        "only_shadow": sum(row["to"] == "red" for row in moved),
        "only_in_force": sum(row["from"] == "red" for row in moved),
    }
    turned = {
        name: sum(int(row[column]) for row in sizes) for name, column in (("in_force", "in_force_turned_red"), ("shadow", "turned_red"))
    }
    return {
        "scorecard": version,
        "in_force": (await configs.policy()).scorecard_at(now).version,
        "effective_from": since.isoformat(),
        "since": to_date(min(row["since"] for row in sizes)).isoformat() if sizes else None,
        "as_of": to_date(max(row["day"] for row in sizes)).isoformat() if sizes else None,
        "accounts": sum(row["accounts"] for row in sizes),
        "bands": [
            {"in_force": row["in_force_band"], "shadow": row["band"], "accounts": row["accounts"], "arr": row["arr"]} for row in sizes
        ],
        "red": reds,
        "turned_red": turned,
        "outcomes": outcomes,
        "only_shadow_red": [row for row in moved if row["to"] == "red"][:SHOWN],
        "only_in_force_red": [row for row in moved if row["from"] == "red"][:SHOWN],
        "summary": _summary(reds, turned, bool(sizes)),
    }


def _summary(reds: dict[str, int], turned: dict[str, int], closed: bool) -> str:
    if not closed:
        return "no day was closed under both yet"
    return (
        f"{reds['both']} accounts are red under both, {reds['only_shadow']} only under the shadow, {reds['only_in_force']} only under the one in force; "
        f"since it began the shadow would have turned {turned['shadow']} red, the one in force did {turned['in_force']}"
    )
