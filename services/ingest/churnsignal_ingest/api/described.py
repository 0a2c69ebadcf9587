"""Pure. The SDK paths in OpenAPI: they are served in front of FastAPI, so that it cannot describe them by itself."""

from typing import Any

from churnsignal_ingest.validate.reasons import PROBLEMS, REASONS

_ID = {"type": ["string", "integer"], "description": "At most 255 bytes; integers become text."}
_CALL: dict[str, Any] = {
    "type": "object",
    "description": "A call of the Segment tracking API; further fields are kept. At most 32 KB, 32 levels, 512 keys.",
    "properties": {
        "type": {"enum": ["track", "identify", "group", "page", "screen", "alias"]},
        "messageId": _ID,
        "userId": _ID,
        "anonymousId": {"type": ["string", "integer", "null"]},
        "groupId": _ID,
        "previousId": _ID,
        "event": {"type": "string"},
        "timestamp": {"type": "string", "description": "ISO 8601; no zone means UTC."},
        "context": {"type": "object", "properties": {"groupId": _ID}},
        "properties": {"type": "object"},
        "traits": {"type": "object"},
    },
}
_BATCH = {
    "type": "object",
    "required": ["batch"],
    "properties": {
        "batch": {"type": "array", "maxItems": 2500, "items": {"$ref": "#/components/schemas/Call"}},
        "writeKey": {"type": "string"},
        "sentAt": {"type": "string"},
        "historical": {"type": "boolean", "description": "History; needs a key of scope import."},
        "context": {"type": "object"},
    },
}
_REFUSED = {
    "type": "object",
    "required": ["index", "code", "message"],
    "properties": {
        "index": {"type": "integer"},
        "messageId": {"type": ["string", "null"]},
        "code": {"enum": [reason.value for reason in REASONS]},
        "message": {"type": "string"},
    },
}
_TAKEN = {
    "type": "object",
    "required": ["success"],
    "properties": {
        "success": {"const": True},
        "suppressed": {"type": "integer", "description": "Calls about suppressed users or accounts, dropped. Absent: none."},
        "rejected": {"type": "array", "items": {"$ref": "#/components/schemas/RefusedEvent"}, "description": "Absent: none."},
    },
}
_PROBLEM = {
    "type": "object",
    "required": ["success", "code", "message", "error"],
    "properties": {
        "success": {"const": False},
        "code": {"enum": [problem.value for problem in PROBLEMS]},
        "message": {"type": "string"},
        "error": {"type": "string"},
    },
}
_SCHEMAS = {"Call": _CALL, "Batch": _BATCH, "RefusedEvent": _REFUSED, "Taken": _TAKEN, "SdkProblem": _PROBLEM}
_BATCHES = {"batch": "Send calls", "import": "Send history with a key of scope import; live calls with others, as some SDKs do"}
_SINGLES = ("track", "identify", "group", "page", "screen", "alias")


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """Return `schema` with the SDK paths added."""
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {}).update(_SCHEMAS)
    components.setdefault("securitySchemes", {})["WriteKey"] = {"type": "http", "scheme": "basic", "description": "User: the write key."}
    paths = {f"/v1/{name}": _post(summary, "Batch", "application/json") for name, summary in _BATCHES.items()}
    paths |= {f"/v1/{name}": _post(f"Send one {name} call", "Call", "application/json") for name in _SINGLES}
    paths["/v1/cloudevents"] = _post("Send CloudEvents 1.0, structured, binary or batched", None, "application/cloudevents+json")
    beacon = _post("Send calls as a browser's beacon", "Batch", "text/plain")
    beacon["post"] |= {"parameters": [_KEY_IN_QUERY], "security": [{}]}
    paths["/beacon/v1/batch"] = beacon
    paths["/v1/projects/{key}/settings"] = _get("What analytics.js fetches before it sends", {**_KEY_IN_QUERY, "name": "key", "in": "path"})
    paths["/sourceConfig"] = _get("What RudderStack's browser SDK fetches before it sends", _KEY_IN_QUERY)
    return {**schema, "paths": {**paths, **schema["paths"]}}


def _post(summary: str, name: str | None, media: str) -> dict[str, Any]:
    body = {"$ref": f"#/components/schemas/{name}"} if name else {"type": "object", "required": ["specversion", "id", "source", "type"]}
    return {
        "post": {
            "tags": ["events"],
            "summary": summary,
            "description": "Also with a trailing slash and as the one-letter path of browser SDKs. 200 only after the brokers' ack.",
            "security": [{"WriteKey": []}, {}],
            "requestBody": {"required": True, "content": {media: {"schema": body}}},
            "responses": {"200": {"description": "Kafka has every event but the rejected ones.", "content": _json("Taken")}, **_PROBLEMS},
        }
    }


def _get(summary: str, parameter: dict[str, Any]) -> dict[str, Any]:
    document = {"description": "The document.", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {"get": {"tags": ["browsers"], "summary": summary, "parameters": [parameter], "responses": {"200": document, **_PROBLEMS}}}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


_KEY_IN_QUERY: dict[str, Any] = {"name": "writeKey", "in": "query", "required": True, "schema": {"type": "string"}}
_PROBLEMS = {
    str(status): {"description": "Refused as a whole.", "content": _json("SdkProblem")}
    for status in sorted({answer.status for answer in PROBLEMS.values()})
}
