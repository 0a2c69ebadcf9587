"""Each limit: exactly at it, and one over."""

import json
from typing import Any

import pytest
from churnsignal_ingest.validate.limits import Limits
from churnsignal_ingest.validate.reasons import Problem, Reason, RequestProblem

from tests.unit.ingest.cases import judge_batch, judge_raw, track


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def of_size(size: int) -> bytes:
    start = json.dumps(track(pad="")).encode()
    return start[:-2] + b"x" * (size - len(start)) + b'"}'


def reasons(raw: bytes) -> list[Reason]:
    return [refused.reason for refused in judge_raw(b'{"batch":[' + raw + b"]}").refused]


def test_an_event_of_32_kb_is_welcome_and_a_byte_more_is_not() -> None:
    assert reasons(of_size(32 * 1024)) == []
    assert reasons(of_size(32 * 1024 + 1)) == [Reason.TOO_LARGE]


def test_32_levels_are_welcome_and_33_are_not() -> None:
    assert reasons(json.dumps(track(x=nested(31))).encode()) == []
    assert reasons(json.dumps(track(x=nested(32))).encode()) == [Reason.TOO_DEEP]


def test_many_shallow_objects_are_not_deep() -> None:
    assert reasons(json.dumps(track(x=[{"a": []} for _ in range(200)])).encode()) == []


def test_512_keys_are_welcome_and_513_are_not() -> None:
    other = len(track(x={}))

    assert reasons(json.dumps(track(x={f"k{i}": 1 for i in range(512 - other)})).encode()) == []
    assert reasons(json.dumps(track(x={f"k{i}": 1 for i in range(513 - other)})).encode()) == [Reason.TOO_MANY_KEYS]


@pytest.mark.parametrize("text", [":" * 5000, "[" * 500, '{"a":' * 1000, '\\"[' * 1000, "\\" * 999 + '[":' * 600])
def test_what_stands_in_texts_is_neither_key_nor_level(text: str) -> None:
    assert reasons(json.dumps(track(x=text, y={text: text})).encode()) == []
    assert reasons(json.dumps(track(x=text[:600], y=nested(32))).encode()) == [Reason.TOO_DEEP]


@pytest.mark.parametrize("name", ["userId", "messageId", "anonymousId"])
@pytest.mark.parametrize(("fits", "over"), [("x" * 255, "x" * 256), ("ü" * 127, "ü" * 128)])
def test_ids_of_255_bytes_are_welcome_and_longer_ones_are_not(name: str, fits: str, over: str) -> None:
    assert judge_batch(track(**{name: fits})).refused == []
    assert [refused.reason for refused in judge_batch(track(**{name: over})).refused] == [Reason.ID_TOO_LONG]


def test_2500_events_are_welcome_and_2501_are_not() -> None:
    assert judge_batch(*[track()] * 2500).accepted == 2500
    with pytest.raises(RequestProblem) as problem:
        judge_batch(*[track()] * 2501)

    assert problem.value.problem is Problem.TOO_MANY_EVENTS


def test_a_batch_context_may_not_grow_a_request_beyond_measure() -> None:
    limits = Limits()
    context = {"pad": "x" * (8 * limits.batch_bytes // 2500 - len(json.dumps({"pad": ""})))}

    assert judge_batch(*[track()] * 2500, context=context).accepted == 2500
    with pytest.raises(RequestProblem) as problem:
        judge_batch(*[track()] * 2500, context={"pad": context["pad"] + "x"})

    assert problem.value.problem is Problem.BATCH_TOO_LARGE


@pytest.mark.parametrize("context", ["text", [1], {"a": "\x00"}, nested(33)])
def test_a_batch_context_must_be_an_object_that_can_be_stored(context: object) -> None:
    with pytest.raises(RequestProblem) as problem:
        judge_batch(track(), context=context)

    assert problem.value.problem is Problem.MALFORMED_BATCH
