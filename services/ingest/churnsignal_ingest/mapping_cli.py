"""Root. `churnsignal-ingest mapping test FILE`: what the calls of a file would become, without sending them."""

import json as json_module
import secrets
import sys
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec
from churnsignal_common.clock import RealClock
from churnsignal_common.contracts.envelope import envelope_decoder
from churnsignal_common.contracts.topics import USAGE_UNRESOLVED
from churnsignal_common.document import ConfigError
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_common.mapping.parse import parse_mapping
from churnsignal_common.mapping.suggest import suggested_rule
from churnsignal_common.runtime.config_files import read_config
from rich.console import Console
from rich.table import Table

from churnsignal_ingest.imports.calls import Unreadable, call_of
from churnsignal_ingest.imports.files import BadFile, rows_of
from churnsignal_ingest.validate.accounts import account_paths, always
from churnsignal_ingest.validate.batches import Sender, judge_all, open_batch
from churnsignal_ingest.validate.judge import Judge, Scope
from churnsignal_ingest.validate.limits import Limits
from churnsignal_ingest.validate.reasons import REASONS
from churnsignal_ingest.validate.suppressed import NOBODY

mapping = cyclopts.App(name="mapping", help="What calls mean.\n\nExample: churnsignal-ingest mapping test calls.jsonl")


@mapping.command(name="test")
def show(
    file: Path,
    *,
    mapping: Path | None = None,
    config_dir: Annotated[Path | None, cyclopts.Parameter(env_var="CHURNSIGNAL_CONFIG_DIR")] = None,
    json: bool = False,
) -> None:
    """Show what the calls of a .json, .jsonl, .csv or .parquet file would become, without sending them.

    Reads --mapping, else mapping.yaml of CHURNSIGNAL_CONFIG_DIR, else the default that we ship.

    Example: churnsignal-ingest mapping test calls.jsonl --mapping mapping.yaml
    """
    configured = config_dir / "mapping.yaml" if config_dir else None
    chosen = mapping or (configured if configured and configured.exists() else None)
    raise SystemExit(try_mapping(file, chosen, as_json=json))


def try_mapping(file: Path, mapping: Path | None, *, as_json: bool) -> int:
    """Say of each call what it would become; 1 when the mapping or the file cannot be read, or a call would be refused."""
    try:
        config = parse_mapping(*read_config(mapping, "churnsignal_common.mapping", "mapping.yaml"))
        judge = Judge(Limits(), always(account_paths(config.account_paths)).at, 1, partial(secrets.token_hex, 16))
        now = RealClock().now()
        found = [_told(call, judge, Mapper(config), now) for call in _calls(file)]
    except (ConfigError, BadFile, OSError, UnicodeError) as error:
        print(error, file=sys.stderr)
        return 1
    if as_json:
        print(json_module.dumps({"mapping": config.version, "calls": found}, indent=1))
    else:
        _show(config.version, found)
    return 1 if any(told["refused"] for told in found) else 0


def _calls(file: Path) -> Iterator[dict[str, Any]]:
    if file.suffix.lower() != ".json":
        for number, row in enumerate(rows_of(file), 1):
            if isinstance(row, Unreadable):
                raise BadFile(f"{file}: row {number}: {row}")
            yield call_of(row, number, "test")
        return
    try:
        body = msgspec.json.decode(file.read_bytes())
    except msgspec.DecodeError as error:
        raise BadFile(f"{file}: {error}: give one call, a list of calls, or a batch as an SDK sends it") from error
    calls = body.get("batch", [body]) if isinstance(body, dict) else body
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise BadFile(f"{file}: give one call, a list of calls, or a batch as an SDK sends it")
    yield from calls


def _told(call: dict[str, Any], judge: Judge, mapper: Mapper, now: datetime) -> dict[str, Any]:
    name = str(call.get("event") or call.get("name") or call.get("type") or "")
    body = b'{"batch":[' + msgspec.json.encode(call) + b"]}"
    judged = judge_all(open_batch(body), Sender("test", Scope.IMPORT), now, judge, NOBODY, importing=False)
    told: dict[str, Any] = {
        "event": name,
        "account": None,
        "use": False,
        "signals": [],
        "facts": {},
        "contact": None,
        "ignored": None,
        "refused": None,
    }
    if judged.refused:
        reason = judged.refused[0].reason
        return told | {"refused": reason.value, "advice": REASONS[reason].remedy}
    topic, _, _, value = judged.records[0]
    envelope = envelope_decoder.decode(value)
    usage = mapper.usage(envelope)
    told |= {"account": envelope.account, "use": usage.active, "signals": list(usage.signals), "facts": dict(usage.facts)}
    told["ignored"], told["contact"] = usage.ignored, usage.contact and usage.contact._asdict()
    if topic == USAGE_UNRESOLVED:
        told["advice"] = "names no account: it counts for the account that its user was last grouped into"
    if call.get("type") == "track" and not mapper.names(name):
        told["rule"] = suggested_rule(name)
    return told


def _show(version: str, found: list[dict[str, Any]]) -> None:
    table = Table("event", "account", "becomes", "remembers", title=f"mapping {version}", show_lines=True)
    for told in found:
        if told["refused"]:
            becomes = f"refused: {told['refused']}\n{told['advice']}"
        elif told["ignored"]:
            becomes = f"ignored: {told['ignored']}"
        else:
            becomes = ", ".join(told["signals"]) or "nothing to count"
            if "rule" in told:
                becomes += f"\nno rule names it; to give it a meaning:\n{told['rule'].rstrip()}"
        remembers = ", ".join(f"{fact}={value}" for fact, value in told["facts"].items())
        if told["contact"]:
            remembers += "\ncontact: " + ", ".join(f"{key}={value}" for key, value in told["contact"].items() if value)
        table.add_row(told["event"], told["account"] or "(by its user)", becomes, remembers)
    Console().print(table)
