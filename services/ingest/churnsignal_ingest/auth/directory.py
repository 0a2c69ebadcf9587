"""Flow. Who a write key belongs to, whose calls are dropped, and where accounts' ids stand: in memory, read again every few seconds.

The last known state serves while Postgres is away.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog
from churnsignal_common.clock import Clock
from churnsignal_common.postgres.failures import STORE_ERRORS
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop

from churnsignal_ingest.auth.bucket import Bucket
from churnsignal_ingest.auth.keys import Hasher, looks_right
from churnsignal_ingest.auth.store import LiveKey
from churnsignal_ingest.validate.accounts import AccountPaths, PathsInForce
from churnsignal_ingest.validate.batches import Sender
from churnsignal_ingest.validate.reasons import Problem, RequestProblem
from churnsignal_ingest.validate.suppressed import NOBODY, Suppressed

log = structlog.get_logger()

_REFRESH_S = 3.0
_NOTE_USED_EVERY = 20
_HEADERS_KEPT = 10_000
# Well made keys that nobody knows. A new key needs no look-up for longer than a refresh, so the limit costs honest clients nothing.
_GUESSES_PER_S, _GUESSES_AT_ONCE = 20, 200


class KeyStore(Protocol):
    """Where the directory reads keys."""

    async def live_keys(self) -> list[LiveKey]: ...

    async def suppressed(self, known: Suppressed) -> Suppressed: ...

    async def paths(self, known: PathsInForce, now: datetime) -> PathsInForce: ...

    async def note_used(self, key_ids: set[int], at: datetime) -> None: ...


@dataclass(frozen=True, slots=True)
class Grant:
    """What a good key gives: its sender, its source's bucket, and until when."""

    key_id: int
    sender: Sender
    bucket: Bucket
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rates:
    """What sources without rates of their own may send."""

    rate: float
    burst: float


class Directory:
    """Looks keys up. `monotonic` is for the buckets; `paths` hold until a mapping was put into force."""

    def __init__(
        self,
        store: KeyStore,
        hasher: Hasher,
        clock: Clock,
        rates: Rates,
        postgres: Dependency,
        monotonic: Callable[[], float],
        paths: PathsInForce,
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._clock = clock
        self._rates = rates
        self._postgres = postgres
        self._monotonic = monotonic
        self.suppressed: Suppressed = NOBODY
        self.paths = paths
        self._keys: dict[bytes, LiveKey] = {}
        self._grants: dict[str, Grant] = {}
        self._buckets: dict[str, Bucket] = {}
        self._by_header: dict[bytes, Grant] = {}
        self._used: set[int] = set()
        self._guesses = Bucket(_GUESSES_PER_S, _GUESSES_AT_ONCE, monotonic())
        self._asked = asyncio.Event()
        self._read = asyncio.Condition()
        self._reads_begun = 0
        self._reads_done = 0

    def paths_at(self, moment: datetime) -> AccountPaths:
        """Return where the ids of accounts stand in calls received at `moment`."""
        return self.paths.at(moment)

    async def of_header(self, authorization: bytes) -> Grant | None:
        """Return what the key in the header may do, None when it holds none. A header seen before is neither decoded nor hashed again."""
        grant = self._by_header.get(authorization)
        if grant is None or grant.expires_at is not None:
            key = key_of_basic(authorization) or key_of_bearer(authorization)
            if key is None:
                return None
            grant = await self.look_up(key)
            if len(self._by_header) < _HEADERS_KEPT:
                self._by_header[authorization] = grant
        self._used.add(grant.key_id)
        return grant

    async def of_body(self, key: str | None) -> Grant:
        """Return what the key that stands in the body may do."""
        if key is None:
            raise RequestProblem(Problem.NO_KEY)
        grant = await self.look_up(key)
        self._used.add(grant.key_id)
        return grant

    async def look_up(self, key: str) -> Grant:
        """Return what `key` may do. Only a key that a fresh read does not know is called bad; an unverifiable one is 503."""
        grant = self._grants.get(key) or self._learn(key)
        if grant is None:
            if not looks_right(key):
                raise RequestProblem(Problem.BAD_KEY)
            if self._guesses.take(1, self._monotonic()):
                raise RequestProblem(Problem.GUESSING)
            if not await self._fresh_read():
                raise RequestProblem(Problem.KEYS_AWAY)
            grant = self._learn(key)
        if grant is None or (grant.expires_at is not None and grant.expires_at <= self._clock.now()):
            raise RequestProblem(Problem.BAD_KEY)
        return grant

    def _learn(self, key: str) -> Grant | None:
        if not looks_right(key):
            return None
        live = next((found for candidate in self._hasher.candidates(key) if (found := self._keys.get(candidate))), None)
        if live is None:
            return None
        grant = Grant(live.key_id, Sender(live.source, live.scope, live.kind == "rudder"), self._bucket(live), live.expires_at)
        self._grants[key] = grant
        return grant

    def _bucket(self, live: LiveKey) -> Bucket:
        """All keys of a source share one bucket, which lives on when its rates change."""
        rate, burst = live.rate or self._rates.rate, live.burst or self._rates.burst
        bucket = self._buckets.setdefault(live.source, Bucket(rate, burst, self._monotonic()))
        bucket.rate, bucket.burst = rate, burst
        return bucket

    async def _fresh_read(self) -> bool:
        """Wait for a read that begins after now; return whether one came about. Guessers thus wait, and share one read a second."""
        wanted = self._reads_begun + 1
        self._asked.set()
        try:
            async with asyncio.timeout(4.0), self._read:
                await self._read.wait_for(lambda: self._reads_done >= wanted or self._postgres.ok is False)
        except TimeoutError:
            return False
        return self._reads_done >= wanted

    async def run(self, stop: Stop) -> None:
        """Read the keys again and again until stopped: every few seconds, and within a second when someone asks."""
        turn = 0
        while not stop.is_set():
            await self.read()
            turn += 1
            if turn % _NOTE_USED_EVERY == 0:
                await self._write_used()
            if not await stop.wait(1.0):
                await self._wait_or_asked(stop)
        await self._write_used()

    async def _wait_or_asked(self, stop: Stop) -> None:
        waits = [asyncio.create_task(stop.wait()), asyncio.create_task(self._asked.wait())]
        await asyncio.wait(waits, timeout=_REFRESH_S - 1.0, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def read(self) -> None:
        """Replace the known set; on failure keep it. Nobody is let in before we know whose calls are to be dropped."""
        self._asked.clear()
        self._reads_begun += 1
        begun = self._reads_begun
        try:
            async with asyncio.timeout(5.0):
                self.suppressed = await self._store.suppressed(self.suppressed)
                self.paths = await self._store.paths(self.paths, self._clock.now())
                rows = await self._store.live_keys()
        except STORE_ERRORS as error:
            self._postgres.down(type(error).__name__)
            log.warning("keys_not_read", reason=type(error).__name__)
        else:
            self._postgres.up()
            self._reads_done = begun
            self._replace({row.hash: row for row in rows})
        async with self._read:
            self._read.notify_all()

    def _replace(self, keys: dict[bytes, LiveKey]) -> None:
        if keys == self._keys:
            return
        self._keys = keys
        self._grants.clear()
        self._by_header.clear()
        log.info("keys_read", keys=len(keys))

    async def _write_used(self) -> None:
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await self._store.note_used(used, self._clock.now())
        except STORE_ERRORS as error:
            log.warning("last_used_not_written", reason=type(error).__name__)


def key_of_basic(authorization: bytes) -> str | None:
    """Return the user of Basic credentials, with or without its colon; None when there is none."""
    scheme, _, given = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        text = base64.b64decode(given.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return text.partition(":")[0] or None


def key_of_bearer(authorization: bytes) -> str | None:
    """Return a bearer token that is a write key. Other tokens are OAuth's, whose calls bring the key in their body."""
    scheme, _, given = authorization.partition(b" ")
    text = given.strip().decode("latin-1")
    return text if scheme.lower() == b"bearer" and looks_right(text) else None
