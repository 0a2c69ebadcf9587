"""Root. `churnsignal-ingest`: serve, migrate, check-config, keys, import, mapping."""

from pathlib import Path

import cyclopts
from churnsignal_common.runtime.start import add_service, begin

from churnsignal_ingest.settings import IngestSettings

app = cyclopts.App(
    name="churnsignal-ingest", help="Takes usage events over HTTP and makes them durable in Kafka.\n\nExample: churnsignal-ingest serve"
)
add_service(app, "ingest", IngestSettings, Path(__file__).parent / "migrations")
OTHERS = {
    "keys": "churnsignal_ingest.keys_cli:keys",
    "import": "churnsignal_ingest.import_cli:import_",
    "mapping": "churnsignal_ingest.mapping_cli:mapping",
}


def main() -> None:
    begin(app, OTHERS)


if __name__ == "__main__":
    main()
