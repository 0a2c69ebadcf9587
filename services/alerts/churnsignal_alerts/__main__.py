"""Root. `churnsignal-alerts`: serve, migrate, check-config, csms import, routes explain, recommend, watchdog."""

from pathlib import Path

import cyclopts
from churnsignal_common.runtime.start import add_service, begin

from churnsignal_alerts.settings import AlertsSettings

app = cyclopts.App(name="churnsignal-alerts", help="Tells the right person, once.\n\nExample: churnsignal-alerts serve")
add_service(app, "alerts", AlertsSettings, Path(__file__).parent / "migrations")
OTHERS = {name: f"churnsignal_alerts.commands_cli:{name}" for name in ("csms", "routes", "recommend", "watchdog")}


def main() -> None:
    begin(app, OTHERS)


if __name__ == "__main__":
    main()
