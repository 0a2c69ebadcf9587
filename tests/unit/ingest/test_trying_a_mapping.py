"""`churnsignal-ingest mapping test`: what calls would become, before they are sent."""

import json
from pathlib import Path
from typing import Any

import pytest
from churnsignal_common.mapping.parse import parse_mapping
from churnsignal_common.mapping.suggest import suggested_rule
from churnsignal_ingest import mapping_cli

CALLS = [
    {"type": "track", "event": "Invoice Payment Failed", "userId": "u", "context": {"groupId": "acme"}},
    {"type": "track", "event": "Robots Counted", "userId": "u"},
    {"type": "track", "event": "Robots Counted", "userId": "u", "context": {"userAgent": "Googlebot/2.1"}},
    {"type": "group", "userId": "u", "groupId": "acme", "traits": {"Seat Count": 12}},
]


def tried(file: Path, capsys: pytest.CaptureFixture[str], mapping: Path | None = None) -> tuple[int, Any]:
    code = mapping_cli.try_mapping(file, mapping, as_json=True)
    return code, json.loads(capsys.readouterr().out)["calls"]


@pytest.mark.parametrize("form", ["jsonl", "list", "batch"])
def test_each_call_says_what_it_would_become(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = {"jsonl": "\n".join(map(json.dumps, CALLS)), "list": json.dumps(CALLS), "batch": json.dumps({"batch": CALLS})}[form]
    file = tmp_path / ("calls.jsonl" if form == "jsonl" else "calls.json")
    file.write_text(text)

    code, [failed, unknown, bot, group] = tried(file, capsys)

    assert code == 0
    assert (failed["signals"], failed["use"], failed["facts"], failed["account"]) == (
        ["payment_failed"],
        False,
        {"payment_failed": True},
        "acme",
    )
    assert (unknown["signals"], unknown["account"]) == (["use", "feature_used:Robots Counted"], None)
    assert bot["ignored"] == "bot"
    assert group["facts"] == {"seats": 12}


def test_the_rule_offered_for_an_unknown_event_is_one_to_paste(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = tmp_path / "calls.jsonl"
    calls.write_text(json.dumps(CALLS[1]))
    _, [unknown] = tried(calls, capsys)
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("name: ours\nsignals:\n" + unknown["rule"])

    _, [known] = tried(calls, capsys, mapping)

    assert "rule" not in known
    assert known["signals"] == ["use", "feature_used:Robots Counted"]


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("User Logged In", "login"),
        ("invoice.payment_failed", "payment_failed"),
        ("Upload Failed", "error"),
        ("Blogging: inserted @mention", "feature_used:Blogging: inserted mention"),
        ("[draft] 'x': y", "feature_used:[draft] 'x': y"),
    ],
)
def test_a_guess_is_a_valid_rule(name: str, signal: str) -> None:
    mapping = parse_mapping("name: ours\nsignals:\n" + suggested_rule(name), "mapping.yaml")

    assert (mapping.rules[0].signal, mapping.rules[0].events) == (signal, (name,))


def test_a_call_that_ingest_would_refuse_says_why_and_fails_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text('{"type": "track", "userId": "u"}')

    code, [refused] = tried(file, capsys)

    assert code == 1
    assert refused["refused"] == "no_event_name"
    assert refused["advice"]


@pytest.mark.parametrize(("text", "said"), [("name: 5\n", "mapping.yaml:1: name"), ("signals: []\n", "add name")])
def test_a_wrong_mapping_is_told_with_its_line(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mapping.yaml").write_text(text)
    (tmp_path / "calls.jsonl").write_text("")

    code = mapping_cli.try_mapping(tmp_path / "calls.jsonl", tmp_path / "mapping.yaml", as_json=True)

    assert code == 1
    assert said in capsys.readouterr().err
