"""Flow. Watch mapping.yaml and scorecard.yaml, and put a new text into force; a wrong one is told, and what was in force stays."""

from pathlib import Path

import structlog
from churnsignal_common.clock import Clock
from churnsignal_common.document import ConfigError
from churnsignal_common.postgres.failures import put_off
from churnsignal_common.runtime.tasks import Stop

from churnsignal_scoring.configs import Configs
from churnsignal_scoring.policy import Seed, read_seed
from churnsignal_scoring.versions import Kind

log = structlog.get_logger()

EVERY_S = 2.0


class Follow:
    """`seeds` are what the files said at the start."""

    def __init__(self, configs: Configs, clock: Clock, mapping: Path | None, scorecard: Path | None, seeds: dict[Kind, Seed]) -> None:
        self._configs = configs
        self._clock = clock
        self._files = {kind: path for kind, path in ((Kind.MAPPING, mapping), (Kind.SCORECARD, scorecard)) if path is not None}
        self._done = {kind: seed.version for kind, seed in seeds.items()}
        self._wrong: dict[Kind, str] = {}

    async def run(self, stop: Stop) -> None:
        while not await stop.wait(EVERY_S):
            await self.look()

    async def look(self) -> None:
        """Look at each file once; what Postgres could not take is tried again at the next look."""
        for kind, path in self._files.items():
            try:
                seed = read_seed(kind, path)
                if seed.version != self._done[kind]:
                    with put_off("config_file_waits", kind=kind):
                        await self._configs.follow(seed, self._clock.now())
                        self._done[kind] = seed.version
                self._wrong.pop(kind, None)
            except ConfigError as error:
                if self._wrong.get(kind) != str(error):
                    log.error("config_file_refused", problem=str(error), in_force="what was")
                self._wrong[kind] = str(error)
