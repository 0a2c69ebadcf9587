"""Every input of the corpus comes to what its folder says; what is accepted, scoring can read and Postgres can store."""

import base64
import random

import msgspec
import pytest
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_UNRESOLVED
from churnsignal_common.mapping.usage import Usage
from churnsignal_ingest.validate.batches import open_batch
from churnsignal_ingest.validate.judge import Judged, Record
from churnsignal_ingest.validate.reasons import PROBLEMS, REASONS, RequestProblem
from churnsignal_scoring.decode import read
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.corpus import Sample, samples
from tests.unit.ingest.cases import judged, rejected
from tests.unit.scoring.accounts import MAPPER

CALLS, BODIES = samples("calls"), samples("bodies")
GOOD = b'{"type":"track","event":"ok","userId":"good","messageId":"%s"}'


def among_others(raw: bytes) -> Judged:
    return judged(open_batch(b'{"batch":[' + GOOD % b"before" + b"," + raw + b"," + GOOD % b"after" + b"]}"))


class Consumed:
    """A record as scoring's consumer hands it over."""

    timestamp: int = 0

    def __init__(self, offset: int, record: Record) -> None:
        self.offset = offset
        self.value: bytes | None = record[3]


def unread_by_scoring(records: list[Record]) -> list[str]:
    """Return why scoring could not read what ingest put on the usage topics."""
    found = []
    for topic in (USAGE_EVENTS, USAGE_UNRESOLVED):
        place = Place(topic, 3)
        consumed = [Consumed(n, record) for n, record in enumerate(r for r in records if r[0] == topic)]
        reading = read([(place, consumed)], {place: 0}, lambda _: Usage(True, ()))
        found += [poison.reason for poison in reading.dead]
        for envelope in reading.envelopes:
            # All of it, not only what scoring reads today.
            msgspec.json.decode(envelope.call)
            MAPPER.usage(envelope)
            assert "\x00" not in envelope.id
    return found


def test_the_corpus_has_inputs_for_most_reasons_and_knows_no_other() -> None:
    verdicts = {sample.verdict for sample in CALLS}

    assert verdicts <= {"accepted", *(reason.value for reason in REASONS)}
    assert len(verdicts) > 12
    assert {sample.verdict for sample in BODIES} <= {problem.value for problem in PROBLEMS}


@pytest.mark.parametrize("sample", CALLS, ids=str)
def test_a_call_comes_to_what_its_folder_says_and_its_neighbours_are_taken(sample: Sample) -> None:
    verdicts = among_others(sample.raw)

    assert [refused.reason.value for refused in verdicts.refused] == [sample.verdict] * (sample.verdict != "accepted")
    assert verdicts.accepted == 2 + (sample.verdict == "accepted")
    assert [kept.body for kept in rejected(verdicts)] == [sample.raw] * len(verdicts.refused)
    assert unread_by_scoring(verdicts.records) == []


@pytest.mark.parametrize("sample", BODIES, ids=str)
def test_a_body_comes_to_what_its_folder_says(sample: Sample) -> None:
    with pytest.raises(RequestProblem) as raised:
        judged(open_batch(sample.raw))

    assert raised.value.problem.value == sample.verdict


def mutated(raw: bytes, seed: int) -> bytes:
    """Return `raw` with a few bytes cut, doubled, swapped or replaced, or with a piece of another sample in it."""
    chance = random.Random(seed)
    data = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + chance.randint(1, 8))
        piece = chance.choice([b"", data[at:to] * 2, bytes([chance.randrange(256)]), _piece(chance), b"\\u0000", b"1e999", b'"', b"}"])
        data[at:to] = piece
    return bytes(data)


def _piece(chance: random.Random) -> bytes:
    other = chance.choice(CALLS).raw
    start = chance.randrange(len(other) + 1)
    return other[start : start + chance.randint(1, 60)]


@settings(max_examples=600)
@given(st.sampled_from(CALLS), st.integers(0, 2**32))
def test_whatever_becomes_of_a_sample_what_is_accepted_can_be_read(sample: Sample, seed: int) -> None:
    raw = mutated(sample.raw, seed)
    try:
        verdicts = among_others(raw)
    except RequestProblem:
        return

    assert unread_by_scoring(verdicts.records) == [], base64.b64encode(raw)


def test_the_net_would_hold_what_ingest_lets_through() -> None:
    poison: Record = (USAGE_EVENTS, 3, b"a", b'{"source":"web"}')

    assert unread_by_scoring([poison]) == ["unreadable"]
