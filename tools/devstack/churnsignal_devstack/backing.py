"""Root. Postgres and Kafka without the services: own ones in a directory, or those that the environment names.

`python -m churnsignal_devstack.backing [--env-file F]` keeps a private pair until it is told to end.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from churnsignal_devstack import places, ports, sweeper
from churnsignal_devstack.kafka import Kafka, Sizing
from churnsignal_devstack.postgres import Durability, Postgres
from churnsignal_devstack.problems import StackProblem

# A fresh Postgres with its libraries, its first log segments, a fresh Kafka.
SPACE_MB = 400


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to start, where, and on which ports (0: any free one)."""

    where: Path
    postgres_port: int = 0
    kafka_port: int = 0
    durability: Durability = field(default_factory=Durability)
    sizing: Sizing = field(default_factory=Sizing)


@dataclass(frozen=True, slots=True)
class Backing:
    """Addresses of the two, and the servers themselves where they are ours."""

    database_url: str
    bootstrap: str
    postgres: Postgres | None
    kafka: Kafka | None

    def env(self) -> dict[str, str]:
        """Return what a service reads."""
        return {"DATABASE_URL": self.database_url, "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap}


def pick_port(wanted: int, what: str) -> int:
    """Return `wanted` if it is free, or any free port for 0."""
    if wanted == 0:
        return ports.free_port()
    if ports.is_taken(wanted):
        raise StackProblem(
            f"Port {wanted}, wanted for {what}, is taken: end what listens there or set CHURNSIGNAL_PORT_BASE to other ports."
        )
    return wanted


def start(wanted: Wanted, environment: Mapping[str, str]) -> Backing:
    """Start what the environment does not name, and return when both serve."""
    places.need_space(wanted.where, SPACE_MB)
    postgres = (
        None
        if environment.get("DATABASE_URL")
        else Postgres(wanted.where / "postgres", pick_port(wanted.postgres_port, "Postgres"), wanted.durability)
    )
    kafka = (
        None
        if environment.get("KAFKA_BOOTSTRAP_SERVERS")
        else Kafka(wanted.where / "kafka", pick_port(wanted.kafka_port, "Kafka"), wanted.sizing)
    )
    try:
        if kafka:
            kafka.begin()
        if postgres:
            postgres.start()
        if kafka:
            kafka.wait_ready()
    except BaseException:
        stop(postgres, kafka)
        raise
    return Backing(
        postgres.url if postgres else environment["DATABASE_URL"],
        kafka.bootstrap if kafka else environment["KAFKA_BOOTSTRAP_SERVERS"],
        postgres,
        kafka,
    )


def stop(postgres: Postgres | None, kafka: Kafka | None) -> None:
    """Stop ours, keep the data."""
    if kafka:
        kafka.stop()
    if postgres:
        postgres.stop()


@contextlib.contextmanager
def passing(durability: Durability, environment: Mapping[str, str]) -> Iterator[Backing]:
    """Yield a pair in a temporary directory, of which nothing stays behind, even if we are killed."""
    directory = Path(tempfile.mkdtemp(prefix="churnsignal-stack-"))
    directory.chmod(0o711)
    with sweeper.post(directory):
        backing = start(Wanted(directory, durability=durability), environment)
        try:
            yield backing
        finally:
            stop(backing.postgres, backing.kafka)
            sweeper.sweep(directory)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m churnsignal_devstack.backing", description="A private Postgres and Kafka until Ctrl-C."
    )
    parser.add_argument("--env-file", type=Path, help="write shell lines with the addresses here")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with passing(Durability(fsync=False), os.environ) as backing:
            lines = "".join(f"export {name}='{value}'\n" for name, value in backing.env().items())
            sys.stdout.write(lines)
            sys.stdout.flush()
            if given.env_file:
                given.env_file.write_text(lines)
            signal.pause()
    except StackProblem as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
