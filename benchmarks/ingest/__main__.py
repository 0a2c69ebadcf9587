"""Root. Events per CPU-second of ingest, of a bare ASGI program with the same coalescer, and of the idiomatic program, in turn.

All three run beside each other on one Kafka; the load goes to one at a time, `ROUNDS` (5) times around, `SECONDS` (3) each.
CPU is that of the process under test, so neighbours on the machine disturb it less than wall time. Ours runs with
authentication, limits, validation, rate limits, metrics and logs on, as in production.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from churnsignal_devstack import children, ports
from churnsignal_devstack.services import environment

from benchmarks.ingest.target import Contender, ours
from benchmarks.results import write

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("SECONDS", "3"))
SIZES = (100, 1)
OURS, CEILING, IDIOMATIC = "ours", "ceiling", "idiomatic"


def start_peer(name: str, told: dict[str, str], folder: Path) -> Contender:
    """Start one of the two comparators and return when it listens."""
    port = ports.free_port()
    order = children.Order(
        [sys.executable, "-m", f"benchmarks.ingest.{name}", str(port)], environment(told), folder / f"{name}.log", Path.cwd()
    )
    child = children.start(order)
    children.await_ready(child, name, lambda: ports.is_taken(port), order.log, 30)
    time.sleep(1.0)  # its producer connects meanwhile
    return Contender(child.pid, port)


def main() -> None:
    """Start all, measure in turn, write the result."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ours(Path(folder), "bench-ingest.") as (target, key, told):
        contenders = {OURS: target} | {name: start_peer(name, told, Path(folder)) for name in (CEILING, IDIOMATIC)}
        rows = measure(contenders, key)
    report(rows)


def measure(contenders: dict[str, Contender], key: str) -> list[dict[str, float | str]]:
    """Warm everyone up, then go around; the order turns with each round, so that nobody always follows the same neighbour."""
    rows: list[dict[str, float | str]] = []
    names = list(contenders)
    for contender in contenders.values():
        for size in SIZES:
            contender.measure(size, 1.0, key)
    for number in range(ROUNDS):
        for size in SIZES:
            for name in names[number % 3 :] + names[: number % 3]:
                seen = contenders[name].measure(size, SECONDS, key)
                rows.append({"round": str(number), "program": name, "events_a_request": str(size), **seen})
    return rows


def report(rows: list[dict[str, float | str]]) -> None:
    """Write ratios as medians over rounds."""

    def series(program: str, size: int, field: str) -> list[float]:
        return [float(r[field]) for r in rows if (r["program"], r["events_a_request"]) == (program, str(size))]

    def ratio(peer: str, size: int) -> float:
        pairs = zip(series(OURS, size, "events_per_cpu_s"), series(peer, size, "events_per_cpu_s"), strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    ratios = {f"vs_{peer}_{size}": ratio(peer, size) for peer in (CEILING, IDIOMATIC) for size in SIZES}
    figures = {
        f"{program}_{size}_{field}": statistics.median(series(program, size, field))
        for program in (OURS, CEILING, IDIOMATIC)
        for size in SIZES
        for field in ("events_per_cpu_s", "p99_ms")
    }
    write("ingest", rounds=ROUNDS, ratios=ratios, figures=figures, rows=[dict(row) for row in rows])


if __name__ == "__main__":
    main()
