"""Root. `churnsignal-alerts`: serve, migrate, check-config, csms import, routes explain, recommend, watchdog."""

import sys
from pathlib import Path

import cyclopts
from churnsignal_common.document import ConfigError
from churnsignal_common.runtime.cli import add_service
from churnsignal_common.runtime.logging import set_up_logging
from churnsignal_common.runtime.settings import fail, read_settings

from churnsignal_alerts.app import routing_text, run
from churnsignal_alerts.commands_cli import explain_route, import_csms, prove_delivery, recommend_thresholds
from churnsignal_alerts.episodes import Kind
from churnsignal_alerts.places import allowed_of
from churnsignal_alerts.policy_file import parse_policy
from churnsignal_alerts.send.email import mailer_of
from churnsignal_alerts.send.webhook import keys_of
from churnsignal_alerts.settings import AlertsSettings

app = cyclopts.App(name="churnsignal-alerts", help="Tells the right person, once.\n\nExample: churnsignal-alerts serve")
csms = cyclopts.App(name="csms", help="The directory of customer success managers.")
routes = cyclopts.App(name="routes", help="Who would be told.")
app.command(csms)
app.command(routes)


@app.command(name="check-config")
def check_config() -> None:
    """Check the environment and routing.yaml; exit 2 and say what to do. Example: churnsignal-alerts check-config"""
    settings = _checked()
    _, name = routing_text(settings)
    print(f"{name}: valid")
    if not (settings.slack_token or settings.smtp or settings.webhook_secrets):
        print("warning: none of SLACK_BOT_TOKEN, SMTP_URL, CHURNSIGNAL_WEBHOOK_SECRETS is set: nobody can be told", file=sys.stderr)
    if not settings.signing_keys:
        print("warning: CHURNSIGNAL_SIGNING_KEYS is not set: e-mails carry no links to act", file=sys.stderr)


@csms.command(name="import")
def csms_import(file: Path, *, json: bool = False) -> None:
    """Insert or replace CSMs from a CSV file. Example: churnsignal-alerts csms import team.csv

    Columns: id, name, email, slack, locale (en|ja), zone, country, hours (09:00-18:00), workdays (mon-fri), channels (slack;email),
    manager, delegate, away_from, away_until, active.
    """
    raise SystemExit(import_csms(_checked(), file, as_json=json))


@routes.command(name="explain")
def routes_explain(account: str, *, kind: Kind = Kind.RISK, json: bool = False) -> None:
    """Say who would be told about an account, when and why. Example: churnsignal-alerts routes explain acme --kind renewal"""
    raise SystemExit(explain_route(_checked(), account, kind, as_json=json))


@app.command
def recommend(*, json: bool = False) -> None:
    """Suggest a threshold where alerts were too often wrong, with the outcomes behind it. Example: churnsignal-alerts recommend --json"""
    raise SystemExit(recommend_thresholds(_checked(), as_json=json))


@app.command
def watchdog(*, wait: float = 60.0, json: bool = False) -> None:
    """Send a synthetic alert and wait until it was delivered; exit 1 if it was not. Example: churnsignal-alerts watchdog --wait 30"""
    settings = _checked()
    # What it prints is for people or programs; what the service does is in the service's log.
    set_up_logging("critical", settings.log_format, "alerts")
    raise SystemExit(prove_delivery(settings, wait, as_json=json))


def _checked() -> AlertsSettings:
    settings = read_settings(AlertsSettings)
    try:
        parse_policy(*routing_text(settings))
        if settings.smtp:
            mailer_of(settings.smtp.get_secret_value(), settings.sender)
        if settings.webhook_secrets:
            keys_of(settings.webhook_secrets.get_secret_value())
        allowed_of(settings.webhook_allow.split(","))
    except (ConfigError, ValueError) as error:
        fail(str(error))
    return settings


add_service(app, "alerts", AlertsSettings, _checked, run, Path(__file__).parent / "migrations")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
