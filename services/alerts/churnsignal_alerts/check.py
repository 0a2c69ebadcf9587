"""Root. What must hold before alerts is loaded, beside its settings: routing.yaml, and the addresses and keys of its channels."""

from churnsignal_common.runtime.config_files import read_config

from churnsignal_alerts.places import allowed_of
from churnsignal_alerts.policy_file import FILE, PACKAGE, parse_policy
from churnsignal_alerts.send.email import mailer_of
from churnsignal_alerts.send.webhook import keys_of
from churnsignal_alerts.settings import AlertsSettings


def routing_text(settings: AlertsSettings) -> tuple[str, str]:
    """Return the routing document to start with and its name."""
    return read_config(settings.routing_file, PACKAGE, FILE)


def check(settings: AlertsSettings) -> list[str]:
    """Return what to say of good settings, warnings last; raises on files and addresses that will not do."""
    text, name = routing_text(settings)
    parse_policy(text, name)
    if settings.smtp:
        mailer_of(settings.smtp.get_secret_value(), settings.sender)
    if settings.webhook_secrets:
        keys_of(settings.webhook_secrets.get_secret_value())
    allowed_of(settings.webhook_allow.split(","))
    said = [f"{name}: valid"]
    if not (settings.slack_token or settings.smtp or settings.webhook_secrets):
        said.append("none of SLACK_BOT_TOKEN, SMTP_URL, CHURNSIGNAL_WEBHOOK_SECRETS is set: nobody can be told")
    if not settings.signing_keys:
        said.append("CHURNSIGNAL_SIGNING_KEYS is not set: e-mails carry no links to act")
    return said
