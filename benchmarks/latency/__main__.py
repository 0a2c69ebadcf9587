"""Root. A failed payment at 200 events a second, four in five without an account: from HTTP send to the notice in the inbox.

A real stack on the real clock: each of 200 accounts has a CSM with a Slack channel of their own and fails to pay once. The
client, the broker, Postgres, three services and the inbox share this machine's cores.
"""

import asyncio
import base64
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
from churnsignal_common.contracts.risk import Band
from churnsignal_common.kafka.client import Brokers
from churnsignal_devstack.demo.watch import Watch
from churnsignal_devstack.services import free_port_base
from churnsignal_devstack.stack import Options, Stack

from benchmarks.results import write

ACCOUNTS = 200
USERS = 5
RATE = 200
BATCH = 10
SECONDS = float(os.environ.get("LATENCY_SECONDS", "60"))


@dataclass
class Run:
    """Times are the machine's, in seconds, by account."""

    sent: dict[str, float] = field(default_factory=dict)
    answered: dict[str, float] = field(default_factory=dict)
    changed: dict[str, float] = field(default_factory=dict)
    noticed: dict[str, float] = field(default_factory=dict)


def _call(event: str, account: int, user: int, number: int, named: bool) -> dict[str, Any]:
    call: dict[str, Any] = {"type": "track", "event": event, "userId": f"u-{account}-{user}", "messageId": f"m-{number}"}
    return call | ({"context": {"groupId": f"account-{account}"}} if named else {})


async def _prepare(env: dict[str, str], product: httpx2.AsyncClient) -> None:
    """Seat the CSMs, and link the users to their accounts."""
    headers = {"Authorization": f"Bearer {env['CHURNSIGNAL_ADMIN_TOKEN']}"}
    async with httpx2.AsyncClient(base_url=env["CHURNSIGNAL_ALERTS_URL"], headers=headers, timeout=10) as http:
        for n in range(ACCOUNTS):
            body = {"name": f"CSM {n}", "email": f"csm{n}@example.com", "slack": f"C0CSM{n:03d}", "hours": "always"}
            (await http.put(f"/v1/csms/csm-{n}", json=body)).raise_for_status()
    for n in range(ACCOUNTS):
        links = [
            {"type": "group", "userId": f"u-{n}-{u}", "groupId": f"account-{n}", "traits": {"owner": f"csm-{n}"}} for u in range(USERS)
        ]
        (await product.post("/v1/batch", json={"batch": links})).raise_for_status()


async def _load(product: httpx2.AsyncClient, run: Run) -> None:
    dice, numbers, began = random.Random(7), 0, time.monotonic()
    failures = iter(range(ACCOUNTS))
    batches = int(SECONDS * RATE / BATCH)
    every = max(1, batches // ACCOUNTS)
    async with asyncio.TaskGroup() as group:
        for index in range(batches):
            await asyncio.sleep(max(0.0, began + index * BATCH / RATE - time.monotonic()))
            calls = [
                _call("Report Exported", dice.randrange(ACCOUNTS), dice.randrange(USERS), (numbers := numbers + 1), dice.random() < 0.2)
                for _ in range(BATCH - 1)
            ]
            failed = next(failures, None) if index % every == 0 else None
            if failed is not None:
                calls.append(_call("Payment Failed", failed, 0, (numbers := numbers + 1), dice.random() < 0.2))
            group.create_task(_send(product, calls, run, failed))


async def _send(product: httpx2.AsyncClient, calls: list[dict[str, Any]], run: Run, failed: int | None) -> None:
    began = time.time()
    (await product.post("/v1/batch", json={"batch": calls})).raise_for_status()
    if failed is not None:
        run.sent[f"account-{failed}"], run.answered[f"account-{failed}"] = began, time.time()


async def _measure(env: dict[str, str], run: Run) -> None:
    token = base64.b64encode(f"{env['CHURNSIGNAL_WRITE_KEY']}:".encode()).decode()
    async with AsyncExitStack() as opened:
        product = await opened.enter_async_context(
            httpx2.AsyncClient(base_url=env["CHURNSIGNAL_INGEST_URL"], headers={"Authorization": f"Basic {token}"}, timeout=20)
        )
        watch = Watch(Brokers(env["KAFKA_BOOTSTRAP_SERVERS"], {}), "", env["DATABASE_URL"], env["CHURNSIGNAL_INBOX_URL"])
        opened.push_async_callback(watch.close)
        await watch.open()
        await _prepare(env, product)
        await _load(product, run)
        deadline = time.monotonic() + 30
        while len(run.noticed) < ACCOUNTS and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            for at, event in await watch.new_changes():
                if event.data.to_band is Band.RED:
                    run.changed.setdefault(event.subject, at)
            for message in await watch.messages():
                if message["episode_id"]:
                    account = await _account(watch, message["episode_id"])
                    run.noticed.setdefault(account, _epoch(message["received_at"]))


async def _account(watch: Watch, episode: str) -> str:
    (row,) = await watch.rows("SELECT account FROM alerts.episodes WHERE id = $1", episode)
    return str(row["account"])


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {f"p{q}": round(ordered[min(len(ordered) - 1, int(len(ordered) * q / 100))], 1) for q in (50, 90, 99)} | {
        "mean": round(statistics.fmean(ordered), 1)
    }


def _report(run: Run) -> None:
    legs = {
        "http_send_to_answer": [(run.answered[a] - t) * 1000 for a, t in run.sent.items()],
        "event_to_score": [(run.changed[a] - run.answered[a]) * 1000 for a in run.changed if a in run.answered],
        "change_to_notice": [(run.noticed[a] - run.changed[a]) * 1000 for a in run.noticed if a in run.changed],
        "http_to_notice": [(run.noticed[a] - run.sent[a]) * 1000 for a in run.noticed if a in run.sent],
    }
    rows = [{"leg": leg, "samples": len(values), **_percentiles(values)} for leg, values in legs.items()]
    figures = {f"{leg}_p99_ms": _percentiles(values)["p99"] for leg, values in legs.items()}
    write(
        "latency",
        rounds=1,
        ratios={},
        figures=figures | {"accounts": ACCOUNTS, "noticed": len(run.noticed), "events_per_s": RATE},
        rows=rows,
    )
    if len(run.noticed) < ACCOUNTS:
        raise SystemExit(f"only {len(run.noticed)} of {ACCOUNTS} accounts were noticed")


def main() -> None:
    """Start a stack of its own, measure, write the result."""
    run, failure = Run(), []
    with tempfile.TemporaryDirectory() as folder:
        told = {"CHURNSIGNAL_PORT_BASE": str(free_port_base()), "CHURNSIGNAL_LOG_LEVEL": "warning"}
        with Stack(Options(where=Path(folder), passing=True, told=told), lambda line: print(line, flush=True)) as stack:

            def measure() -> None:
                try:
                    asyncio.run(_measure(stack.client_env(), run))
                except BaseException as error:  # noqa: BLE001 handed to the main thread, which raises it
                    failure.append(error)

            thread = threading.Thread(target=measure)
            thread.start()
            while thread.is_alive():
                stack.tick()
                time.sleep(0.2)
    if failure:
        raise failure[0]
    _report(run)


if __name__ == "__main__":
    main()
