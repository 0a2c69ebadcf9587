"""Canaries in every secret of every service, and in events: no way out of a process shows one."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import structlog
from churnsignal_alerts.settings import AlertsSettings
from churnsignal_common.document import ConfigError
from churnsignal_common.postgres.engine import open_engine
from churnsignal_common.runtime.logging import note_loop_error, set_up_logging
from churnsignal_common.runtime.settings import ServiceSettings, read_settings
from churnsignal_ingest.settings import IngestSettings
from churnsignal_scoring.settings import ScoringSettings
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError

KINDS = (IngestSettings, ScoringSettings, AlertsSettings)
# By variable; where a part of it is what must not be seen, that part too.
CANARIES = {
    "DATABASE_URL": "postgresql://app:canary-of%2Fthe+database@db:5432/app",
    "KAFKA_SASL_PASSWORD": 'canary-"of-kafka"-ü',
    "CHURNSIGNAL_SIGNING_KEYS": "canary-of-the-first-signing-key,canary-of-the-second-signing-key",
    "SLACK_BOT_TOKEN": "xoxb-canary-of-slack",
    "SLACK_SIGNING_SECRET": "canary-of-slacks-signatures",
    "SMTP_URL": "smtp://mailer:canary-of-the-mail-relay@mail:587",
    "CHURNSIGNAL_WEBHOOK_SECRETS": "whsec_Y2FuYXJ5LW9mLXdlYmhvb2tzLWNhbmFyeQ==",
}
PLAIN = {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"}
# What clients bring, whose form tells it; and what stands in their events.
WRITE_KEY = "css_" + "0123456789abcdef" * 3
OF_CLIENTS = (WRITE_KEY, "Bearer canary-of-an-operator", "Basic Y2FuYXJ5LW9mLWEtY2xpZW50Og==", "postgres://x:canary@elsewhere/y")
PERSON = "canary.person@customer.example"


def parts_of(value: str) -> set[str]:
    password = value.partition("://")[2].rpartition("@")[0].partition(":")[2]
    return {value, *value.split(",")} | ({password, unquote(password)} if password else set())


SECRETS = {part for value in CANARIES.values() for part in parts_of(value)}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CANARIES, **PLAIN}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def unlogged() -> Iterator[None]:
    """Leave logging as it was."""
    root, hook, config = logging.getLogger(), sys.excepthook, structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], sys.excepthook, logging.raiseExceptions = handlers, hook, True
    root.setLevel(level)
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()


def shown(said: str) -> list[str]:
    spellings = {secret: (secret, json.dumps(secret)[1:-1]) for secret in {*SECRETS, *OF_CLIENTS, PERSON}}
    return [secret for secret, spelled in spellings.items() if any(spelling in said for spelling in spelled)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("environment")
def test_no_way_of_printing_settings_shows_a_secret(kind: type[ServiceSettings]) -> None:
    settings = read_settings(kind)

    for dump in (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json(), repr(dict(settings))):
        assert "kafka:9092" in dump
        assert shown(dump) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("environment")
def test_what_names_a_secret_is_one(kind: type[ServiceSettings]) -> None:
    """A field that a canary was planted in, or whose name says so, is never plain text."""
    named = ("password", "secret", "token", "signing", "database_url", "smtp")

    plain = [
        name
        for name, field in kind.model_fields.items()
        if (field.alias in CANARIES or any(word in name for word in named))
        and SecretStr not in (field.annotation, *_options(field.annotation))
    ]

    assert plain in ([], ["tokens_file"])


def _options(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", ())


def _raise(error: Exception) -> None:
    try:
        try:
            raise KeyError(PERSON)  # noqa: TRY301 a test of errors
        except KeyError as before:
            raise error from before
    except Exception as raised:  # noqa: BLE001
        structlog.get_logger().error("it_broke", exc_info=raised)


def _write_badly(secret: str) -> None:
    logging.getLogger("aiokafka.conn").warning("so %s and %s", secret)  # noqa: PLE1206 a library's mistake
    structlog.get_logger().info("the next line is written")


def _leave_behind(secret: str) -> None:
    async def fail() -> None:
        raise ValueError(secret)

    async def go() -> None:
        asyncio.get_running_loop().set_exception_handler(note_loop_error)
        forgotten = asyncio.create_task(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del forgotten

    asyncio.run(go())


def _crash(secret: str) -> None:
    try:
        raise ExceptionGroup(secret, [ValueError(secret), RuntimeError(PERSON)])  # noqa: TRY301 a test of errors
    except ExceptionGroup as error:
        sys.excepthook(type(error), error, error.__traceback__)


WAYS: dict[str, Callable[[str], None]] = {
    "in the name of what happened": lambda secret: structlog.get_logger().info(f"sent {secret}"),
    "in a field": lambda secret: structlog.get_logger().warning("sent", body=secret),
    "deep in a field": lambda secret: structlog.get_logger().warning("sent", body={"all": [secret]}),
    "as bytes": lambda secret: structlog.get_logger().warning("sent", body=secret.encode()) if secret.isascii() else None,
    "by a library's logger": lambda secret: logging.getLogger("aiokafka.conn").warning("cannot authenticate %s", secret),
    "with an error": lambda secret: _raise(ValueError(f"cannot read {secret}")),
    "with an error of ours": lambda secret: _raise(ConfigError("routing.yaml", 1, (), secret, "mend it")),
    "by a library's logger with an error": lambda secret: logging.getLogger("sqlalchemy.pool").error("broke", exc_info=ValueError(secret)),
    "in a task that nobody awaited": _leave_behind,
    "in a line that cannot be written": _write_badly,
    "in a crash": _crash,
}


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("environment", "unlogged")
def test_no_line_of_the_log_shows_a_secret(kind: type[ServiceSettings], way: str, style: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = read_settings(kind)
    set_up_logging("debug", style, "canary", settings.secrets)
    known = {
        part for name, value in CANARIES.items() if any(f.alias == name for f in kind.model_fields.values()) for part in parts_of(value)
    }

    for secret in (*known, *OF_CLIENTS):
        WAYS[way](secret)

    said = capsys.readouterr()
    assert len(said.out.splitlines()) >= len(known)
    assert shown(said.out + said.err) == []


@pytest.mark.usefixtures("unlogged")
def test_a_traceback_names_types_and_places_but_quotes_only_our_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("info", "json", "canary")

    _raise(ValueError(PERSON))
    _raise(ConfigError("routing.yaml", 7, (), "cannot be followed", "mend it"))
    itself = ValueError(PERSON)
    itself.__cause__ = itself
    structlog.get_logger().error("it_broke", exc_info=itself)

    first, second, third = (json.loads(line)["exception"] for line in capsys.readouterr().out.splitlines())
    assert PERSON not in first + second + third
    assert "builtins.KeyError" in first and "builtins.ValueError" in first and "in _raise" in first
    assert "routing.yaml" in second and "cannot be followed" in second


@pytest.mark.asyncio
async def test_an_error_of_the_database_quotes_no_parameters() -> None:
    async with open_engine("postgresql://app:canary@127.0.0.1:1/app", "canary") as engine:
        assert engine.sync_engine.hide_parameters
        error = DBAPIError.instance(
            "INSERT", {"body": PERSON}, ValueError("broke"), ValueError, hide_parameters=engine.sync_engine.hide_parameters
        )
        assert PERSON not in str(error)
