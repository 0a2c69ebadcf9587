"""Pure. What services are told, and what clients are given."""

import hashlib
import subprocess
import tomllib
from pathlib import Path

import pytest
from churnsignal_devstack import plan
from churnsignal_devstack.problems import StackProblem

SECRETS = plan.Secrets("signing", "slack", "admin")
TOKENS = Path("/state/tokens.toml")


def _told(environment: dict[str, str]) -> dict[str, str]:
    return plan.told(plan.Ports.of(environment), 1025, TOKENS, SECRETS, environment)


@pytest.mark.parametrize(("environment", "ingest", "inbox"), [({}, 8080, 8025), ({"CHURNSIGNAL_PORT_BASE": "9080"}, 9080, 9085)])
def test_a_port_base_moves_every_port_and_the_inbox_has_its_own_by_default(environment: dict[str, str], ingest: int, inbox: int) -> None:
    ports = plan.Ports.of(environment)

    assert ports.url("ingest") == f"http://127.0.0.1:{ingest}"
    assert ports.url("inbox") == f"http://127.0.0.1:{inbox}"


@pytest.mark.parametrize("nonsense", ["", "web", "0", "-1", "65001", "8080.5"])
def test_a_port_base_that_is_none_is_refused_with_what_to_set(nonsense: str) -> None:
    with pytest.raises(StackProblem, match="set it to a number from 1 to 65000"):
        plan.Ports.of({"CHURNSIGNAL_PORT_BASE": nonsense})


def test_services_talk_to_the_inbox_instead_of_slack() -> None:
    assert _told({})["SLACK_API_URL"] == "http://127.0.0.1:8025/slack/api/"


def test_a_real_slack_token_is_never_sent_to_the_inbox() -> None:
    told = _told({"SLACK_BOT_TOKEN": "xoxb-real"})

    assert told["SLACK_BOT_TOKEN"] == "xoxb-real"
    assert "SLACK_API_URL" not in told


def test_what_the_person_set_wins_and_other_variables_stay_out() -> None:
    told = _told({"CHURNSIGNAL_PARTITIONS": "3", "AWS_SECRET_ACCESS_KEY": "x"})

    assert told["CHURNSIGNAL_PARTITIONS"] == "3"
    assert "AWS_SECRET_ACCESS_KEY" not in told


def test_the_tokens_file_holds_a_hash_and_not_the_token() -> None:
    text = plan.tokens_toml("s3cret")

    assert "s3cret" not in text
    assert tomllib.loads(text) == {"devstack": {"role": "admin", "sha256": hashlib.sha256(b"s3cret").hexdigest()}}


def test_a_shell_reads_the_env_file_back_whatever_the_value() -> None:
    value = """it's "a" $HOME `x` \\ """

    said = subprocess.run(["sh", "-c", plan.env_file({"A": value}) + 'printf %s "$A"'], capture_output=True, text=True, check=True)

    assert said.stdout == value
