"""Door. What alerts reads from the environment, beside what every service reads."""

from pathlib import Path
from typing import Self

from churnsignal_common.runtime.settings import ConsumerSettings
from pydantic import Field, SecretStr, field_validator, model_validator


class AlertsSettings(ConsumerSettings):
    """Slack and mail are both optional: with one missing, everything goes by the other."""

    slack_token: SecretStr | None = Field(
        default=None,
        alias="SLACK_BOT_TOKEN",
        description="Bot token (xoxb-...) with the scopes of the README. None: no Slack.",
    )
    slack_secret: SecretStr | None = Field(
        default=None, alias="SLACK_SIGNING_SECRET", description="Verifies clicks on buttons. None: buttons answer 401."
    )
    slack_api: str = Field(default="https://slack.com/api/", alias="SLACK_API_URL", description="Base of Slack's Web API.")
    smtp: SecretStr | None = Field(
        default=None,
        alias="SMTP_URL",
        description="Mail relay: smtp://user:password@host:587?starttls=required, or smtps://. None: no mail.",
    )
    sender: str = Field(
        default="Churnsignal <churnsignal@localhost>", alias="ALERT_EMAIL_FROM", description="Sender of the mails: name <address>."
    )
    webhook_secrets: SecretStr | None = Field(
        default=None,
        alias="CHURNSIGNAL_WEBHOOK_SECRETS",
        description="Signs webhooks: whsec_<base64 of 24 to 64 bytes>, comma-separated, newest first. None: no webhooks.",
    )
    webhook_allow: str = Field(
        default="",
        alias="CHURNSIGNAL_WEBHOOK_ALLOW",
        description="Receivers beside public https addresses on port 443: host:port and networks (10.1.0.0/16), comma-separated.",
    )
    send_timeout_s: int = Field(default=15, ge=1, le=45, alias="CHURNSIGNAL_SEND_TIMEOUT_S", description="Seconds to wait for a provider.")
    sends_per_s: float = Field(
        default=25.0,
        gt=0,
        alias="CHURNSIGNAL_SENDS_PER_S",
        description="Messages a second by each channel (a workspace, a relay), over all replicas; each place gets one a second, and two more in a burst.",
    )
    lease_s: float = Field(
        default=60.0,
        ge=2,
        alias="CHURNSIGNAL_LEASE_S",
        description="Seconds after which a message whose sender went silent is taken over; above three times the send timeout.",
    )
    keep_days: int = Field(
        default=400,
        ge=30,
        alias="CHURNSIGNAL_ALERTS_KEEP_DAYS",
        description="Days for which ended episodes are kept with their timelines and messages; outcomes older than that teach nothing any more.",
    )
    gap_patience_s: float = Field(
        default=300.0,
        gt=0,
        alias="CHURNSIGNAL_GAP_PATIENCE_S",
        description="Seconds to hold an account's changes for a missing earlier one before paging and going on.",
    )

    @field_validator("slack_api")
    @classmethod
    def _ends_with_slash(cls, value: str) -> str:
        return value if value.endswith("/") else value + "/"

    @model_validator(mode="after")
    def _lease_outlasts_the_send(self) -> Self:
        # Opening, looking up and sending are three waits; a lease that ends before them would let two send the same.
        if self.lease_s <= 3 * self.send_timeout_s:
            raise ValueError("CHURNSIGNAL_LEASE_S must be above three times CHURNSIGNAL_SEND_TIMEOUT_S")
        return self

    @property
    def routing_file(self) -> Path | None:
        """Return the deployment's routing.yaml, None for the shipped one."""
        path = self.config_dir / "routing.yaml" if self.config_dir else None
        return path if path and path.exists() else None
