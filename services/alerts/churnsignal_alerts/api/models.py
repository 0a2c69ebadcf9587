"""Flow. What the API takes and gives, checked once at the edge."""

import re
from datetime import date
from typing import Annotated, Self

from churnsignal_common.catalog.locales import Locale
from churnsignal_common.contracts.contact import Way
from churnsignal_common.contracts.days import is_zone
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from churnsignal_alerts.directory import Channel, Csm
from churnsignal_alerts.episodes import Feedback, Kind, Outcome
from churnsignal_alerts.hours import is_country, parse_hours
from churnsignal_alerts.mute import Matcher


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain NUL")
    return value


Text = Annotated[str, Field(max_length=500), AfterValidator(_storable)]
Ident = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_storable)]


def _zone(value: str | None) -> str | None:
    if value and not is_zone(value):
        raise ValueError("is no IANA zone such as Asia/Tokyo")
    return value or None


def _country(value: str | None) -> str | None:
    if value and not is_country(value):
        raise ValueError("no calendar for this country; use an ISO 3166 code such as JP")
    return value or None


def _email(value: str) -> str:
    if not re.fullmatch(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+", value):
        raise ValueError("is no e-mail address such as hanako@example.com")
    return value


def _slack(value: str) -> str:
    if not re.fullmatch(r"[#CGDUW][\w-]{1,80}", value):
        raise ValueError("is no user id of Slack such as U0AB12CD, and no channel such as #cs")
    return value


class CsmIn(BaseModel):
    """One customer success manager as the API and the CSV file give them."""

    model_config = ConfigDict(extra="forbid")

    name: Ident
    email: Annotated[str, Field(max_length=254), AfterValidator(_email)] | None = None
    slack: Annotated[str, Field(description="User id such as U0AB12CD, or a channel"), AfterValidator(_slack)] | None = None
    locale: Locale = Locale.EN
    zone: Annotated[str | None, AfterValidator(_zone)] = None
    country: Annotated[str | None, AfterValidator(_country)] = None
    hours: str | None = Field(default=None, description="09:00-18:00, or always; none: the deployment's")
    workdays: str = "mon-fri"
    channels: tuple[Channel, ...] = (Channel.SLACK,)
    manager: Ident | None = None
    delegate: Ident | None = None
    away_from: date | None = None
    away_until: date | None = None
    active: bool = True

    def to_csm(self, ident: str) -> Csm:
        """Return the CSM; raises ValueError with the fix for hours that cannot be read."""
        values = self.model_dump(exclude={"hours", "workdays"})
        if not self.email and not self.slack:
            raise ValueError("needs an email or a slack id: otherwise nobody can be told")
        return Csm(id=ident, hours=parse_hours(self.hours, self.workdays) if self.hours else None, **values)


class AcknowledgeIn(BaseModel):
    """`by`: who acts, when the token is not their own."""

    by: Ident | None = None
    note: Text = ""


class SnoozeIn(AcknowledgeIn):
    """`until`: when to be told again; none means tomorrow. `or_worse`: also when it gets worse; without a time, only then, but at last after two weeks."""

    until: AwareDatetime | None = None
    or_worse: bool = False


class ReassignIn(AcknowledgeIn):
    """`to`: the id or e-mail of a CSM."""

    to: Ident


class CloseIn(AcknowledgeIn):
    """What became of it."""

    outcome: Outcome


class NoteIn(BaseModel):
    """Something worth knowing, for whoever reads the timeline."""

    by: Ident | None = None
    note: Annotated[Text, Field(min_length=1)]


class FeedbackIn(AcknowledgeIn):
    """Whether the alert was of use."""

    verdict: Feedback


class ContactIn(BaseModel):
    """One contact with an account. `at`: when it was, now if not given; `by`: who had it, when the token is not their own."""

    model_config = ConfigDict(extra="forbid")

    way: Way
    at: AwareDatetime | None = None
    by: Ident | None = None
    note: Text = ""


class SilenceIn(BaseModel):
    """What not to tell, until when and why. Everything given must fit; `*` and `?` stand for any characters."""

    model_config = ConfigDict(extra="forbid")

    account: Ident | None = None
    segment: Ident | None = None
    owner: Ident | None = None
    kind: Kind | None = None
    reason: Annotated[Text, Field(min_length=1)]
    ends_at: AwareDatetime
    author: Ident | None = None
    preview: bool = False

    @model_validator(mode="after")
    def _fits_something(self) -> Self:
        if self.matcher() == Matcher():
            raise ValueError("needs at least one of account, segment, owner, kind: a silence of everything would hide that nothing works")
        return self

    def matcher(self) -> Matcher:
        return Matcher(self.account, self.segment, self.owner, self.kind)


class RoutingIn(BaseModel):
    """A whole routing.yaml."""

    document: Annotated[str, Field(max_length=200_000), AfterValidator(_storable)]


class ExplainIn(BaseModel):
    """Who would be told about an account; fields beside `account` replace what is known of it."""

    account: Ident
    owner: Text | None = None
    segment: Text | None = None
    tier: Text | None = None
    arr: float | None = None
    kind: Kind = Kind.RISK
    at: AwareDatetime | None = None
