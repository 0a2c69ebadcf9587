"""Pure. What a stack consists of and what each service is told."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from churnsignal_devstack.problems import StackProblem

PORT_OFFSETS = {"ingest": 0, "scoring": 1, "alerts": 2, "console": 3, "inbox": 5}
SERVICES = ("ingest", "scoring", "alerts")
DEFAULT_BASE = 8080
HIGHEST_BASE = 65_000
DEFAULT_INBOX = 8025
TOKEN_NAME = "devstack"  # noqa: S105 a name, not a token
# Ours are defaults; whatever the person set of these families goes to the services as it is.
FAMILIES = ("CHURNSIGNAL_", "KAFKA_", "SLACK_", "SMTP_", "ALERT_")
NOT_FOR_SERVICES = ("CHURNSIGNAL_DEVSTACK_DIR", "CHURNSIGNAL_CACHE_DIR")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a stack's HTTP sides listen. With the default base the inbox has the port that mail tools are known by."""

    base: int
    inbox: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Ports":
        given = environment.get("CHURNSIGNAL_PORT_BASE", str(DEFAULT_BASE))
        if not given.isdecimal() or not 1 <= int(given) <= HIGHEST_BASE:
            raise StackProblem(f"CHURNSIGNAL_PORT_BASE is {given!r}: set it to a number from 1 to {HIGHEST_BASE}, or not at all.")
        base = int(given)
        return cls(base, base + PORT_OFFSETS["inbox"] if "CHURNSIGNAL_PORT_BASE" in environment else DEFAULT_INBOX)

    def url(self, name: str) -> str:
        port = self.inbox if name == "inbox" else self.base + PORT_OFFSETS[name]
        return f"http://127.0.0.1:{port}"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Random, made once per state directory."""

    signing_key: str
    slack_signing: str
    admin_token: str


def told(ports: Ports, smtp_port: int, tokens_file: Path, secrets: Secrets, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the services, without the addresses of Postgres and Kafka; what the person set wins."""
    ours = {
        "CHURNSIGNAL_ENV": "dev",
        "CHURNSIGNAL_HOST": "127.0.0.1",
        "CHURNSIGNAL_PARTITIONS": "8",
        "CHURNSIGNAL_DRAIN_S": "0",
        "CHURNSIGNAL_SIGNING_KEYS": secrets.signing_key,
        "CHURNSIGNAL_TOKENS_FILE": str(tokens_file),
        "CHURNSIGNAL_PUBLIC_URL": ports.url("alerts"),
        "CHURNSIGNAL_INBOX_PORT": str(ports.inbox),
        "CHURNSIGNAL_INBOX_SMTP_PORT": str(smtp_port),
        "SMTP_URL": f"smtp://127.0.0.1:{smtp_port}",
        "ALERT_EMAIL_FROM": "Churnsignal <alerts@churnsignal.test>",
    }
    # With a real workspace's token the calls go to the real Slack.
    if "SLACK_BOT_TOKEN" not in environment:
        ours |= {
            "SLACK_API_URL": f"{ports.url('inbox')}/slack/api/",
            "SLACK_BOT_TOKEN": "xoxb-devstack",
            "SLACK_SIGNING_SECRET": secrets.slack_signing,
        }
    theirs = {name: value for name, value in environment.items() if name.startswith(FAMILIES) and name not in NOT_FOR_SERVICES}
    return ours | theirs


def tokens_toml(token: str) -> str:
    """Return a tokens file in which `token` is an administrator's."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f'[{TOKEN_NAME}]\nrole = "admin"\nsha256 = "{digest}"\n'


def env_file(values: Mapping[str, str]) -> str:
    """Return shell lines; a value's quotes are closed, escaped and opened again."""
    return "".join("export {}='{}'\n".format(name, value.replace("'", "'\\''")) for name, value in values.items())
