"""The committed contracts are the generated ones, old examples still decode, and each change of a schema is explained."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from churnsignal_common.contracts.envelope import Command, Envelope, Format, Rejected, command_decoder, encoder
from churnsignal_common.contracts.examples import EXAMPLES
from churnsignal_common.contracts.generate import files
from churnsignal_common.contracts.topics import TOPICS

ROOT = Path(__file__).parents[2] / "docs" / "contracts"
GENERATED = files()


def test_no_stale_contract_file_is_left_behind() -> None:
    committed = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()}

    assert committed - {"CHANGES.md"} == set(GENERATED)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_decodes_to_the_value_it_was_made_from(name: str) -> None:
    value = EXAMPLES[name]

    decoded = msgspec.json.decode((ROOT / "examples" / f"{name}.json").read_bytes(), type=type(value))

    assert _plain(decoded) == _plain(value)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_valid_by_its_json_schema(name: str) -> None:
    schema = json.loads((ROOT / "schemas" / f"{type(EXAMPLES[name]).__name__}.json").read_text())

    jsonschema.validate(json.loads((ROOT / "examples" / f"{name}.json").read_text()), schema)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_reader_of_today_takes_fields_of_tomorrow(name: str) -> None:
    raw = json.loads((ROOT / "examples" / f"{name}.json").read_text()) | {"field_of_tomorrow": {"a": 1}}

    decoded = msgspec.json.decode(json.dumps(raw).encode(), type=type(EXAMPLES[name]))

    assert _plain(decoded) == _plain(EXAMPLES[name])


def test_each_command_has_an_example_that_its_reader_decodes() -> None:
    seen = {type(command_decoder.decode(e.call)) for e in EXAMPLES.values() if isinstance(e, Envelope) and e.format is Format.COMMAND}

    assert seen == set(Command.__args__)


def test_the_original_bytes_of_a_call_survive_the_envelope() -> None:
    call = b'{"b":1,  "a":"\\u00e9\xc3\xa9","n":1.50}'
    example = EXAMPLES["envelope"]
    assert isinstance(example, Envelope)

    wire = encoder.encode(msgspec.structs.replace(example, call=msgspec.Raw(call)))

    assert bytes(msgspec.json.decode(wire, type=Envelope).call) == call


def test_rejected_bytes_survive_whatever_they_are() -> None:
    example = EXAMPLES["rejected"]
    assert isinstance(example, Rejected)
    body = bytes(range(256))

    wire = encoder.encode(msgspec.structs.replace(example, body=body))

    assert msgspec.json.decode(wire, type=Rejected).body == body


def test_each_schema_as_it_is_now_is_explained_in_the_changes() -> None:
    explained = (ROOT / "CHANGES.md").read_text()

    missing = [f"{path.name} {_digest(path)}" for path in sorted((ROOT / "schemas").iterdir()) if _digest(path) not in explained]

    assert not missing, "add a line with the digest and the reason to docs/contracts/CHANGES.md"


def test_every_topic_has_a_producer_a_consumer_and_a_described_value() -> None:
    for topic in TOPICS:
        assert topic.producers and topic.consumers and topic.about
        assert f"schemas/{topic.value.__name__}.json" in GENERATED


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    return json.loads(encoder.encode(value))
