"""Root. `churnsignal-scoring`: serve, migrate, check-config, accounts, scorecard, mapping, explain."""

from pathlib import Path

import cyclopts
from churnsignal_common.document import ConfigError
from churnsignal_common.runtime.cli import add_service, give_up
from churnsignal_common.runtime.settings import read_settings

from churnsignal_scoring.accounts_cli import import_accounts
from churnsignal_scoring.app import MIGRATIONS, run
from churnsignal_scoring.config_cli import mapping, scorecard
from churnsignal_scoring.explain_cli import explain
from churnsignal_scoring.policy import load_mapping, load_scorecard
from churnsignal_scoring.rebuild.command_cli import checkpoint, rebuild
from churnsignal_scoring.settings import ScoringSettings

app = cyclopts.App(
    name="churnsignal-scoring",
    help="Keeps a health score per account and publishes risk changes.\n\nExample: churnsignal-scoring serve",
)
accounts = cyclopts.App(name="accounts", help="What is known of accounts beside their use.")
app.command(accounts)
app.command(scorecard)
app.command(mapping)


add_service(app, "scoring", ScoringSettings, lambda: read_settings(ScoringSettings), run, MIGRATIONS)


@app.command
def check_config() -> None:
    """Read settings, mapping.yaml and scorecard.yaml, and say whether they would do. Example: churnsignal-scoring check-config."""
    settings = read_settings(ScoringSettings)
    try:
        read, card = load_mapping(settings.mapping), load_scorecard(settings.scorecard)
    except ConfigError as error:
        give_up(error)
    print(f"ok: mapping {read.version}, scorecard {card.version}, days of {settings.day_zone}")


@accounts.command(name="import")
def accounts_import(file: Path, *, dry_run: bool = False, json: bool = False) -> None:
    """Set owner, ARR, seats, renewal and the like from a CSV file. Example: churnsignal-scoring accounts import crm.csv --dry-run

    One column is account_id; the others are traits as the mapping in force names them, such as owner, arr or mrr, currency, seats, renewal_date,
    notice_days, plan, tier, timezone, country, parent. An empty cell leaves a value as it is, `null` clears it. A file with an error is not imported
    at all; --dry-run only looks.
    """
    import_accounts(read_settings(ScoringSettings), file, dry_run=dry_run, as_json=json)


app.command(explain)
app.command(checkpoint)
app.command(rebuild)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
