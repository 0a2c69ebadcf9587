"""Bodies as they come off the wire: in pieces, gzipped, too long, lying about their encoding."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest
from churnsignal_common.runtime.health import Dependency
from churnsignal_ingest.api.body import Body, ClientGone, gunzip
from churnsignal_ingest.publish.gate import PATIENCE_S, Gate
from churnsignal_ingest.validate.reasons import Problem, RequestProblem


def new_gate(ceiling: int = 10_000, monotonic: Callable[[], float] = lambda: 0.0) -> Gate:
    gate = Gate(ceiling, Dependency("kafka"), monotonic)
    gate.kafka.up()
    return gate


def receiving(*pieces: bytes, end: str = "http.request") -> Any:
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = end != "http.request"
    messages.append({"type": end})
    source = iter(messages)

    async def receive() -> Any:
        return next(source)

    return receive


def problem_of(wanted: BaseException | None) -> Problem:
    assert isinstance(wanted, RequestProblem)
    return wanted.problem


@pytest.mark.asyncio
async def test_pieces_are_joined_and_counted_until_the_request_is_done() -> None:
    gate = new_gate()
    body = Body(gate)

    assert await body.read(receiving(b"ab", b"", b"cd"), 4) == b"abcd"
    assert gate.in_hand == 4
    body.done()
    assert gate.in_hand == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("pieces", [(b"abcde",), (b"abcd", b"e"), (b"ab", b"cd", b"e", b"f")])
async def test_a_byte_over_the_limit_is_too_large_in_one_piece_or_many(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(RequestProblem) as raised:
        await Body(new_gate()).read(receiving(*pieces), 4)

    assert raised.value.problem is Problem.BATCH_TOO_LARGE


@pytest.mark.asyncio
async def test_a_client_that_hangs_up_half_way_is_gone() -> None:
    with pytest.raises(ClientGone):
        await Body(new_gate()).read(receiving(b"ab", end="http.disconnect"), 10)


@pytest.mark.asyncio
async def test_a_body_that_would_break_the_ceiling_is_turned_away_while_it_is_read() -> None:
    gate = new_gate(ceiling=3)
    body = Body(gate)

    with pytest.raises(RequestProblem) as raised:
        await body.read(receiving(b"ab", b"cd"), 100)
    body.done()

    assert raised.value.problem is Problem.BUSY
    assert gate.in_hand == 0


@pytest.mark.asyncio
async def test_those_who_take_longest_over_their_bodies_make_room_and_nobody_else_does() -> None:
    now = 0.0
    gate = new_gate(10, lambda: now)
    dripping = []
    for at in (0.0, 1.0, PATIENCE_S + 0.5):
        now = at
        dripping.append(asyncio.create_task(Body(gate).read(_never_ending(b"abc"), 100)))
        await asyncio.sleep(0)

    now = PATIENCE_S + 1.0
    honest = Body(gate)
    assert await honest.read(receiving(b"abcdefg"), 100) == b"abcdefg"
    done, waiting = await asyncio.wait(dripping, timeout=0.01)

    assert gate.in_hand == 10
    assert (done, waiting) == (set(dripping[:2]), {dripping[2]})
    assert [problem_of(task.exception()) for task in done] == [Problem.BUSY] * 2
    with pytest.raises(RequestProblem):
        Body(gate).hold(1)
    dripping[2].cancel()


def _never_ending(piece: bytes) -> Any:
    pieces = asyncio.Queue[Any](1)
    pieces.put_nowait({"type": "http.request", "body": piece, "more_body": True})
    return pieces.get


def test_gzip_is_unpacked_whether_or_not_the_header_says_so() -> None:
    packed = gzip.compress(b"{}")

    assert Body(new_gate()).unpack(packed, b"gzip", 10) == b"{}"
    assert Body(new_gate()).unpack(packed, b"", 10) == b"{}"
    assert Body(new_gate()).unpack(b"{}", b"identity", 10) == b"{}"


PACKED = gzip.compress(b"{}", mtime=0)  # without the time of day, which would be part of the tests' names


@pytest.mark.parametrize(
    ("body", "encoding", "problem"),
    [
        (b"{}", b"gzip", Problem.BAD_GZIP),
        (PACKED[:-1], b"gzip", Problem.BAD_GZIP),
        (PACKED + PACKED, b"gzip", Problem.BAD_GZIP),
        (PACKED + b"x", b"gzip", Problem.BAD_GZIP),
        (b"\x1f\x8b nonsense", b"gzip", Problem.BAD_GZIP),
        (b"{}", b"br", Problem.UNSUPPORTED_ENCODING),
        (b"{}", b"deflate", Problem.UNSUPPORTED_ENCODING),
        (b"{}", b"zstd", Problem.UNSUPPORTED_ENCODING),
        (b"{}", b"gzip, gzip", Problem.UNSUPPORTED_ENCODING),
    ],
)
def test_a_broken_or_unknown_encoding_is_named(body: bytes, encoding: bytes, problem: Problem) -> None:
    with pytest.raises(RequestProblem) as raised:
        Body(new_gate()).unpack(body, encoding, 100)

    assert raised.value.problem is problem


def test_unpacking_stops_one_byte_over_the_limit() -> None:
    assert gunzip(gzip.compress(b"x" * 1000), 1000) == b"x" * 1000
    with pytest.raises(RequestProblem) as raised:
        gunzip(gzip.compress(b"x" * 1001), 1000)

    assert raised.value.problem is Problem.BATCH_TOO_LARGE


def test_a_bomb_is_never_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000, 1)

    with pytest.raises(RequestProblem) as raised:
        gunzip(bomb, 4_096_000)

    assert raised.value.problem is Problem.BATCH_TOO_LARGE
