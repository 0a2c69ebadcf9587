"""Root. `churnsignal-scoring`: serve, migrate, check-config, accounts, scorecard, mapping."""

import asyncio
import sys
from pathlib import Path

import cyclopts
import uvloop
from churnsignal_common.document import ConfigError
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_common.postgres.migrate import migrate_blocking
from churnsignal_common.runtime.logging import set_up_logging
from churnsignal_common.runtime.settings import read_settings
from sqlalchemy.exc import SQLAlchemyError

from churnsignal_scoring.accounts_cli import import_accounts
from churnsignal_scoring.app import MIGRATIONS, run
from churnsignal_scoring.config_cli import mapping, scorecard
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


@app.command
def serve() -> None:
    """Serve until SIGTERM. Example: churnsignal-scoring serve."""
    settings = read_settings(ScoringSettings)
    set_up_logging(settings.log_level, settings.log_format, "scoring")
    raise SystemExit(uvloop.run(run(settings)))


@app.command
def migrate() -> None:
    """Bring schema `scoring` to its newest version. Example: churnsignal-scoring migrate."""
    settings = read_settings(ScoringSettings)
    try:
        migrate_blocking(settings.database_url.get_secret_value(), MIGRATIONS, "scoring")
    except (SQLAlchemyError, OSError) as error:
        print(f"cannot migrate: {type(error).__name__}; is Postgres up at DATABASE_URL?", file=sys.stderr)
        raise SystemExit(1) from error


@app.command
def check_config() -> None:
    """Read settings, mapping.yaml and scorecard.yaml, and say whether they would do. Example: churnsignal-scoring check-config."""
    settings = read_settings(ScoringSettings)
    try:
        read, card = load_mapping(settings.mapping), load_scorecard(settings.scorecard)
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from error
    print(f"ok: mapping {read.version}, scorecard {card.version}, days of {settings.day_zone}")


@accounts.command(name="import")
def accounts_import(file: Path, *, dry_run: bool = False, json: bool = False) -> None:
    """Set owner, ARR, seats, renewal and the like from a CSV file. Example: churnsignal-scoring accounts import crm.csv --dry-run

    One column is account_id; the others are traits as mapping.yaml names them, such as owner, arr or mrr, currency, seats, renewal_date,
    notice_days, plan, tier, timezone, country, parent. An empty cell leaves a value as it is, `null` clears it. A file with an error is not imported
    at all; --dry-run only looks.
    """
    settings = read_settings(ScoringSettings)
    try:
        mapper = Mapper(load_mapping(settings.mapping))
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from error
    raise SystemExit(asyncio.run(import_accounts(settings, mapper, file, dry_run=dry_run, as_json=json)))


app.command(checkpoint)
app.command(rebuild)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
