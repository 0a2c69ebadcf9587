"""Root. `churnsignal-devstack`: the whole product on one machine."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from churnsignal_devstack import plan
from churnsignal_devstack.problems import StackProblem, of_os_error
from churnsignal_devstack.stack import Options, Stack, wipe
from churnsignal_devstack.state import State, default_dir

app = cyclopts.App(
    name="churnsignal-devstack",
    help="Postgres, Kafka, the services and an inbox on this machine.\n\nExample: churnsignal-devstack up --detach --env-file stack.env",
)
EnvFile = Annotated[Path | None, Parameter(name="--env-file", help="Write shell lines with every address and key a client needs here.")]


TICK_S = 0.2


def say(line: str) -> None:
    """Tell the person at the terminal."""
    print(line, file=sys.stderr, flush=True)


@app.command
def up(*, detach: bool = False, env_file: EnvFile = None, services: str = ",".join(plan.SERVICES)) -> None:
    """Start the stack and keep it running until Ctrl-C; with --detach in the background until `down`.

    Example: churnsignal-devstack up --detach --env-file stack.env --services ingest,scoring,alerts

    Parameters
    ----------
    detach
        Return when it is ready, and let it run.
    services
        Which of the services to start, comma separated; Postgres, Kafka and the inbox always start.
    """
    wanted = tuple(name for name in services.split(",") if name)
    if unknown := set(wanted) - set(plan.SERVICES):
        say(f"Unknown services {', '.join(sorted(unknown))}: choose from {', '.join(plan.SERVICES)}.")
        raise SystemExit(2)
    if not detach:
        _supervise(Options(services=wanted), env_file)
        return
    _detach(services)
    _finish_up(State(default_dir()), env_file)


@app.command
def down(*, wipe_data: Annotated[bool, Parameter(name="--wipe")] = False) -> None:
    """End the stack. Its data stay for the next `up`, unless --wipe.

    Example: churnsignal-devstack down
    """
    state = State(default_dir())
    if supervisor := state.supervisor():
        supervisor.send_signal(signal.SIGTERM)
        if not state.await_release(60):
            supervisor.kill()
            state.await_release(10)
    if state.where.exists():
        state.take()
        state.clean_stale()
        if wipe_data:
            wipe(state.where)
        state.release()
    say("The stack is down.")


@app.command
def status(*, json_: Annotated[bool, Parameter(name="--json")] = False, env_file: EnvFile = None) -> None:
    """Say what runs; exit 1 if nothing does.

    Example: churnsignal-devstack status --json
    """
    state = State(default_dir())
    running = state.is_taken()
    found = (state.read("status.json") if running else None) or {"ready": False, "processes": [], "urls": {}}
    if env_file and running:
        _write_env_file(state, env_file)
    if json_:
        print(json.dumps(found, indent=1))
    else:
        _print_table(found)
    if not running:
        raise SystemExit(1)


def _supervise(options: Options, env_file: Path | None) -> None:
    try:
        with Stack(options, say) as stack:
            _finish_up(stack.state, env_file)
            while True:
                stack.tick()
                time.sleep(TICK_S)
    except KeyboardInterrupt:
        say("The stack is down.")


def _detach(services: str) -> None:
    state = State(default_dir())
    state.prepare()
    if state.is_taken():
        raise StackProblem("A stack already runs here: see `churnsignal-devstack status --json`, end it by `churnsignal-devstack down`.")
    log = state.where / "logs/supervisor.log"
    # A killed run leaves its last words behind; they are not ours.
    for old in (log, state.where / "status.json"):
        old.unlink(missing_ok=True)
    with log.open("ab") as out:
        argv = [sys.executable, "-m", "churnsignal_devstack", "up", "--services", services]
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=out, start_new_session=True, env=os.environ
        )
    shown = 0
    while True:
        ended = child.poll() is not None
        lines = log.read_text(errors="replace").splitlines()
        for line in lines[shown:]:
            say(line)
        shown = len(lines)
        if ended:
            raise SystemExit(1)
        if (state.read("status.json") or {}).get("ready"):
            return
        time.sleep(0.1)


def _finish_up(state: State, env_file: Path | None) -> None:
    if env_file:
        _write_env_file(state, env_file)
    found = state.read("status.json")
    for name, url in found["urls"].items():
        print(f"{name:8} {url}")
    print(f"{'state':8} {state.where}")
    print(
        "The stack is ready. `churnsignal-devstack status --env-file F` writes every address and key; `churnsignal-devstack down` ends it.",
        flush=True,
    )


def _write_env_file(state: State, env_file: Path) -> None:
    values: dict[str, str] = state.read("client.json") or {}
    with open(env_file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(plan.env_file(values))


def _print_table(found: dict[str, Any]) -> None:
    print("ready" if found["ready"] else "not ready")
    for row in found["processes"]:
        print(f"{row['name']:10} pid {row['pid']:<8} restarts {row['restarts']:<4} {'ready' if row['ready'] else 'not ready'}")


# Imported only when asked for: it brings data frames and an SDK.
app.command("churnsignal_devstack.demo.command:demo", name="demo")


def main() -> None:
    # Both ways to end us mean the same: leave by the way of an error, which cleans up wherever we are.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(exit_on_error=False)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except cyclopts.CycloptsError:
        raise SystemExit(2) from None
    except StackProblem as problem:
        say(str(problem))
        raise SystemExit(1) from None
    except OSError as error:
        say(str(of_os_error(error, "running the stack")))
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
