"""Root. `churnsignal-scoring`: serve, migrate, check-config, scorecard, mapping."""

import sys

import cyclopts
import uvloop
from churnsignal_common.document import ConfigError
from churnsignal_common.postgres.migrate import migrate_blocking
from churnsignal_common.runtime.logging import set_up_logging
from churnsignal_common.runtime.settings import read_settings
from sqlalchemy.exc import SQLAlchemyError

from churnsignal_scoring.app import MIGRATIONS, run
from churnsignal_scoring.config_cli import mapping, scorecard
from churnsignal_scoring.policy import load_mapping, load_scorecard
from churnsignal_scoring.settings import ScoringSettings

app = cyclopts.App(
    name="churnsignal-scoring",
    help="Keeps a health score per account and publishes risk changes.\n\nExample: churnsignal-scoring serve",
)
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


def main() -> None:
    app()


if __name__ == "__main__":
    main()
