"""Root. `churnsignal-scoring accounts import`: contract data out of a CRM's file, as commands on the log, a whole file or nothing."""

import asyncio
import csv
import json as jsonlib
import sys
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from churnsignal_common.clock import open_clock
from churnsignal_common.contracts.envelope import ProfileEdited, encoder
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.topics import USAGE_EVENTS
from churnsignal_common.kafka.client import brokers_of, new_producer, stop_client
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_common.postgres.engine import open_engine
from sqlalchemy.exc import SQLAlchemyError

from churnsignal_scoring.api import command_envelope
from churnsignal_scoring.queries import Queries
from churnsignal_scoring.settings import ScoringSettings
from churnsignal_scoring.sheet import Edit, Sheet, read_sheet

AUTHOR = "accounts-import"
AT_ONCE = 500
SEND_S = 30.0


def read_file(path: Path, mapper: Mapper) -> Sheet:
    """Return the edits of a CSV file and what is wrong with it."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        return read_sheet(list(reader.fieldnames or ()), _numbered(reader), mapper)


def _numbered(reader: "csv.DictReader[str]") -> Iterator[tuple[int, Mapping[str | None, Any]]]:
    for row in reader:
        yield reader.line_num, row


async def import_accounts(settings: ScoringSettings, mapper: Mapper, path: Path, *, dry_run: bool, as_json: bool) -> int:
    """Put all edits of a file on the log, or none; return the exit code."""
    try:
        sheet = read_file(path, mapper)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        print(f"{path}: cannot read it as CSV in UTF-8: {error}", file=sys.stderr)
        return 1
    if sheet.problems:
        print("\n".join([*(f"{path}:{problem}" for problem in sheet.problems), "nothing was imported"]), file=sys.stderr)
        return 1
    counts = {"accounts": len(sheet.edits), "values": sum(len(edit.traits) for edit in sheet.edits), "cleared": sheet.cleared}
    try:
        if dry_run:
            counts["unknown"] = await _unknown(settings, sheet.edits)
        else:
            await _send(settings, sheet.edits)
    except (KafkaError, SQLAlchemyError, OSError, TimeoutError) as error:
        print(f"{type(error).__name__}: some edits may be on the log; the same command again does no harm", file=sys.stderr)
        return 1
    _tell(counts, dry_run=dry_run, as_json=as_json)
    return 0


def _tell(counts: dict[str, int], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print(jsonlib.dumps(counts | {"sent": 0 if dry_run else counts["accounts"]}))
        return
    print(f"{counts['accounts']} accounts, {counts['values']} values, {counts['cleared']} of them cleared")
    if dry_run:
        print(f"{counts['unknown']} of the accounts were never heard of. Nothing was sent")


async def _unknown(settings: ScoringSettings, edits: list[Edit]) -> int:
    async with open_engine(settings.database_url.get_secret_value(), "scoring") as engine:
        return len(edits) - await Queries(engine).count_known([edit.account for edit in edits])


async def _send(settings: ScoringSettings, edits: list[Edit]) -> None:
    now = open_clock(settings.clock, dev=settings.dev).now()
    producer = new_producer(brokers_of(settings), "churnsignal-scoring-import")
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
