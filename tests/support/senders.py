"""Root. Senders of alerts and nothing else, forked from a process that has imported everything: they start at once, to be killed a thousand times."""

import asyncio
import ctypes
import importlib
import multiprocessing
import os
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from multiprocessing.process import BaseProcess
from pathlib import Path

from churnsignal_alerts.app import open_senders, signing_keys
from churnsignal_alerts.deliver import Deliverer, Out
from churnsignal_alerts.links import Links
from churnsignal_alerts.people import People
from churnsignal_alerts.policy_file import default_text
from churnsignal_alerts.settings import AlertsSettings
from churnsignal_alerts.wake import Wake
from churnsignal_common.clock import open_clock
from churnsignal_common.postgres.engine import open_engine
from churnsignal_common.runtime import crash
from churnsignal_common.runtime.settings import read_settings
from churnsignal_common.runtime.tasks import Stop
from churnsignal_devstack.children import PR_SET_PDEATHSIG
from churnsignal_devstack.services import environment

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__])


def fork_sender(told: Mapping[str, str], log: Path) -> BaseProcess:
    """Start a sender with this environment; it dies with the process that it is forked from, and so with us."""
    child = _forks.Process(target=_serve, args=(environment(told), log), daemon=True)
    child.start()
    return child


def _serve(told: dict[str, str], log: Path) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    with log.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.environ.clear()
    os.environ.update(told)
    # It reads the environment when it is imported.
    importlib.reload(crash)
    asyncio.run(_send(read_settings(AlertsSettings)))


async def _send(settings: AlertsSettings) -> None:
    clock = open_clock(settings.clock, dev=settings.dev)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(settings.database_url.get_secret_value(), "alerts", pool=12))
        senders = await open_senders(settings, clock, stack)
        people = People(engine, default_text(), "routing.yaml", frozenset(senders))
        out = Out(senders, Links(signing_keys(settings), settings.public_url), settings.lease_s, settings.sends_per_s)
        await Deliverer(engine, people, out, clock, Wake()).run(Stop())
