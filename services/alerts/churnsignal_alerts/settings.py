"""Door. What alerts reads from the environment, beside what every service reads."""

from pathlib import Path

from churnsignal_common.runtime.settings import ServiceSettings
from pydantic import Field, SecretStr, field_validator


class AlertsSettings(ServiceSettings):
    """Slack and mail are both optional: with one missing, everything goes by the other."""

    slack_token: SecretStr | None = Field(
        default=None, alias="SLACK_BOT_TOKEN", description="Bot token (xoxb-...) with chat:write, im:write, im:history. None: no Slack."
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
    send_timeout_s: int = Field(
        default=15, ge=1, le=45, alias="CHURNSIGNAL_SEND_TIMEOUT_S", description="Seconds to wait for a provider; below the lease of 60 s."
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

    @property
    def routing_file(self) -> Path | None:
        """Return the deployment's routing.yaml, None for the shipped one."""
        path = self.config_dir / "routing.yaml" if self.config_dir else None
        return path if path and path.exists() else None
