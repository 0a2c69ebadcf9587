"""Root. `churnsignal-scoring accounts import`: contract data out of a CRM's file, as commands on the log, a whole file or nothing."""

import asyncio
import csv
import json as jsonlib
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import cyclopts
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from churnsignal_common.contracts.envelope import ProfileEdited, encoder
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_EVENTS
from churnsignal_common.kafka.client import brokers_of, new_producer, stop_client, topics_problem
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_common.runtime.cli import give_up
from churnsignal_common.runtime.settings import read_settings

from churnsignal_scoring.api import command_envelope
from churnsignal_scoring.config_cli import Desk, at_desk
from churnsignal_scoring.settings import ScoringSettings
from churnsignal_scoring.sheet import Edit, Sheet, read_sheet

AUTHOR, CLIENT = "accounts-import", "churnsignal-scoring-import"
AT_ONCE = 500
SEND_S = 30.0


accounts = cyclopts.App(
    name="accounts", help="What is known of accounts beside their use.\n\nExample: churnsignal-scoring accounts import crm.csv"
)


@accounts.command(name="import")
def accounts_import(file: Path, *, dry_run: bool = False, json: bool = False) -> None:
    """Set owner, ARR, seats, renewal and the like from a CSV file. Example: churnsignal-scoring accounts import crm.csv --dry-run

    One column is account_id; the others are traits as the mapping in force names them, such as owner, arr or mrr, currency, seats, renewal_date,
    notice_days, plan, tier, timezone, country, parent. An empty cell leaves a value as it is, `null` clears it. A file with an error is not imported
    at all; --dry-run only looks.
    """
    settings = read_settings(ScoringSettings)

    async def work(desk: Desk) -> None:
        now = desk.clock.now()
        try:
            sheet = read_file(file, (await desk.configs.policy()).mapping_at(now))
        except (FileNotFoundError, IsADirectoryError, PermissionError, UnicodeDecodeError, csv.Error) as error:
            give_up(f"{file}: cannot read it as CSV in UTF-8: {error}")
        if sheet.problems:
            give_up("\n".join([*(f"{file}:{problem}" for problem in sheet.problems), "nothing was imported"]))
        counts = {"accounts": len(sheet.edits), "values": sum(len(edit.traits) for edit in sheet.edits), "cleared": sheet.cleared}
        if dry_run:
            counts["unknown"] = len(sheet.edits) - await desk.queries.count_known([edit.account for edit in sheet.edits])
        else:
            await _put_on_log(settings, sheet.edits, now)
        _tell(counts, dry_run=dry_run, as_json=json)

    at_desk(work)


def read_file(path: Path, mapper: Mapper) -> Sheet:
    """Return the edits of a CSV file and what is wrong with it."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        return read_sheet(list(reader.fieldnames or ()), _numbered(reader), mapper)


def _numbered(reader: "csv.DictReader[str]") -> Iterator[tuple[int, Mapping[str | None, Any]]]:
    for row in reader:
        yield reader.line_num, row


async def _put_on_log(settings: ScoringSettings, edits: list[Edit], now: datetime) -> None:
    if problem := await topics_problem(brokers_of(settings), CLIENT, [settings.topic(USAGE_EVENTS)], settings.partitions):
        give_up(problem)
    try:
        await _send(settings, edits, now)
    except (KafkaError, OSError, TimeoutError) as error:
        give_up(f"{type(error).__name__}: some edits may be on the log; the same command again does no harm")


def _tell(counts: dict[str, int], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print(jsonlib.dumps(counts | {"sent": 0 if dry_run else counts["accounts"]}))
        return
    print(f"{counts['accounts']} accounts, {counts['values']} values, {counts['cleared']} of them cleared")
    if dry_run:
        print(f"{counts['unknown']} of the accounts were never heard of. Nothing was sent")


async def _send(settings: ScoringSettings, edits: list[Edit], now: datetime) -> None:
    producer = new_producer(brokers_of(settings), CLIENT)
    try:
        async with asyncio.timeout(SEND_S):
            await producer.start()
        for start in range(0, len(edits), AT_ONCE):
            async with asyncio.timeout(SEND_S):
                await _send_some(settings, producer, edits[start : start + AT_ONCE], now)
    finally:
        await stop_client(producer)


async def _send_some(settings: ScoringSettings, producer: AIOKafkaProducer, edits: list[Edit], now: datetime) -> None:
    acknowledged = []
    for edit in edits:
        command = ProfileEdited(traits=edit.traits, author=AUTHOR)
        value = encoder.encode(command_envelope(edit.account, command, uuid.uuid4().hex, now))  # noqa: TID251 a root may draw ids
        target = partition_of(edit.account, settings.partitions)
        acknowledged.append(await producer.send(settings.topic(USAGE_EVENTS), value, edit.account.encode(), partition=target))
    await asyncio.gather(*acknowledged)
