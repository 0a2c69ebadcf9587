"""Root. `churnsignal-devstack` from outside, without the services: up, status, death of the supervisor, down."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from churnsignal_devstack.plan import PORT_OFFSETS
from churnsignal_devstack.postgres import psql

from tests.support.devstack import PATIENCE_S, Devstack, until
from tests.support.stack import Stack

PASSING = """
import sys
from pathlib import Path
from churnsignal_devstack.stack import Options, Stack
with Stack(Options(services=(), passing=True), lambda line: None) as stack:
    print(next(Path(stack.state.where).glob("run-*")), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def devstack(tmp_path: Path) -> Iterator[Devstack]:
    one = Devstack(tmp_path / "state")
    yield one
    one.run("down", "--wipe")


def test_a_detached_stack_says_where_it_listens_and_is_gone_after_down(devstack: Devstack) -> None:
    done = devstack.up("")
    processes = devstack.status()["processes"]

    assert "http://127.0.0.1:" in done.stdout
    assert {row["name"] for row in processes} >= {"postgres", "kafka", "inbox"}
    assert "export DATABASE_URL='postgresql://" in (devstack.where.parent / "env").read_text()
    assert devstack.run("up", "--services", "").returncode == 1

    devstack.run("down")

    assert devstack.run("status").returncode == 1
    assert not any(psutil.pid_exists(row["pid"]) for row in processes)


def test_the_children_of_a_killed_supervisor_die_and_the_next_start_goes_on_with_the_data(devstack: Devstack) -> None:
    devstack.up("")
    password = (devstack.where / "data/postgres/password").read_text()
    pids = [row["pid"] for row in devstack.status()["processes"]]

    os.kill(devstack.supervisor(), signal.SIGKILL)
    until(lambda: not any(map(psutil.pid_exists, pids)))
    devstack.up("")

    assert devstack.status()["ready"]
    assert (devstack.where / "data/postgres/password").read_text() == password


def test_ctrl_c_in_the_middle_of_a_start_leaves_no_process_behind(devstack: Devstack) -> None:
    argv = [sys.executable, "-m", "churnsignal_devstack", "up", "--services", ""]
    starting = subprocess.Popen(argv, env=devstack.env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    until(lambda: len(psutil.Process(starting.pid).children()) > 0)
    children = psutil.Process(starting.pid).children(recursive=True)

    starting.send_signal(signal.SIGINT)
    starting.communicate(timeout=PATIENCE_S)

    until(lambda: not any(psutil.pid_exists(child.pid) for child in children))
    assert devstack.run("status").returncode == 1


def test_servers_that_the_environment_names_are_used_and_left_alone(devstack: Devstack, stack: Stack, database_url: str) -> None:
    devstack.env |= {"DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap, "CHURNSIGNAL_TOPIC_PREFIX": "given."}

    devstack.up("")
    processes = [row["name"] for row in devstack.status()["processes"]]
    devstack.run("down", "--wipe")

    assert processes == ["inbox"]
    assert psql(database_url, "SELECT 1") == "1"
    stack.drop_topics("given.")


def test_a_passing_stack_leaves_no_data_behind_and_does_not_touch_what_up_keeps(devstack: Devstack) -> None:
    devstack.up("")
    kept = (devstack.where / "data/postgres/password").read_text()
    devstack.run("down")

    argv = [sys.executable, "-c", PASSING]
    starting = subprocess.Popen(argv, env=devstack.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert starting.stdout is not None
    run = Path(starting.stdout.readline().strip())
    assert (run / "postgres/password").read_text() != kept
    starting.kill()
    starting.communicate(timeout=PATIENCE_S)

    until(lambda: not run.exists())
    assert (devstack.where / "data/postgres/password").read_text() == kept


def test_a_taken_port_is_said_in_one_sentence(devstack: Devstack) -> None:
    inbox = int(devstack.env["CHURNSIGNAL_PORT_BASE"]) + PORT_OFFSETS["inbox"]
    with socket.create_server(("127.0.0.1", inbox)):
        refused = devstack.run("up", "--services", "")

    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        f"Port {inbox}, wanted for inbox, is taken: end what listens there or set CHURNSIGNAL_PORT_BASE to other ports."
    ]


def test_wrong_use_ends_with_2_and_says_what_to_choose_from(devstack: Devstack) -> None:
    wrong = devstack.run("up", "--services", "ingest,nonsense")

    assert wrong.returncode == 2
    assert "choose from ingest, scoring, alerts" in wrong.stderr
    assert devstack.run("up", "--no-such-flag").returncode == 2
