"""Door. Places that refused for good, in Postgres: an address that bounces is spared, and the operator is told once of each place."""

from dataclasses import dataclass

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churnsignal_alerts.delivery import UNCONFIGURED, Delivery, Record, Trouble
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.policy import Pool

# After this an address that bounced is tried again: mailboxes come back, and nobody should have to remember.
SPARED_DAYS = 7
# Refusals that say nothing about the address: the whole workspace, or our own token, is the trouble.
_WHOLE = frozenset(
    [
        UNCONFIGURED,
        "access_denied",
        "account_inactive",
        "ekm_access_denied",
        "invalid_auth",
        "missing_scope",
        "not_allowed_token_type",
        "not_authed",
        "org_login_required",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
        "two_factor_setup_required",
    ]
)
EVERYWHERE = "*"

SPARED = text(f"""
SELECT reason FROM alerts.troubles
WHERE channel = :channel AND address = :address AND bounced AND since > now() - interval '{SPARED_DAYS} days'
""")  # noqa: S608 a constant of this module
NOTE = text("""
INSERT INTO alerts.troubles AS t (channel, address, reason, bounced) VALUES (:channel, :address, :reason, :bounced)
ON CONFLICT (channel, address) DO UPDATE SET reason = excluded.reason, bounced = excluded.bounced, since = excluded.since
WHERE excluded.bounced AND t.since <= now() - make_interval(days => :days) RETURNING address
""")
OVER = text("DELETE FROM alerts.troubles WHERE channel = :channel AND address IN (:address, '*')")
# A message about a message: it belongs to no episode, and is delivered like any other.
TELL = text("""
INSERT INTO alerts.deliveries (recipient, name, channel, address, locale, zone, state, attempts, fence, not_before, possible_duplicate, unknown, episodes, note)
VALUES ('operator', :name, :channel, :address, :locale, :zone, 'retry', 0, 0, clock_timestamp(), false, false, '{}', :note)
""")
FORGIVE = text("DELETE FROM alerts.troubles WHERE address = ANY(:addresses) OR channel = :channel")


@dataclass(frozen=True, slots=True)
class Operator:
    """Who runs this deployment, and is told of what no CSM can repair; `zone` is for their times."""

    pool: Pool
    channels: frozenset[Channel]
    zone: str

    def way(self, trouble: Trouble) -> tuple[Channel, str] | None:
        """Return how to reach them: by another channel than the one in trouble, if there is one."""
        ways = sorted((way for way in self.pool.ways if way[0] in self.channels), key=lambda way: way[0] is trouble.channel)
        return next((way for way in ways if way != (trouble.channel, trouble.address)), None)


async def spared(connection: AsyncConnection, delivery: Delivery) -> str | None:
    """Return why an address is not to be written to, None when it may."""
    found: str | None = await connection.scalar(SPARED, {"channel": delivery.channel, "address": delivery.address})
    return found


async def note(connection: AsyncConnection, delivery: Delivery, result: Record, operator: Operator) -> None:
    """Write down what a place refused, and queue a message to the operator the first time; a message that got through ends the trouble."""
    if result.state == "sent":
        await connection.execute(OVER, {"channel": delivery.channel, "address": delivery.address})
    if result.refused is None or delivery.note is not None:
        return
    address = EVERYWHERE if result.refused in _WHOLE else delivery.address
    trouble = Trouble(delivery.channel, address, delivery.name, result.refused, bounced=result.bounced)
    values = {"channel": trouble.channel, "address": address, "reason": trouble.reason, "bounced": trouble.bounced, "days": SPARED_DAYS}
    first = (await connection.execute(NOTE, values)).first()
    way = operator.way(trouble)
    if first is not None and way is not None:
        place = {"name": operator.pool.name, "channel": way[0], "address": way[1], "locale": operator.pool.locale, "zone": operator.zone}
        await connection.execute(TELL, {**place, "note": msgspec.json.encode(trouble).decode()})


async def forgive(engine: AsyncEngine, *addresses: str | None, channel: Channel | None = None) -> None:
    """Try again where it was refused: at these addresses, or everywhere on a channel."""
    async with engine.begin() as connection:
        await connection.execute(FORGIVE, {"addresses": [address for address in addresses if address], "channel": channel})
