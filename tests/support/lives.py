"""Root. Start the same service again and again in the time of a fork: the modules are loaded once, each life is a process of its own.

Run as `python -m tests.support.lives`: a line of JSON on stdin is a life's environment; the answers are the pid, then how it ended.
"""

import importlib
import json
import os
import sys

import churnsignal_scoring.app as scoring
import uvloop
from churnsignal_common.runtime import crash
from churnsignal_common.runtime.logging import set_up_logging
from churnsignal_common.runtime.settings import read_settings
from churnsignal_devstack.children import dies_with_us
from churnsignal_scoring.settings import ScoringSettings


def _live(environment: dict[str, str], log: str) -> int:
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    # The crash point of this life is read from the environment, as at a start.
    importlib.reload(crash)
    settings = read_settings(ScoringSettings)
    set_up_logging(settings.log_level, settings.log_format, "scoring")
    return uvloop.run(scoring.run(settings))


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        bound = dies_with_us()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                bound()
                code = _live(asked["environment"], asked["log"])
            finally:
                os._exit(code)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
