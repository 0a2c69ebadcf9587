"""Root. The whole stack: Postgres, Kafka, topics, migrations, the inbox and the services, in the order in which they need each other.

As a library: `with Stack(Options(...)) as stack:` starts everything; call `stack.tick()` a few times a second, from the
same (main) thread, so that what dies is started again.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from churnsignal_devstack import backing, plan, ports, sweeper
from churnsignal_devstack.postgres import Durability
from churnsignal_devstack.problems import StackProblem
from churnsignal_devstack.services import ServiceProcess, command, run_once, run_together
from churnsignal_devstack.state import State, default_dir
from churnsignal_devstack.supervise import Supervisor

# The inbox first: alerts talks to it. Last started is first stopped.
ORDER = ("inbox", *plan.SERVICES)


@dataclass(frozen=True, slots=True)
class Options:
    """What to run. `passing` keeps its data apart and leaves none of it behind; `told` is what services get beyond the usual."""

    where: Path = field(default_factory=default_dir)
    services: tuple[str, ...] = plan.SERVICES
    passing: bool = False
    durability: Durability = field(default_factory=Durability)
    told: Mapping[str, str] = field(default_factory=dict)


class Stack:
    """One running stack. `say` gets a line for each thing that a person may want to know."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._environment = {**os.environ, **options.told}
        self._ports = plan.Ports.of(self._environment)
        self._supervisor = Supervisor()
        self._backing: backing.Backing | None = None
        self._services: list[ServiceProcess] = []
        self._probed_s = 0.0
        self._written: object = None
        self.state = State(options.where)
        self._data = options.where / (f"run-{os.getpid()}" if options.passing else "data")
        # Keys belong to the database that knows them, so they live and go with its data.
        self._keys = State(self._data)
        self._sweeper: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.told: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.state.take()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.stop()

    def client_env(self) -> dict[str, str]:
        """Return every address and key that a client needs."""
        saved: dict[str, str] = self.state.read("client.json") or {}
        return saved

    def tick(self) -> None:
        """Start again what died; once a second ask everybody whether it is ready and note it for `status`."""
        for line in self._supervisor.tick():
            self._say(line)
        if time.monotonic() - self._probed_s >= 1:
            self.ready = self._supervisor.probe()
            self._probed_s = time.monotonic()
        self._publish()

    def service(self, name: str) -> ServiceProcess:
        """Return one service's process."""
        return next(one for one in self._services if one.name == name)

    def stop(self) -> None:
        """End everything in reverse order, each within its own grace, and keep the data. A second Ctrl-C does not cut it short."""
        before = {impatience: signal.signal(impatience, signal.SIG_IGN) for impatience in (signal.SIGINT, signal.SIGTERM)}
        for one in reversed(self._services):
            one.stop(20)
        if self._backing:
            backing.stop(self._backing.postgres, self._backing.kafka)
        if self._sweeper and self._sweeper.stdin:
            sweeper.sweep(self._data)
            self._sweeper.stdin.close()
            self._sweeper.wait()
        self.state.release()
        for impatience, handler in before.items():
            signal.signal(impatience, handler)

    def _start(self) -> None:
        if left := self.state.clean_stale():
            self._say(f"An earlier run was killed and left {left} processes behind: ended them.")
        for left_behind in self._options.where.glob("run-*"):
            sweeper.sweep(left_behind)
        self._record()
        self._refuse_taken_ports()
        if self._options.passing:
            self._sweeper = sweeper.post(self._data)
        self._say("Starting Postgres and Kafka ...")
        self._data.mkdir(exist_ok=True)
        self._backing = backing.start(backing.Wanted(self._data, durability=self._options.durability), self._environment)
        for server in (self._backing.postgres, self._backing.kafka):
            if server:
                self._supervisor.keep(server)
        self.told = self._tell() | self._backing.env()
        self._record()
        self._say("Making topics and tables ...")
        migrations = [command(name, "migrate") for name in self._options.services]
        run_together([command("common.kafka.topics_cli", "apply"), *migrations], self.told)
        self._write_client_env()
        for name in ORDER:
            if name == "inbox" or name in self._options.services:
                self._start_service(name)
        self._await_services()

    def _tell(self) -> dict[str, str]:
        tokens = self._data / "tokens.toml"
        tokens.touch(mode=0o600)
        tokens.write_text(plan.tokens_toml(self._keys.secret("admin_token")))
        secrets = plan.Secrets(self._keys.secret("signing_key"), self._keys.secret("slack_signing"), self._keys.secret("admin_token"))
        return plan.told(self._ports, ports.free_port(), tokens, secrets, self._environment)

    def _start_service(self, name: str) -> None:
        arguments = () if name == "inbox" else ("serve",)
        one = ServiceProcess(name, self.told, self._options.where / "logs" / f"{name}.log", arguments, self._ports.url(name))
        self._services.append(one)
        one.launch()
        self._supervisor.keep(one)
        self._record()

    def _await_services(self) -> None:
        self._say("Starting the services ...")
        for one in self._services:
            one.wait_ready()
        self.ready = self._supervisor.probe()
        self._publish()

    def _refuse_taken_ports(self) -> None:
        for name in ORDER:
            if name == "inbox" or name in self._options.services:
                backing.pick_port(int(self._ports.url(name).rsplit(":", 1)[1]), name)

    def _write_client_env(self) -> None:
        assert self._backing is not None
        names = (*plan.SERVICES, "console", "inbox")
        urls = {f"CHURNSIGNAL_{name.upper()}_URL": self._ports.url(name) for name in names}
        keys = {"CHURNSIGNAL_WRITE_KEY": self._write_key(), "CHURNSIGNAL_ADMIN_TOKEN": self._keys.secret("admin_token")}
        # Without these the services' commands would hash keys, and place records, otherwise than the services do.
        alike = {name: self.told[name] for name in ("CHURNSIGNAL_SIGNING_KEYS", "CHURNSIGNAL_PARTITIONS")}
        self.state.write("client.json", urls | keys | self._backing.env() | alike)

    def _write_key(self) -> str:
        if "ingest" not in self._options.services:
            return ""
        # A database that is not ours may have been emptied since: its old key is worth nothing.
        known: str | None = self._keys.read("write_key.json")
        if known and self._backing and self._backing.postgres:
            return known
        made: dict[str, Any] = json.loads(run_once(command("ingest", "keys", "create", "--source", "demo", "--json"), self.told))
        for field_name in ("write_key", "key"):
            if isinstance(made.get(field_name), str):
                self._keys.write("write_key.json", made[field_name])
                return str(made[field_name])
        raise StackProblem("`churnsignal-ingest keys create --json` printed no key.")

    def _record(self) -> None:
        self.state.record(self._supervisor.pids())

    def _publish(self) -> None:
        names = ["inbox", *self._options.services]
        status = {
            "ready": self.ready,
            "processes": [kept.report() for kept in self._supervisor.kept],
            "urls": {name: self._ports.url(name) for name in names},
        }
        if status != self._written:
            self._record()
            self.state.write("status.json", status)
            self._written = status


def wipe(where: Path) -> None:
    """Remove the data of earlier runs, and their keys."""
    for data in (where / "data", *where.glob("run-*")):
        sweeper.sweep(data)
    (where / "client.json").unlink(missing_ok=True)
