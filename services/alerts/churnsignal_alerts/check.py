"""Root. What must hold before alerts is loaded, beside its settings: routing.yaml, and the addresses and keys of its channels."""

from churnsignal_common.runtime.config_files import read_config

from churnsignal_alerts.directory import Channel
from churnsignal_alerts.episodes import WATCHDOG
from churnsignal_alerts.places import allowed_of
from churnsignal_alerts.policy_file import FILE, PACKAGE, parse_policy
from churnsignal_alerts.send.email import mailer_of
from churnsignal_alerts.send.webhook import keys_of
from churnsignal_alerts.settings import AlertsSettings


def routing_text(settings: AlertsSettings) -> tuple[str, str]:
    """Return the routing document to start with and its name."""
    return read_config(settings.routing_file, PACKAGE, FILE)


def configured(settings: AlertsSettings) -> frozenset[Channel]:
    """Return the channels that the environment configures."""
    ways = ((Channel.SLACK, settings.slack_token), (Channel.EMAIL, settings.smtp), (Channel.WEBHOOK, settings.webhook_secrets))
    return frozenset(channel for channel, given in ways if given)


def check(settings: AlertsSettings) -> list[str]:
    """Return what to say of good settings, warnings last; raises on files and addresses that will not do."""
    text, name = routing_text(settings)
    policy = parse_policy(text, name)
    if settings.smtp:
        mailer_of(settings.smtp.get_secret_value(), settings.sender)
    if settings.webhook_secrets:
        keys_of(settings.webhook_secrets.get_secret_value())
    allowed_of(settings.webhook_allow.split(","))
    said = [f"{name}: valid"]
    channels = configured(settings)
    if channels and not policy.reaches_somebody(channels):
        said.append(
            f"catch_all has no address on a channel that is configured ({', '.join(sorted(channels))}): what finds no other way waits"
        )
    if not channels:
        said.append("none of SLACK_BOT_TOKEN, SMTP_URL, CHURNSIGNAL_WEBHOOK_SECRETS is set: nobody can be told")
    if WATCHDOG not in policy.pools:
        said.append(f"{name} has no watchdog: nothing proves on schedule that alerts arrive, and nothing pages when they do not")
    if settings.slack_token and not settings.slack_secret:
        said.append("SLACK_SIGNING_SECRET is not set: buttons in Slack do nothing")
    if not settings.signing_keys:
        said.append("CHURNSIGNAL_SIGNING_KEYS is not set: e-mails carry no links to act")
    return said
