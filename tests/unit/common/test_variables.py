"""Config faults: every service ends at once with one clear sentence, also at a variable that nothing reads."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from churnsignal_alerts.settings import AlertsSettings
from churnsignal_common.kafka.topics_cli import TopicSettings
from churnsignal_common.runtime.settings import ServiceSettings, read_settings
from churnsignal_common.runtime.variables import PREFIX, SETTINGS, SURROUNDINGS, unknown
from churnsignal_ingest.settings import IngestSettings
from churnsignal_scoring.settings import ScoringSettings

KINDS = (IngestSettings, ScoringSettings, AlertsSettings, TopicSettings)
CANARY = "canary-secret"
GOOD = {
    "DATABASE_URL": f"postgresql://app:{CANARY}@127.0.0.1:1/app",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "CHURNSIGNAL_SIGNING_KEYS": f"{CANARY}-of-thirty-two-characters-or-more",
}


def test_the_table_of_names_is_what_the_services_read() -> None:
    read = {field.alias or "" for kind in KINDS for field in kind.model_fields.values()}

    assert {name.removeprefix(PREFIX) for name in read if name.startswith(PREFIX)} == SETTINGS
    assert SETTINGS.isdisjoint(SURROUNDINGS)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("CHURNSIGNAL_CLOSE_GRACE_S", "Did you mean CHURNSIGNAL_CLOSE_GRACE?"),
        ("CHURNSIGNAL_DAYZONE", "Did you mean CHURNSIGNAL_DAY_ZONE?"),
        ("CHURNSIGNAL_SIGNING_KEY_FILE", "Did you mean CHURNSIGNAL_SIGNING_KEYS?"),
        ("CHURNSIGNAL_COLOUR", "Remove it"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_variable_that_nothing_reads_is_refused_with_its_correction(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: type[ServiceSettings], name: str, advice: str
) -> None:
    for known, value in {**GOOD, name: CANARY}.items():
        monkeypatch.setenv(known, value)

    with pytest.raises(SystemExit) as stopped:
        read_settings(kind)

    [said] = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2
    assert said.startswith(f"{name}: there is no such setting. ")
    assert advice in said
    assert CANARY not in said


def test_one_environment_serves_all_processes_and_kubernetes_may_add_its_own() -> None:
    links = {
        "CHURNSIGNAL_INGEST_SERVICE_HOST": "10.0.0.1",
        "CHURNSIGNAL_INGEST_SERVICE_PORT_HTTP": "8080",
        "CHURNSIGNAL_POSTGRES_PORT": "tcp://10.0.0.1:5432",
        "CHURNSIGNAL_INGEST_PORT_8080_TCP_ADDR": "10.0.0.1",
    }

    ours = {PREFIX + name: "1" for name in SETTINGS | SURROUNDINGS} | {PREFIX + name + "_FILE": "/f" for name in SETTINGS}

    assert list(unknown(ours | links | {"CHURNSIGNALS": "1", "PATH": "/bin"})) == []


FAULTS: dict[str, tuple[dict[str, str | None], str]] = {
    "a missing variable": ({"KAFKA_BOOTSTRAP_SERVERS": None}, "KAFKA_BOOTSTRAP_SERVERS"),
    "an address of another database": ({"DATABASE_URL": f"mysql://app:{CANARY}@db/app"}, "DATABASE_URL"),
    "a number that is none": ({"CHURNSIGNAL_PARTITIONS": "many"}, "CHURNSIGNAL_PARTITIONS"),
    "a secret's file that is not there": ({"DATABASE_URL": None, "DATABASE_URL_FILE": "/nowhere"}, "DATABASE_URL_FILE"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_ends_each_service_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: type[ServiceSettings], fault: str
) -> None:
    changes, named = FAULTS[fault]
    for name, value in {**GOOD, **changes}.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as stopped:
        read_settings(kind)

    [said] = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2
    assert said.startswith(f"{named}: ")
    assert CANARY not in said


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "ingest": ({"CHURNSIGNAL_DAYZONE": CANARY}, "CHURNSIGNAL_DAYZONE: there is no such setting"),
    "scoring": ({"CHURNSIGNAL_PARTITIONS": CANARY}, "CHURNSIGNAL_PARTITIONS: "),
    "alerts": ({"SMTP_URL": f"ftp://app:{CANARY}@mail"}, "SMTP_URL"),
}
WRONG_FILE = {"ingest": "mapping.yaml", "scoring": "scorecard.yaml", "alerts": "routing.yaml"}


@pytest.mark.parametrize("place", ["its environment", "a file that it names"])
@pytest.mark.parametrize("service", WRONG)
def test_a_service_that_cannot_follow_its_settings_ends_at_once_with_one_sentence(service: str, place: str, tmp_path: Path) -> None:
    told, named = WRONG[service] if place == "its environment" else ({"CHURNSIGNAL_CONFIG_DIR": str(tmp_path)}, WRONG_FILE[service])
    (tmp_path / WRONG_FILE[service]).write_text("version: [")
    ours = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "DATABASE_", "KAFKA_"))}
    before = _cpu_s()

    ended = subprocess.run(
        [sys.executable, "-m", f"churnsignal_{service}", "serve"],
        env=ours | GOOD | told,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    # Wall time would be that of a busy machine. An idle one needs about half a second.
    assert _cpu_s() - before < 2
    assert ended.returncode == 2, ended.stderr
    [said] = ended.stderr.strip().splitlines()
    assert named in said
    assert CANARY not in ended.stderr + ended.stdout


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
