"""Root. First start of the containers: `python -m churnsignal_devstack.bootstrap` makes secrets, tokens and the clock, each once.

Everything goes to files on a volume, so that the compose file holds no secret. What exists is never replaced, except the clock
when the demo asks for its own.
"""

import json
import secrets
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from datetime import time as midnight
from pathlib import Path

from churnsignal_common.clock import ClockFile, paused_at

from churnsignal_devstack import plan

SECRETS = Path("/run/churnsignal")
CLOCK = Path("/var/lib/churnsignal/clock.json")
# Product time that is the machine's: the demo replaces it by its own.
REAL_TIME = ClockFile(real_s=0.0, product_s=0.0, rate=1.0)


def once(path: Path, make: Callable[[], str], mode: int = 0o400) -> str:
    """Return what `path` holds, made now if this is the first start."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.write_text(make())
        fresh.chmod(mode)
        fresh.replace(path)
    return path.read_text()


def make_secrets(where: Path) -> None:
    """Make what the services are told by `<NAME>_FILE`."""
    # Postgres reads its password as a user of its own.
    password = once(where / "postgres_password", lambda: secrets.token_urlsafe(24), 0o444)
    once(where / "database_url", lambda: f"postgresql://churnsignal:{password}@postgres:5432/churnsignal")
    once(where / "signing_keys", lambda: secrets.token_urlsafe(32))
    once(where / "slack_signing_secret", lambda: secrets.token_urlsafe(32))
    token = once(where / "admin_token", lambda: secrets.token_urlsafe(24))
    once(where / "tokens.toml", lambda: plan.tokens_toml(token))


def write_client_env(where: Path) -> None:
    """Write the keys as shell lines; `write_key.json` is what `churnsignal-ingest keys create --json` printed."""
    made = json.loads((where / "write_key.json").read_text())
    keys = {
        "CHURNSIGNAL_WRITE_KEY": made["write_key"],
        "CHURNSIGNAL_ADMIN_TOKEN": (where / "admin_token").read_text(),
        "DATABASE_URL": (where / "database_url").read_text(),
    }
    (where / "client.env").write_text(plan.env_file(keys))


def main(wish: str) -> None:
    """Do what the container was started for: `first-start`, `demo-clock` or `client-env`."""
    if wish == "first-start":
        make_secrets(SECRETS)
        if not CLOCK.exists():
            REAL_TIME.write(CLOCK)
    elif wish == "demo-clock":
        from churnsignal_devstack.demo import story  # noqa: PLC0415 polars is big, and only the demo needs it

        paused_at(datetime.combine(story.START, midnight(), UTC)).write(CLOCK)
    elif wish == "client-env":
        write_client_env(SECRETS)
        print("Write key and admin token: docker compose exec inbox cat /run/churnsignal/client.env")
    else:
        raise SystemExit(f"{wish!r}: choose first-start, demo-clock or client-env")


if __name__ == "__main__":
    main(sys.argv[1])
