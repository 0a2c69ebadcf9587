"""Door. What every service reads from the environment: once, at start, refusing nonsense with the variable's name and the fix."""

import os
import re
import socket
import sys
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar
from urllib.parse import unquote

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from churnsignal_common.contracts.days import is_zone
from churnsignal_common.runtime.variables import unknown

_PASSWORD = re.compile(r"://[^:@/]*:([^@]+)@")
_SHORTEST_MASKED = 12
PORT_OFFSETS = {"ingest": 0, "scoring": 1, "alerts": 2, "console": 3}


class ServiceSettings(BaseSettings):
    """Fields that every service has. Each may also come from a file named by `<NAME>_FILE`."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    database_url: SecretStr = Field(alias="DATABASE_URL", description="Postgres, as postgresql://user:password@host:port/name.")
    kafka: str = Field(alias="KAFKA_BOOTSTRAP_SERVERS", description="Brokers as host:port, comma separated.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", alias="KAFKA_SECURITY_PROTOCOL", description="How to talk to the brokers."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", alias="KAFKA_SASL_MECHANISM", description="SASL mechanism; used when the protocol starts with SASL."
    )
    kafka_sasl_username: str | None = Field(default=None, alias="KAFKA_SASL_USERNAME", description="SASL user.")
    kafka_sasl_password: SecretStr | None = Field(default=None, alias="KAFKA_SASL_PASSWORD", description="SASL password.")
    kafka_ssl_cafile: Path | None = Field(default=None, alias="KAFKA_SSL_CAFILE", description="CA certificates of the brokers (PEM).")
    kafka_ssl_certfile: Path | None = Field(default=None, alias="KAFKA_SSL_CERTFILE", description="Our client certificate (PEM).")
    kafka_ssl_keyfile: Path | None = Field(default=None, alias="KAFKA_SSL_KEYFILE", description="Our client key (PEM).")
    partitions: int = Field(
        default=64,
        ge=1,
        le=1024,
        alias="CHURNSIGNAL_PARTITIONS",
        description="Partitions of the keyed topics. For life: keys stay where they are.",
    )
    topic_prefix: str = Field(
        default="",
        alias="CHURNSIGNAL_TOPIC_PREFIX",
        description="Put before every topic and group name; lets several stacks share a broker.",
    )
    env: Literal["production", "dev"] = Field(
        default="production", alias="CHURNSIGNAL_ENV", description="`dev` allows the file clock and crash points."
    )
    clock: str = Field(default="real", alias="CHURNSIGNAL_CLOCK", description="`real`, or `file:<path>` in dev.")
    day_zone: str = Field(
        default="UTC", alias="CHURNSIGNAL_DAY_ZONE", description="Zone of the product's days (IANA name). Fixed after the first event."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", alias="CHURNSIGNAL_LOG_LEVEL", description="Lowest level that is written."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", alias="CHURNSIGNAL_LOG_FORMAT", description="`json` for machines, `console` for people."
    )
    host: str = Field(default="0.0.0.0", alias="CHURNSIGNAL_HOST", description="Address to listen on.")  # noqa: S104 a container listens on all
    port_base: int = Field(
        default=8080,
        ge=1,
        le=65000,
        alias="CHURNSIGNAL_PORT_BASE",
        description="Ports: ingest +0, scoring +1, alerts +2, console +3, inbox +5.",
    )
    tokens_file: Path | None = Field(
        default=None,
        alias="CHURNSIGNAL_TOKENS_FILE",
        description="Admin and read tokens with names and roles, hashed; re-read when it changes. None: those APIs answer 403.",
    )
    config_dir: Path | None = Field(
        default=None,
        alias="CHURNSIGNAL_CONFIG_DIR",
        description="Folder with mapping.yaml, scorecard.yaml (calendars are a part of it), routing.yaml. None: the shipped defaults.",
    )
    signing_keys: SecretStr | None = Field(
        default=None,
        alias="CHURNSIGNAL_SIGNING_KEYS",
        description="Comma separated secrets (first signs, all verify) for links and stored write keys.",
    )
    public_url: str = Field(
        default="http://localhost:8082", alias="CHURNSIGNAL_PUBLIC_URL", description="Where people reach alerts; used in links."
    )

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        scheme, _, rest = value.get_secret_value().partition("://")
        if scheme not in ("postgresql", "postgres"):
            raise ValueError("must start with postgresql://")
        who, _, where = rest.partition("?")[0].rpartition("@")
        ports = [host.rpartition("]")[2].partition(":")[2] for host in where.partition("/")[0].split(",")]
        if "@" in who or not all(port == "" or port.isdecimal() for port in ports):
            raise ValueError(
                "must be postgresql://user:password@host:port/name, with special characters of the password as %40 and the like"
            )
        return value

    @field_validator("kafka")
    @classmethod
    def _are_brokers(cls, value: str) -> str:
        parts = [part.strip().rpartition(":") for part in value.split(",")]
        if not all(host and port.isdecimal() for host, _, port in parts):
            raise ValueError("must be host:port, comma separated")
        return value

    @field_validator("day_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        if not is_zone(value):
            raise ValueError("must be an IANA zone such as Europe/Berlin")
        return value

    @property
    def secrets(self) -> set[str]:
        """Return whatever of these settings nobody may read: each secret, and its parts. Short ones would be found in harmless words."""
        whole = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        listed = [part.strip() for value in whole for part in value.split(",")]
        passwords = [password for value in listed for password in _PASSWORD.findall(value)]
        return {secret for secret in (*whole, *listed, *passwords, *map(unquote, passwords)) if len(secret) >= _SHORTEST_MASKED}

    @property
    def dev(self) -> bool:
        return self.env == "dev"

    def port(self, service: str) -> int:
        """Return the port of `service` by the table of offsets."""
        return self.port_base + PORT_OFFSETS[service]

    def topic(self, name: str) -> str:
        """Return the deployment's name of a topic or group."""
        return self.topic_prefix + name


class ConsumerSettings(ServiceSettings):
    """Fields of the services that share out partitions among their replicas."""

    instance: str | None = Field(
        default=None,
        alias="CHURNSIGNAL_INSTANCE",
        description="This replica's stable name (the pod's ordinal name). A restart within the session moves no partition. None: dynamic.",
    )
    session_timeout_s: float = Field(
        default=10.0, ge=1, le=300, alias="CHURNSIGNAL_SESSION_TIMEOUT_S", description="Seconds until a dead replica's partitions move."
    )

    @property
    def owner(self) -> str:
        """Return who we are to the other replicas."""
        return self.instance or f"{socket.gethostname()}:{os.getpid()}"


class CheckpointSettings(ServiceSettings):
    """How old the oldest copy of scoring's state gets: calls must be kept for longer than that."""

    checkpoint_hours: int = Field(
        default=24,
        ge=0,
        alias="CHURNSIGNAL_CHECKPOINT_HOURS",
        description="Hours between copies of the state, from which a rebuild or a proof starts; 0 takes none.",
    )
    checkpoints_kept: int = Field(
        default=2, ge=1, alias="CHURNSIGNAL_CHECKPOINTS_KEPT", description="Copies to keep. Topics must be kept longer than the oldest one."
    )


S = TypeVar("S", bound=BaseSettings)


def _values_from_files(kind: type[BaseSettings]) -> dict[str, Any]:
    found = {}
    for field in kind.model_fields.values():
        name = field.alias or ""
        path = os.environ.get(f"{name}_FILE")
        if not path or name in os.environ or name.endswith("_FILE"):
            continue
        try:
            found[name] = Path(path).read_text().strip()
        except OSError as error:
            fail(f"{name}_FILE: cannot read it ({error.strerror}); point it at a readable file or set {name}")
    return found


def fail(message: str) -> NoReturn:
    """Say on stderr what to do, and exit 2."""
    print(message, file=sys.stderr)  # noqa: T201 the one way out before logging is set up
    raise SystemExit(2)


def read_settings(kind: type[S]) -> S:
    """Return the settings, or exit 2 naming each bad variable and the fix, never its value."""
    strangers = list(unknown(os.environ))
    if strangers:
        fail("\n".join(strangers))
    try:
        return kind(**_values_from_files(kind))
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in problem["loc"])
            about = next((f.description for f in kind.model_fields.values() if f.alias == name), "")
            lines.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}. {about}")
        fail("\n".join(lines))
