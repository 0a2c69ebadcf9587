"""Settings: read once, refuse nonsense with the variable's name and the fix, never show a secret."""

from pathlib import Path

import pytest
from churnsignal_common.runtime.settings import ServiceSettings, read_settings

GOOD = {"DATABASE_URL": "postgresql://app:canary-secret@db/app", "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "DATABASE_URL",
        "KAFKA_BOOTSTRAP_SERVERS",
        "CHURNSIGNAL_DAY_ZONE",
        "CHURNSIGNAL_PARTITIONS",
        "CHURNSIGNAL_ENV",
        "CHURNSIGNAL_PORT_BASE",
    ):
        monkeypatch.delenv(name, raising=False)


def _set(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in {**GOOD, **values}.items():
        monkeypatch.setenv(name, value)


def test_good_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch, CHURNSIGNAL_PORT_BASE="9080")

    settings = read_settings(ServiceSettings)

    assert (settings.kafka, settings.port("alerts"), settings.partitions) == ("kafka:9092", 9082, 64)


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(GOOD["DATABASE_URL"] + "\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")

    assert read_settings(ServiceSettings).database_url.get_secret_value() == GOOD["DATABASE_URL"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://app:canary-secret@db/app"),
        ("CHURNSIGNAL_DAY_ZONE", "Mars/Olympus"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka-without-port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092,"),
        ("CHURNSIGNAL_PARTITIONS", "0"),
        ("CHURNSIGNAL_ENV", "staging"),
    ],
)
def test_nonsense_stops_the_start_and_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    _set(monkeypatch, **{name: value})

    with pytest.raises(SystemExit) as stopped:
        read_settings(ServiceSettings)

    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert name in told
    assert "canary-secret" not in told
    assert value == "0" or value not in told


def test_a_missing_variable_is_named_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(ServiceSettings)

    told = capsys.readouterr().err
    assert "DATABASE_URL" in told and "KAFKA_BOOTSTRAP_SERVERS" in told and "host:port" in told


def test_a_secret_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", "/nowhere/at/all")

    with pytest.raises(SystemExit):
        read_settings(ServiceSettings)

    assert "DATABASE_URL_FILE" in capsys.readouterr().err


def test_a_printed_settings_object_masks_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    _set(monkeypatch)

    assert "canary-secret" not in repr(read_settings(ServiceSettings))
