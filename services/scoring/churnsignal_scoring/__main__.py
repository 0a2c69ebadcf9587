"""Root. `churnsignal-scoring`: serve, migrate, check-config, accounts, scorecard, mapping, explain, checkpoint, rebuild."""

from pathlib import Path

import cyclopts
from churnsignal_common.runtime.start import add_service, begin

from churnsignal_scoring.settings import ScoringSettings

app = cyclopts.App(
    name="churnsignal-scoring",
    help="Keeps a health score per account and publishes risk changes.\n\nExample: churnsignal-scoring serve",
)
add_service(app, "scoring", ScoringSettings, Path(__file__).parent / "migrations")
OTHERS = {
    "accounts": "churnsignal_scoring.accounts_cli:accounts",
    "scorecard": "churnsignal_scoring.config_cli:scorecard",
    "mapping": "churnsignal_scoring.config_cli:mapping",
    "explain": "churnsignal_scoring.explain_cli:explain",
    "checkpoint": "churnsignal_scoring.rebuild.command_cli:checkpoint",
    "rebuild": "churnsignal_scoring.rebuild.command_cli:rebuild",
}


def main() -> None:
    begin(app, OTHERS)


if __name__ == "__main__":
    main()
