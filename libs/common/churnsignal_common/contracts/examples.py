"""Pure. One golden example of each record; committed as JSON, so that a changed contract shows in a diff and old examples still decode."""

from datetime import UTC, date, datetime

import msgspec

from churnsignal_common.contracts.contact import Contacted, Way
from churnsignal_common.contracts.days import DayRecord, SegmentNorms, SourceVerdict
from churnsignal_common.contracts.envelope import (
    AccountAbsorbed,
    AccountMerged,
    Command,
    Envelope,
    Format,
    OutcomeRecorded,
    OverrideCleared,
    OverrideSet,
    ProfileEdited,
    Rejected,
    UserAliased,
    UserLinked,
    encoder,
)
from churnsignal_common.contracts.risk import (
    AccountProfile,
    Band,
    Cause,
    Counterfactual,
    Driver,
    Evidence,
    RiskChanged,
    RiskChangedEvent,
    SilentSource,
    risk_event,
)

_NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
_CALL = msgspec.Raw(b'{"type":"track","userId":"u-7","event":"Report Exported","properties":{"rows":120},"messageId":"m-1"}')

PROFILE = AccountProfile(
    account="acme", name="Acme K.K.", plan="business", arr=1200000.0, currency="JPY", seats=40, renewal_on=date(2027, 3, 31),
    notice_days=30, owner="hanako@example.com", segment="mid-market", tier="high", timezone="Asia/Tokyo", country="JP",
    lifecycle="active", created_on=date(2024, 4, 1), updated_at=_NOON,
)  # fmt: skip

# Steady for two months, then a fall, with three days on which nothing could be said.
_TREND = (*(7100 + 40 * (day % 5) for day in range(62)), 6740, None, None, None, *(6100 - 160 * day for day in range(23)), 2310)

CHANGE = RiskChanged(
    account=PROFILE, sequence=12, from_band=Band.YELLOW, to_band=Band.RED, score_before=4120, score_after=2310, coverage=10000,
    drivers=(
        Driver(
            code="silence", measure="silence", contribution=310, possible=4000, value=19.0, baseline=2.0, unit="days", window_days=None,
            moved=-1500, evidence=Evidence(events=0, users=0, last_seen=date(2026, 11, 1), event_ids=("m-1",)),
        ),
        Driver(code="active_days", measure="active_days", contribution=2000, possible=6000, value=4.0, baseline=15.0, unit="days", window_days=28),
    ),
    counterfactual=Counterfactual(code="active_days", measure="active_days", value=6.0, band=Band.YELLOW),
    previous_band_since=date(2026, 11, 8), scorecard="default-1", day_record=date(2026, 11, 20), as_of=_NOON,
    last_seen=date(2026, 11, 1), cause=Cause.CLOSE, trend=_TREND,
)  # fmt: skip

_COMMANDS: tuple[Command, ...] = (
    UserLinked(subject="u-7", account="acme"),
    UserAliased(subject="9f0c", into="u-7"),
    OverrideSet(band="green", reason="migration weekend agreed with the customer", author="hanako", expires_at=_NOON),
    OverrideCleared(author="hanako"),
    OutcomeRecorded(outcome="churned", author="hanako", note="moved to a competitor"),
    ProfileEdited(traits={"owner": "hanako@example.com", "plan": None}, author="crm-import"),
    AccountMerged(into="acme-global", author="hanako"),
    AccountAbsorbed(
        absorbed="acme-kk",
        first_day=20_000,
        last_active=20_777,
        last_event=_NOON,
        events=3,
        origin=20_776,
        habit=b"\x03",
        days=((20_777, {"@web": 3, "use": 3}),),
        users=(("u-7", 742, 1),),
        facts=(("plan", "pro", 1_795_176_000_000_000, "g-1", "web", 20_777),),
        lasts=((20_777, 1_795_176_000_000_000, "m-1"),),
    ),
)


def _command(command: Command) -> Envelope:
    return Envelope(
        id="c-1",
        source="scoring",
        account="acme",
        occurred_at=_NOON,
        received_at=_NOON,
        format=Format.COMMAND,
        call=msgspec.Raw(encoder.encode(command)),
    )


EXAMPLES: dict[str, msgspec.Struct] = {
    "envelope": Envelope(
        id="m-1", source="web", account="acme", user="u-7", anonymous="9f0c", occurred_at=_NOON, received_at=_NOON, stamped_at=_NOON, sent_at=_NOON, call=_CALL
    ),
    "envelope-unresolved": Envelope(id="m-1", source="web", user="u-7", occurred_at=_NOON, received_at=_NOON, call=_CALL),
    **{f"command-{type(c).__struct_config__.tag}": _command(c) for c in _COMMANDS},
    "rejected": Rejected(
        id="r-1", source="web", stage="ingest", reason="event_too_large", message="41 KB; the limit is 32 KB", rejected_at=_NOON, body=b'{"type":"track"}'
    ),
    "account-profile": PROFILE,
    "account-profile-frozen": msgspec.structs.replace(PROFILE, silent_sources=(SilentSource("mobile", datetime(2026, 11, 20, 10, tzinfo=UTC)),)),
    "day-record": DayRecord(
        day=date(2026, 11, 20), made_at=_NOON, scorecard="default-1", mapping="default-1",
        norms={"mid-market": SegmentNorms(accounts=3, active=2, active_days_28=(1, *([0] * 19), 2, *([0] * 8)))},
        sources={
            "mobile": SourceVerdict(
                events=310, silent=True, hours=(*([31] * 10), *([0] * 14)), usual=740, silent_since=datetime(2026, 11, 20, 10, tzinfo=UTC),
                heard_on=date(2026, 11, 20),
            ),
            "old-web": SourceVerdict(events=0, silent=False, hours=(0,) * 24, heard_on=date(2026, 10, 2), retired=True),
            "web": SourceVerdict(events=1200, silent=False, hours=(50,) * 24, usual=1180, heard_on=date(2026, 11, 20)),
        },
    ),
    "risk-changed": risk_event(CHANGE),
    "contacted": Contacted(account="acme", source="crm", id="m-9", at=_NOON, way=Way.CALL, by="hanako@example.com", note="they test it until Friday"),
}  # fmt: skip

VALUES: tuple[type[msgspec.Struct], ...] = (Envelope, Rejected, AccountProfile, DayRecord, RiskChangedEvent, Contacted)
