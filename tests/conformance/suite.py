"""Flow. Every client in every scenario at once: drive it, then compare what it believes with what lies on the topics and what scoring applied."""

import asyncio
import json
import os
import sys
import uuid
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
from churnsignal_common.contracts.envelope import envelope_decoder
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_REJECTED, USAGE_UNRESOLVED

from tests.conformance.installed import SEGMENT_2_3, javascript_sdks, node, python_sdk
from tests.support.books import until_scored
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.ingest import ask
from tests.support.load import create_key
from tests.support.records import read_records
from tests.support.stack import Stack, service

DRIVERS = Path(__file__).parent / "drivers"
PATIENCE_S = 200
# Accounts have numbers, as ids of many products do; each cell has its own.
FIRST_ACCOUNT = 10_000
ACCOUNTS_APART = 100


@dataclass(frozen=True, slots=True)
class Client:
    """One row: an SDK in a release, how it is driven, and the key that it gets."""

    title: str
    version: str
    driver: str
    variant: str
    kind: str = "segment"
    scope: str = "server"
    calls: int = 1000
    calls_under_fault: int = 60
    accounts: int = 10
    gzip: bool = False
    older: Path | None = None

    @property
    def key_kind(self) -> tuple[str, str]:
        return self.kind, self.scope


CLIENTS = (
    Client("Segment Python", "2.4.0", "python_sdks.py", "segment"),
    Client("Segment Python, gzip", "2.4.0", "python_sdks.py", "segment", gzip=True),
    Client("Segment Python, older", "2.3.6", "python_sdks.py", "segment", older=SEGMENT_2_3),
    Client("RudderStack Python", "2.1.9", "python_sdks.py", "rudder", "rudder"),
    Client("RudderStack Python, gzip", "2.1.9", "python_sdks.py", "rudder", "rudder", gzip=True),
    Client("Segment Node", "3.1.0", "node_sdks.cjs", "segment"),
    Client("RudderStack Node", "3.0.13", "node_sdks.cjs", "rudder", "rudder"),
    Client("Segment browser", "1.84.3", "browser_sdks.cjs", "segment", scope="browser", calls=100, calls_under_fault=20, accounts=1),
    Client("Segment browser, batching", "1.84.3", "browser_sdks.cjs", "segment-batching", scope="browser", calls=200, accounts=1),
    Client("RudderStack browser", "3.34.1", "browser_sdks.cjs", "rudder", "rudder", "browser", 100, 20, 1),
    Client("CloudEvents Python, binary", "2.2.0", "cloudevents_sdk.py", "binary", calls=100, calls_under_fault=20),
    Client("CloudEvents Python, structured", "2.2.0", "cloudevents_sdk.py", "structured", calls=100, calls_under_fault=20),
    Client("CloudEvents Python, batch", "2.2.0", "cloudevents_sdk.py", "batch"),
)


@dataclass(slots=True)
class Cell:
    """One client in one scenario: its books, and ours."""

    client: Client
    fault: Fault
    number: int
    version: str = ""
    ids: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    fired: int = 0
    copies: Counter[str] = field(default_factory=Counter)
    applied: int = 0

    @property
    def calls(self) -> int:
        return self.client.calls if self.fault is Fault.NONE else self.client.calls_under_fault

    @property
    def accounts(self) -> range:
        first = FIRST_ACCOUNT + self.number * ACCOUNTS_APART
        return range(first, first + self.client.accounts)

    @property
    def links(self) -> int:
        """How many calls of a server come before those of the client: a browser's key puts nobody into an account."""
        return int(self.client.scope == "browser")

    @property
    def again(self) -> int:
        """How many calls reached the log more than once."""
        return sum(count - 1 for count in self.copies.values())

    def order(self, host: str, key: str) -> dict[str, Any]:
        """Return what the driver is told."""
        return {
            "name": f"cell-{self.number}", "host": host, "key": key, "calls": self.calls, "gzip": self.client.gzip,
            "first_account": self.accounts.start, "accounts": len(self.accounts),
        }  # fmt: skip


@dataclass(slots=True)
class Matrix:
    """All cells of a run, and how scoring's own books close."""

    cells: list[Cell]
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    leaked: int = 0


def cells() -> list[Cell]:
    return [Cell(client, fault, number) for number, (client, fault) in enumerate(product(CLIENTS, Fault))]


async def measure(stack: Stack, directory: Path) -> Matrix:
    """Run the whole matrix on one ingest and one scoring."""
    matrix = Matrix(cells())
    database = stack.create_database("ingest", "scoring")
    told = stack.env(database, f"t{uuid.uuid4().hex[:8]}.")
    stack.apply_topics(told)
    fetched = asyncio.create_task(asyncio.to_thread(javascript_sdks))
    with ExitStack() as running:
        running.callback(stack.drop_database, database)
        running.callback(stack.drop_topics, told["CHURNSIGNAL_TOPIC_PREFIX"])
        ingest = running.enter_context(service("ingest", told, directory))
        running.enter_context(service("scoring", told, directory))
        keys = await _keys(told)
        await asyncio.to_thread(_link, matrix, ingest.port, keys["segment", "server"])
        await fetched
        await asyncio.gather(*(_drive(client, matrix, ingest.port, keys[client.key_kind]) for client in CLIENTS))
        await until_scored(told, PATIENCE_S)
        await _read_back(matrix, told, list(keys.values()))
    return matrix


async def _keys(told: dict[str, str]) -> dict[tuple[str, str], str]:
    wanted = sorted({client.key_kind for client in CLIENTS})
    making = [asyncio.to_thread(create_key, told, "--kind", kind, "--scope", scope, source=f"{kind}-{scope}") for kind, scope in wanted]
    made = await asyncio.gather(*making)
    return dict(zip(wanted, made, strict=True))


def _link(matrix: Matrix, port: int, key: str) -> None:
    """Put the users of browsers into their accounts, as the product's server does when they sign up."""
    calls = [
        {"type": "group", "messageId": f"link-{cell.number}", "userId": f"cell-{cell.number}-user", "groupId": cell.accounts.start}
        for cell in matrix.cells
        if cell.links
    ]
    status, _, answer = ask(port, "/v1/batch", {"batch": calls}, key=key)
    assert (status, answer) == (200, {"success": True})


async def _drive(client: Client, matrix: Matrix, port: int, key: str) -> None:
    """Let one process of the client send to a proxy per scenario, all at once."""
    mine = [cell for cell in matrix.cells if cell.client is client]
    async with AsyncExitStack() as open_proxies:
        proxies = [FaultProxy(port, cell.fault) for cell in mine]
        hosts = [await open_proxies.enter_async_context(proxy.listening()) for proxy in proxies]
        answers = await _run(client, [cell.order(host, key) for cell, host in zip(mine, hosts, strict=True)])
        for cell, proxy, answer in zip(mine, proxies, answers, strict=True):
            cell.version, cell.ids, cell.failed, cell.errors = (answer[name] for name in ("version", "ids", "failed", "errors"))
            cell.fired = proxy.fired


async def _run(client: Client, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    script = str(DRIVERS / client.driver)
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    if client.driver.endswith(".cjs"):
        program, env["NODE_PATH"] = str(node()), str(javascript_sdks())
    else:
        program, env["PYTHONPATH"] = sys.executable, str(python_sdk(client.older)) if client.older else ""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(program, script, client.variant, env=env, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(PATIENCE_S):
            printed, complaint = await child.communicate(json.dumps(orders).encode())
    finally:
        if child.returncode is None:
            child.kill()
    assert child.returncode == 0, f"{client.title}: {complaint.decode()[-2000:]}"
    answers: list[dict[str, Any]] = json.loads(printed)
    return answers


async def _read_back(matrix: Matrix, told: dict[str, str], keys: list[str]) -> None:
    owner = {identity: cell for cell in matrix.cells for identity in cell.ids}
    records = await read_records(told, USAGE_EVENTS, USAGE_UNRESOLVED, USAGE_REJECTED)
    matrix.refused = sum(record.topic == USAGE_REJECTED for record in records)
    matrix.leaked = sum(key.encode() in record.value for record in records for key in keys)
    matrix.read = Counter(record.topic for record in records)
    envelopes = [envelope_decoder.decode(record.value) for record in records if record.topic != USAGE_REJECTED]
    # What scoring sent on, to the account or the user that it found, says by which way it came; the others are ingest's.
    arrived = Counter(envelope.id for envelope in envelopes if not envelope.via)
    for identity, cell in owner.items():
        cell.copies[identity] = arrived[identity]
    database = await asyncpg.connect(told["DATABASE_URL"])
    try:
        events = {row["account"]: row["events_total"] for row in await database.fetch("SELECT account, events_total FROM scoring.accounts")}
        rows = await database.fetch("SELECT topic, outcome, reason, sum(count)::int AS count FROM scoring.v_outcomes GROUP BY 1, 2, 3")
    finally:
        await database.close()
    matrix.outcomes = Counter({(row["topic"], row["outcome"], row["reason"]): row["count"] for row in rows})
    for cell in matrix.cells:
        cell.applied = sum(events.get(str(account), 0) for account in cell.accounts) - cell.links
