"""Root. `churnsignal-ingest keys`: write keys of sources."""

import json
import re
import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import cyclopts
import msgspec
from churnsignal_common.clock import open_clock
from churnsignal_common.runtime.cli import give_up, on_database
from churnsignal_common.runtime.settings import read_settings
from rich.console import Console
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_ingest.auth.keys import RANDOM_BYTES, hasher_of, make_key
from churnsignal_ingest.auth.store import SOURCE_NAME, Source, SourceStore, WriteKey
from churnsignal_ingest.settings import IngestSettings
from churnsignal_ingest.validate.judge import Scope

keys = cyclopts.App(
    name="keys", help="Write keys of sources.\n\nExample: churnsignal-ingest keys create --source web-backend --scope server --json"
)
T = TypeVar("T")


@keys.command
def create(*, source: str, kind: Literal["segment", "rudder"] | None = None, scope: Scope = Scope.SERVER, json: bool = False) -> None:
    """Create a write key, and its source when it is new. The key is shown once.

    Example: churnsignal-ingest keys create --source web-backend --kind segment --scope server --json

    Parameters
    ----------
    source
        Whose calls these are: the name of a product backend.
    kind
        Which SDKs send; those of RudderStack may send batches of 4 MB. A source that is there keeps its kind without it.
    scope
        Pages and apps, where anybody can read it: browser. Backends: server. History and merges: import.
    json
        Print the key and what is known of it as JSON.
    """
    _show_new(with_store(lambda store, now: create_key(store, now, source, kind, scope)), as_json=json)


async def create_key(store: SourceStore, now: datetime, name: str, kind: str | None, scope: Scope) -> tuple[WriteKey, str]:
    if not re.fullmatch(SOURCE_NAME, name):
        give_up(f"{name!r} is no name of a source: use small letters, digits, `.`, `_` and `-`, 63 at most")
    found = await store.find_source(name) or await store.create_source(name, kind or "segment", now) or await store.find_source(name)
    assert isinstance(found, Source)
    if kind is not None and found.kind != kind:
        await store.change_source(found.id, {"kind": kind})
    key = make_key(scope, secrets.token_bytes(RANDOM_BYTES))
    return await store.add_key(found, scope, key, now), key


@keys.command(name="list")
def list_(*, source: str | None = None, json: bool = False) -> None:
    """List write keys. Example: churnsignal-ingest keys list --source web-backend --json."""
    found = [key for key in with_store(lambda store, _now: store.list_keys()) if source in (None, key.source)]
    if json:
        _print_json([asdict(key) for key in found])
        return
    table = Table("id", "source", "scope", "begins", "created", "state", "last used")
    for key in found:
        state = "revoked" if key.revoked_at else f"until {key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "live"
        used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
        table.add_row(str(key.id), key.source, key.scope, key.hint + "…", f"{key.created_at:%Y-%m-%d %H:%M}", state, used)
    Console().print(table)


@keys.command
def revoke(key_id: int, *, json: bool = False) -> None:
    """End a key; running services follow within seconds. Example: churnsignal-ingest keys revoke 3."""
    if not with_store(lambda store, now: store.revoke_key(key_id, now)):
        give_up(f"there is no live key {key_id}; see `churnsignal-ingest keys list`")
    if json:
        _print_json({"id": key_id, "revoked": True})
    else:
        print(f"key {key_id} is revoked")


@keys.command
def rotate(key_id: int, *, overlap_days: int = 7, json: bool = False) -> None:
    """Create a successor of a key; the old one works on during the overlap.

    Example: churnsignal-ingest keys rotate 3 --overlap-days 7

    Parameters
    ----------
    key_id
        As `keys list` shows it.
    overlap_days
        How long the old key works on.
    json
        Print the new key as JSON.
    """

    async def work(store: SourceStore, now: datetime) -> tuple[WriteKey, str] | None:
        scopes = {key.id: key.scope for key in await store.list_keys()}
        key = make_key(scopes.get(key_id, Scope.SERVER), secrets.token_bytes(RANDOM_BYTES))
        made = await store.replace_key(key_id, key, now, timedelta(days=overlap_days))
        return (made, key) if made else None

    made = with_store(work)
    if made is None:
        give_up(f"there is no live key {key_id}; see `churnsignal-ingest keys list`")
    _show_new(made, as_json=json)


def with_store(work: Callable[[SourceStore, datetime], Awaitable[T]]) -> T:
    settings = read_settings(IngestSettings)

    async def on(engine: AsyncEngine) -> T:
        return await work(
            SourceStore(engine, hasher_of(settings.signing_keys.get_secret_value())), open_clock(settings.clock, dev=settings.dev).now()
        )

    return on_database(settings, "ingest", on)


def _show_new(made: tuple[WriteKey, str], *, as_json: bool) -> None:
    key, text = made
    if as_json:
        _print_json({**asdict(key), "write_key": text})
        return
    print(text)
    print(f"key {key.id} of source {key.source}, scope {key.scope}. It is not stored: keep it now.", file=sys.stderr)


def _print_json(value: Any) -> None:
    print(json.dumps(msgspec.to_builtins(value), indent=1))
