"""Door. What the devstack says when the machine is not as it should be: one clear sentence."""

import errno
import hashlib
import os
import socket
import subprocess
from pathlib import Path

import psutil
import pytest
from churnsignal_devstack import backing, jars, places
from churnsignal_devstack.places import Account
from churnsignal_devstack.problems import StackProblem, of_os_error
from churnsignal_devstack.state import Mark, State


def test_a_taken_port_is_named_with_what_to_do() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(StackProblem, match="is taken: end what listens there or set CHURNSIGNAL_PORT_BASE"),
    ):
        backing.pick_port(taken.getsockname()[1], "ingest")


def test_a_full_disk_is_called_a_full_disk() -> None:
    assert str(of_os_error(OSError(errno.ENOSPC, "No space left on device"), "writing")).startswith("The disk is full (writing)")


def test_a_jar_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    pins = {"a.jar": hashlib.sha256(b"good").hexdigest()}
    (tmp_path / "a.jar").write_bytes(b"good")
    jars.verify(tmp_path, pins)

    (tmp_path / "a.jar").write_bytes(b"evil")

    with pytest.raises(StackProblem, match="is not the file that"):
        jars.verify(tmp_path, pins)


def test_every_jar_is_pinned_once() -> None:
    lines = jars.PINS.read_text().splitlines()

    assert len(lines) == len(jars.pinned())
    assert f"kafka-clients-{jars.VERSION}.jar" in jars.pinned()


def test_a_private_parent_stays_private_and_postgres_gets_a_room_elsewhere(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)

    room = places.room_for(Account(65534, 65534), home / "postgres")

    assert room.parent == Path("/var/tmp")
    assert home.stat().st_mode & 0o777 == 0o700
    assert places.room_for(Account(65534, 65534), home / "postgres") == room
    places.clear(home / "postgres")
    assert not room.exists()


def test_a_second_supervisor_in_one_directory_is_refused(tmp_path: Path) -> None:
    first, second = State(tmp_path), State(tmp_path)
    first.take()

    with pytest.raises(StackProblem, match="already runs here"):
        second.take()

    first.release()
    second.take()
    second.release()


def test_what_a_dead_supervisor_left_running_is_ended_and_nothing_else(tmp_path: Path) -> None:
    left, stranger = subprocess.Popen(["sleep", "60"]), subprocess.Popen(["sleep", "60"])
    dead, next_one = State(tmp_path), State(tmp_path)
    dead.prepare()
    dead.record([left.pid])
    next_one.take()

    ended = next_one.clean_stale()
    others_live = stranger.poll() is None
    stranger.kill()
    stranger.wait()
    next_one.release()

    assert ended == 1
    assert not psutil.pid_exists(left.pid)
    assert others_live


def test_a_later_process_with_the_same_number_is_not_mistaken_for_ours() -> None:
    mark = Mark.of(os.getpid())

    assert mark.find() is not None
    assert Mark(mark.pid, mark.created - 1).find() is None
