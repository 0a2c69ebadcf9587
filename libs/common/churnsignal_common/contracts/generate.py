"""Pure. The contracts where people and other languages read them, as texts: JSON Schemas, examples, AsyncAPI, the table of topics."""

import json
from typing import Any

import msgspec

from churnsignal_common.contracts.envelope import Command, encoder
from churnsignal_common.contracts.examples import EXAMPLES, VALUES
from churnsignal_common.contracts.topics import TOPICS, Topic

_HEAD = "Generated from libs/common/churnsignal_common/contracts by `make docs`; do not edit."


def _raw(kind: type) -> dict[str, Any]:
    if kind is msgspec.Raw:
        return {"description": "The original JSON of the call, byte for byte."}
    raise TypeError(f"no schema for {kind}")


def _schema(kind: Any, name: str) -> str:
    schema = msgspec.json.schema(kind, schema_hook=_raw)
    return (
        json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, "$comment": _HEAD, **schema}, indent=1) + "\n"
    )


def _channel(topic: Topic) -> dict[str, Any]:
    kept = f"{topic.retention.days} days" if topic.retention else "for ever"
    return {
        "address": topic.name,
        "description": f"{topic.about} Key: {topic.key}. Cleanup: {topic.cleanup}; kept {kept}.",
        "messages": {topic.value.__name__: {"$ref": f"#/components/messages/{topic.value.__name__}"}},
    }


def _asyncapi() -> str:
    operations = {}
    for topic in TOPICS:
        for verb, services in (("send", topic.producers), ("receive", topic.consumers)):
            for service in services:
                operations[f"{service}-{verb}-{topic.name}"] = {
                    "action": verb,
                    "channel": {"$ref": f"#/channels/{topic.name}"},
                    "tags": [{"name": service}],
                }
    document = {
        "asyncapi": "3.0.0",
        "info": {"title": "Churnsignal topics", "version": "1.0.0", "description": _HEAD},
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": operations,
        "components": {"messages": {v.__name__: {"name": v.__name__, "payload": {"$ref": f"schemas/{v.__name__}.json"}} for v in VALUES}},
    }
    return json.dumps(document, indent=1) + "\n"


def topics_table() -> str:
    """Return the table of topics as Markdown."""
    lines = ["| topic | key | value | cleanup | kept | written by | read by | what |", "|---|---|---|---|---|---|---|---|"]
    for t in TOPICS:
        kept = f"{t.retention.days} days" if t.retention else "for ever"
        lines.append(
            f"| `{t.name}` | {t.key} | {t.value.__name__} | {t.cleanup} | {kept} | {', '.join(t.producers)} | {', '.join(t.consumers)} | {t.about} |"
        )
    return "\n".join(lines) + "\n"


def files() -> dict[str, str]:
    """Return every generated file by its path below docs/contracts."""
    found = {f"schemas/{kind.__name__}.json": _schema(kind, kind.__name__) for kind in VALUES}
    found["schemas/Command.json"] = _schema(Command, "Command")
    found |= {
        f"examples/{name}.json": msgspec.json.format(encoder.encode(value), indent=1).decode() + "\n" for name, value in EXAMPLES.items()
    }
    found["asyncapi.json"] = _asyncapi()
    found["topics.md"] = f"# Topics\n\n{_HEAD}\n\n{topics_table()}"
    return found
