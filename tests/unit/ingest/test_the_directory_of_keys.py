"""Keys in memory: found, refused, and never called bad while nobody could know."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import pytest
from churnsignal_common.mapping.parse import DEFAULT_PATHS
from churnsignal_common.runtime.health import Dependency
from churnsignal_common.runtime.tasks import Stop
from churnsignal_ingest.auth.directory import Directory, Rates
from churnsignal_ingest.auth.keys import RANDOM_BYTES, hasher_of, make_key
from churnsignal_ingest.auth.store import LiveKey
from churnsignal_ingest.validate.accounts import PathsInForce, account_paths, always
from churnsignal_ingest.validate.judge import Scope
from churnsignal_ingest.validate.reasons import Problem, RequestProblem
from churnsignal_ingest.validate.suppressed import NOBODY, Suppressed

NOW = datetime(2026, 11, 23, tzinfo=UTC)
HASHER = hasher_of("a-secret-for-these-tests")
PATHS = always(account_paths(DEFAULT_PATHS))
KEY = make_key(Scope.SERVER, b"k" * RANDOM_BYTES)
OTHER = make_key(Scope.BROWSER, b"o" * RANDOM_BYTES)


class FixedClock:
    def now(self) -> datetime:
        return NOW


class MemoryStore:
    """Keys that a test hands out and takes back; `away` is Postgres being away."""

    def __init__(self, *keys: LiveKey) -> None:
        self.keys = list(keys)
        self.away = False
        self.reads = 0
        self.used: dict[int, datetime] = {}
        self.listed = NOBODY
        self.in_force: PathsInForce | None = None

    async def live_keys(self) -> list[LiveKey]:
        self.reads += 1
        if self.away:
            raise ConnectionRefusedError
        return list(self.keys)

    async def suppressed(self, known: Suppressed) -> Suppressed:
        if self.away:
            raise ConnectionRefusedError
        return self.listed

    async def paths(self, known: PathsInForce, _now: datetime) -> PathsInForce:
        return self.in_force or known

    async def note_used(self, key_ids: set[int], at: datetime) -> None:
        self.used |= dict.fromkeys(key_ids, at)


def live(key: str, *, expires_at: datetime | None = None, rate: float | None = None) -> LiveKey:
    return LiveKey(1, HASHER.sign(key), Scope.SERVER, expires_at, "web", "segment", rate, None)


def new_directory(store: MemoryStore) -> Directory:
    return Directory(store, HASHER, FixedClock(), Rates(10, 100), Dependency("postgres"), lambda: 0.0, PATHS)


async def answer(directory: Directory, key: str) -> str:
    """Ask while the reader runs, as it does in the service."""
    stop = Stop()
    reader = asyncio.create_task(directory.run(stop))
    try:
        return (await directory.look_up(key)).sender.source
    except RequestProblem as problem:
        return problem.problem.value
    finally:
        stop.set()
        await reader


@pytest.mark.asyncio
async def test_a_known_key_is_its_source() -> None:
    assert await answer(new_directory(MemoryStore(live(KEY))), KEY) == "web"


@pytest.mark.asyncio
async def test_a_typing_error_is_bad_at_once_even_while_postgres_is_away() -> None:
    store = MemoryStore()
    store.away = True

    assert await answer(new_directory(store), KEY[:-1] + "x") == Problem.BAD_KEY


@pytest.mark.asyncio
async def test_an_unknown_key_is_bad_only_after_a_fresh_read() -> None:
    store = MemoryStore(live(KEY))
    directory = new_directory(store)
    await directory.read()
    reads = store.reads

    assert await answer(directory, OTHER) == Problem.BAD_KEY
    assert store.reads > reads


@pytest.mark.asyncio
async def test_a_key_made_a_moment_ago_is_found() -> None:
    store = MemoryStore()
    directory = new_directory(store)
    await directory.read()
    store.keys.append(live(KEY))

    assert await answer(directory, KEY) == "web"


@pytest.mark.asyncio
async def test_an_unknown_key_cannot_be_checked_while_postgres_is_away() -> None:
    store = MemoryStore(live(KEY))
    directory = new_directory(store)
    await directory.read()
    store.away = True

    assert await answer(directory, OTHER) == Problem.KEYS_AWAY


@pytest.mark.asyncio
async def test_the_last_known_set_serves_while_postgres_is_away() -> None:
    store = MemoryStore(live(KEY))
    directory = new_directory(store)
    await directory.read()
    store.away = True
    await directory.read()

    assert await answer(directory, KEY) == "web"


@pytest.mark.asyncio
async def test_a_revoked_key_is_bad_after_the_next_read() -> None:
    store = MemoryStore(live(KEY))
    directory = new_directory(store)
    await directory.read()
    assert await answer(directory, KEY) == "web"
    store.keys.clear()
    await directory.read()

    assert await answer(directory, KEY) == Problem.BAD_KEY


@pytest.mark.asyncio
async def test_a_key_ends_at_its_time() -> None:
    assert await answer(new_directory(MemoryStore(live(KEY, expires_at=NOW))), KEY) == Problem.BAD_KEY
    assert await answer(new_directory(MemoryStore(live(KEY, expires_at=NOW + timedelta(seconds=1)))), KEY) == "web"


@pytest.mark.asyncio
async def test_a_changed_rate_reaches_the_bucket_that_is_in_use() -> None:
    store = MemoryStore(live(KEY))
    directory = new_directory(store)
    await directory.read()
    before = (await directory.look_up(KEY)).bucket
    store.keys = [live(KEY, rate=500)]
    await directory.read()
    after = (await directory.look_up(KEY)).bucket

    assert after is before
    assert after.rate == 500


@pytest.mark.asyncio
async def test_use_of_a_key_is_written_at_the_end() -> None:
    store = MemoryStore(live(KEY))
    directory = new_directory(store)
    stop = Stop()
    reader = asyncio.create_task(directory.run(stop))
    await directory.of_body(KEY)
    stop.set()
    await reader

    assert store.used == {1: NOW}


@pytest.mark.asyncio
async def test_guesses_are_limited_while_known_keys_go_on() -> None:
    directory = new_directory(MemoryStore(live(KEY)))
    stop = Stop()
    reader = asyncio.create_task(directory.run(stop))

    async def guess(number: int) -> Problem:
        with pytest.raises(RequestProblem) as refused:
            await directory.look_up(make_key(Scope.SERVER, number.to_bytes(RANDOM_BYTES, "big")))
        return refused.value.problem

    answers = await asyncio.gather(*(guess(number) for number in range(300)))
    known = (await directory.look_up(KEY)).sender.source
    stop.set()
    await reader

    assert (answers.count(Problem.BAD_KEY), answers.count(Problem.GUESSING), known) == (200, 100, "web")


@pytest.mark.asyncio
async def test_account_paths_are_those_of_the_mapping_in_force_and_stay_while_postgres_is_away() -> None:
    store = MemoryStore()
    directory = new_directory(store)
    await directory.read()
    before = directory.paths
    store.in_force = always(account_paths(("properties.org",)))
    await directory.read()
    store.away = True
    await directory.read()

    assert (before, directory.paths) == (PATHS, store.in_force)


async def steps(ask: Callable[[str], Awaitable[object]], key: str) -> list[object]:
    """Return every line of ours that is run, and every built-in that it calls, while `key` is looked up."""
    taken: list[object] = []

    def ours(frame: FrameType) -> bool:
        return frame.f_code.co_filename.endswith(("/auth/directory.py", "/auth/keys.py", "/hmac.py", __file__))

    def on_line(frame: FrameType, event: str, _: Any) -> Any:
        if ours(frame):
            taken.append((frame.f_code.co_name, frame.f_lineno, event))
        return on_line

    def on_call(frame: FrameType, event: str, what: Any) -> None:
        if ours(frame):
            taken.append((event, getattr(what, "__name__", "")))

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(on_line)
    sys.setprofile(on_call)
    try:
        await ask(key)
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return taken


NEAR, FAR = (make_key(Scope.SERVER, chance) for chance in (b"k" * (RANDOM_BYTES - 1) + b"l", b"\0" * RANDOM_BYTES))


@pytest.mark.asyncio
async def test_a_guess_takes_the_same_steps_however_much_of_it_is_right() -> None:
    store = MemoryStore(live(KEY))
    directory = new_directory(store)
    await directory.read()
    store.away = True
    await directory.read()

    async def ask(key: str) -> None:
        with pytest.raises(RequestProblem):
            await directory.look_up(key)

    await ask(FAR)
    assert await steps(ask, NEAR) == await steps(ask, FAR)


@pytest.mark.asyncio
async def test_a_comparison_that_stops_at_the_first_difference_would_be_seen() -> None:
    async def ask(key: str) -> None:
        for mine, theirs in zip(KEY, key, strict=True):
            if mine != theirs:
                break

    assert await steps(ask, NEAR) != await steps(ask, FAR)
