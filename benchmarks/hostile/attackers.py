"""Door. Clients that mean harm, or are broken: idle ones, slow ones, and senders of bombs. Run: python -m benchmarks.hostile.attackers PORT IDLE SLOW BOMBS SECONDS."""

import asyncio
import json
import resource
import sys
import zlib
from collections import Counter
from dataclasses import dataclass, field

import uvloop

BOMB_MB = 100
DRIP_S = 1.0
# Ten thousand connections in one second would be another attack.
OPENED_PER_S = 1_000


def bomb(megabytes: int) -> bytes:
    """Return gzip that unpacks to so many megabytes of zeros: a deflated block may be repeated as it stands."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeeze.compress(bytes(2**20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(7) + block * megabytes + squeeze.flush()


@dataclass(slots=True)
class Seen:
    """What became of the attackers."""

    answers: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    cut: int = 0


async def idle(port: int, number: int, seen: Seen, until: asyncio.Event) -> None:
    """Connect and say nothing; when cut, connect again."""
    await _either(asyncio.sleep(number / OPENED_PER_S), until)
    while not until.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            seen.opened += 1
            await _either(reader.read(1), until)
            seen.cut += not until.is_set()
            writer.close()
        except OSError:
            seen.cut += 1
            await _either(asyncio.sleep(0.5), until)


async def slow(port: int, number: int, seen: Seen, until: asyncio.Event) -> None:
    """Send most of a body, then a byte a second."""
    await _either(asyncio.sleep(10 * number / OPENED_PER_S), until)
    head = b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 400000\r\n\r\n"
    while not until.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            seen.opened += 1
            writer.write(head + b'{"batch":[' + b" " * 60_000)
            answer = asyncio.ensure_future(reader.read(100))
            while not answer.done() and not until.is_set():
                writer.write(b" ")
                await _either(asyncio.wait({answer}, timeout=DRIP_S), until)
            if answer.done():
                seen.cut += 1
                status = answer.result().split(b" ")[1:2] if answer.exception() is None else []
                seen.answers[f"slow {status[0].decode() if status else 'cut'}"] += 1
            else:
                answer.cancel()
            writer.close()
        except OSError:
            seen.cut += 1


async def bombs(port: int, count: int, over_s: float, seen: Seen) -> None:
    """Send bombs, one after the other."""
    body = bomb(BOMB_MB)
    request = b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    for _ in range(count):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request + body)
            answer = await reader.read(200)
            seen.answers[f"bomb {answer.split(b' ')[1].decode() if answer else 'cut'}"] += 1
            writer.close()
        except OSError:
            seen.answers["bomb cut"] += 1
        await asyncio.sleep(over_s / count)


async def _either(work: object, until: asyncio.Event) -> None:
    task = asyncio.ensure_future(work)  # type: ignore[call-overload] # any awaitable
    over = asyncio.create_task(until.wait())
    _, left = await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
    for each in left:
        each.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def attack(port: int, idlers: int, slows: int, bombers: int, seconds: float) -> Seen:
    """Let all of them loose for so long."""
    seen, until = Seen(), asyncio.Event()
    tasks = [asyncio.create_task(idle(port, number, seen, until)) for number in range(idlers)]
    tasks += [asyncio.create_task(slow(port, number, seen, until)) for number in range(slows)]
    bombing = asyncio.create_task(bombs(port, bombers, seconds / 2, seen))
    await asyncio.sleep(seconds)
    until.set()
    await asyncio.gather(bombing, *tasks, return_exceptions=True)
    return seen


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, idlers, slows, bombers, seconds = sys.argv[1:]
    found = uvloop.run(attack(int(port), int(idlers), int(slows), int(bombers), float(seconds)))
    print(json.dumps({"answers": dict(found.answers), "opened": found.opened, "cut": found.cut}))
