"""The inputs that cost most: each is refused with its reason code, and for less CPU than an attacker would like."""

import gc
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import process_time

import pytest
from churnsignal_ingest.app import spare_the_collector

from benchmarks.hostile.attackers import bomb
from tests.unit.ingest.cases import track
from tests.unit.ingest.test_requests_of_sdks import KEY, RUDDER, serving

CPU_S = 0.05
# What CI's neighbours take from us is no cost of ours: one good try of a few is enough, and a core whose other thread is busy takes half as long again.
TRIES, BUSY = 8, 1.5


def batch(*raws: bytes) -> bytes:
    return b'{"batch":[' + b",".join(raws) + b"]}"


def wide(keys: int, name: Callable[[int], str] = str) -> bytes:
    pairs = ",".join(f'"{name(n)}":{n}' for n in range(keys))
    return b'{"type":"track","event":"x","userId":"u","properties":{' + pairs.encode() + b"}}"


def deep(levels: int) -> bytes:
    return json.dumps(track(x=0)).encode().replace(b"0", b"[" * levels + b"]" * levels)


BAD_TIME = json.dumps(track(timestamp="yesterday at noon")).encode()
OWN_KEY = json.dumps(track(type="x", writeKey=KEY)).encode()
LARGE = json.dumps(track(x="y" * 32_000)).encode()


@dataclass(frozen=True, slots=True)
class Attack:
    """A request and the code that it must get, for itself or for each of its events."""

    name: str
    body: bytes
    code: str
    encoding: str = ""
    key: str = KEY

    def __str__(self) -> str:
        return self.name


ATTACKS = [
    Attack("a gigabyte of zeros in a megabyte", bomb(1024), "batch_too_large", "gzip", RUDDER),
    Attack("half a gzip stream", gzip.compress(batch(*[LARGE] * 15))[:-9], "bad_gzip", "gzip"),
    Attack("a second gzip member", gzip.compress(batch(*[LARGE] * 15)) * 2, "bad_gzip", "gzip"),
    Attack("four megabytes of open brackets", b'{"batch":' + b"[" * 4_000_000, "malformed_json", key=RUDDER),
    Attack("events of 16,000 levels", batch(*[deep(16_000)] * 15), "malformed_json"),
    Attack("events of 900 levels", batch(*[deep(900)] * 250), "too_deep"),
    Attack("thousands of keys in one event", batch(wide(50_000)), "event_too_large", key=RUDDER),
    Attack("events of 2,500 keys", batch(*[wide(2_500)] * 12), "too_many_keys"),
    Attack("keys that hash alike", batch(*[wide(1_000, lambda n: str(n * (2**61 - 1)))] * 17), "too_many_keys"),
    Attack("one key thousands of times", batch(*[wide(2_500, lambda _: "k")] * 14), "too_many_keys"),
    Attack("four megabytes of events of 700 levels", batch(*[deep(700)] * 2500), "too_deep", key=RUDDER),
    Attack("four megabytes of spaced levels", batch(*[deep(350).replace(b"[", b"[ ").replace(b"]", b"] ")] * 2500), "too_deep", key=RUDDER),
    Attack("four megabytes of events of 600 keys", batch(*[wide(600)] * 700), "too_many_keys", key=RUDDER),
    Attack("2,501 events", batch(*[b"{}"] * 2501), "too_many_events"),
    Attack("numbers of 30,000 digits", batch(*[json.dumps(track(x=0)).encode().replace(b"0", b"9" * 30_000)] * 16), "malformed_event"),
    Attack("half a megabyte of escaped zeros", batch(*[json.dumps(track(x="\0" * 5_000)).encode()] * 16), "nul_character"),
    Attack("bad UTF-8 behind much that is good", batch(*[LARGE[:-3] + b'\xff"}'] * 15), "malformed_event"),
    Attack("2,500 events that are nothing", batch(*[b'{"type":"x"}'] * 2500), "unknown_type"),
    Attack("2,500 times that nobody can read", batch(*[BAD_TIME] * 2500), "bad_timestamp"),
    Attack("2,500 keys in events that are nothing", batch(*[OWN_KEY] * 2500), "unknown_type"),
    Attack("2,500 times a context of 30 KB", b'{"context":{"x":"' + b"y" * 30_000 + b'"},' + batch(*[b"{}"] * 2500)[1:], "batch_too_large"),
]


@pytest.fixture(autouse=True, scope="module")
def collector() -> Iterator[None]:
    """Collect garbage as seldom as the service does, which says why."""
    before = gc.get_threshold()
    spare_the_collector()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.asyncio
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
async def test_it_is_refused_with_its_code_in_little_cpu(attack: Attack) -> None:
    async with serving() as service:
        service.bench.gate.ceiling_bytes = 64 * 2**20
        bar = BUSY * CPU_S
        spent, answer = [bar], None
        while min(spent) >= bar and len(spent) <= TRIES:
            began = process_time()
            answer = await service.ask("/v1/batch", attack.body, key=attack.key, content_encoding=attack.encoding)
            spent.append(process_time() - began)

        assert answer is not None
        codes = {told["code"] for told in answer.json.get("rejected", [])} or {answer.json.get("code", "accepted")}
        assert codes == {attack.code}
        assert min(spent) < bar, spent
