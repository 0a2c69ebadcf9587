"""Root. `churnsignal-devstack demo`: start a stack of its own on the demo's clock, or use the one that the environment names, and tell the story."""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from datetime import time as midnight
from pathlib import Path
from typing import Annotated, Any

from churnsignal_common.clock import paused_at
from churnsignal_common.kafka.client import Brokers
from cyclopts import Parameter
from rich.console import Console

from churnsignal_devstack.demo import drive, story
from churnsignal_devstack.demo.client import Client
from churnsignal_devstack.demo.screen import Terminal
from churnsignal_devstack.demo.watch import Watch
from churnsignal_devstack.problems import StackProblem
from churnsignal_devstack.stack import Options, Stack
from churnsignal_devstack.state import State, default_dir

_TICK_S = 0.2


@dataclass(slots=True)
class _Teller:
    """Runs the story's event loop in a thread of its own: the main thread belongs to the supervisor, whose children die with their thread."""

    env: dict[str, str]
    clock: Path
    days: int
    days_per_second: float
    screen: Terminal
    stop: threading.Event = field(default_factory=threading.Event)
    report: dict[str, Any] | None = None
    error: BaseException | None = None

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="demo", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        try:
            self.report = asyncio.run(self._tell())
        except BaseException as error:  # noqa: BLE001 handed to the main thread, which raises it
            self.error = error

    async def _tell(self) -> dict[str, Any]:
        env = self.env
        async with AsyncExitStack() as opened:
            client = Client(env["CHURNSIGNAL_INGEST_URL"], env["CHURNSIGNAL_WRITE_KEY"])
            opened.push_async_callback(client.close)
            brokers = Brokers(env["KAFKA_BOOTSTRAP_SERVERS"], {})
            watch = Watch(brokers, os.environ.get("CHURNSIGNAL_TOPIC_PREFIX", ""), env["DATABASE_URL"], env["CHURNSIGNAL_INBOX_URL"])
            opened.push_async_callback(watch.close)
            await watch.open()
            told = story.read_story(days=self.days)
            alerts = drive.Alerts(env["CHURNSIGNAL_ALERTS_URL"], env["CHURNSIGNAL_ADMIN_TOKEN"])
            pace = drive.Pace(self.days, self.days_per_second, self.stop.is_set)
            return await drive.run(drive.Demo(told, client, watch, self.screen, self.clock, alerts, pace))


@contextmanager
def _own_stack(clock: Path) -> Iterator[Stack]:
    State(default_dir()).prepare()
    paused_at(datetime.combine(story.START, midnight(), UTC)).write(clock)
    options = Options(passing=True, told={"CHURNSIGNAL_CLOCK": f"file:{clock}"})
    with Stack(options, lambda line: print(line, file=sys.stderr, flush=True)) as stack:
        yield stack


def _told(teller: _Teller, tick: Any) -> dict[str, Any]:
    thread = teller.start()
    try:
        while thread.is_alive():
            tick()
            time.sleep(_TICK_S)
    finally:
        teller.stop.set()
        teller.screen.close()
    if teller.error is not None:
        raise StackProblem(f"The demo stopped: {teller.error}") from teller.error
    assert teller.report is not None
    return teller.report


def demo(
    *,
    days: int = 120,
    days_per_second: float = 1.0,
    exit_: Annotated[bool, Parameter(name="--exit", help="End after the replay instead of waiting for Ctrl-C.")] = False,
    report: Annotated[Path | None, Parameter(help="Write the report (JSON) here.")] = None,
) -> None:
    """Import real history, replay the following days through the real HTTP endpoint, and watch the alerts arrive.

    With CHURNSIGNAL_INGEST_URL in the environment it uses that stack (whose clock must be a file); else it starts one of its own.

    Example: churnsignal-devstack demo --days 120 --days-per-second 1 --exit --report report.json

    Parameters
    ----------
    days
        How many days to replay after the imported history.
    days_per_second
        At most; it waits until all calls of a day are scored.
    """
    screen = Terminal(Console())
    if "CHURNSIGNAL_INGEST_URL" in os.environ:
        clock = os.environ.get("CHURNSIGNAL_CLOCK", "")
        if not clock.startswith("file:"):
            raise StackProblem(
                "The demo moves the clock of the stack it uses: start that stack and the demo with CHURNSIGNAL_CLOCK=file:<path>."
            )
        found = _told(_Teller(dict(os.environ), Path(clock.removeprefix("file:")), days, days_per_second, screen), lambda: None)
        _finish(found, report)
        return
    clock_file = default_dir() / "clock.json"
    try:
        with _own_stack(clock_file) as stack:
            found = _told(_Teller(stack.client_env(), clock_file, days, days_per_second, screen), stack.tick)
            _show(found, report)
            if not exit_:
                print(
                    f"\nThe inbox, as a CSM would see it: {stack.client_env()['CHURNSIGNAL_INBOX_URL']}\nCtrl-C ends everything.",
                    flush=True,
                )
            while not exit_:
                stack.tick()
                time.sleep(_TICK_S)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(0 if found["ok"] else 1)


def _show(found: dict[str, Any], report: Path | None) -> None:
    print(json.dumps(found, indent=1), flush=True)
    if report:
        report.write_text(json.dumps(found, indent=1) + "\n")


def _finish(found: dict[str, Any], report: Path | None) -> None:
    _show(found, report)
    raise SystemExit(0 if found["ok"] else 1)
