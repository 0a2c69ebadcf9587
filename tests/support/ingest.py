"""Door. One request to a service, and the admin tokens that tests hold."""

import base64
import http.client
import json
from pathlib import Path
from typing import Any

from churnsignal_common.runtime.tokens import hash_token

OPERATOR = "operator-token-for-tests"
READER = "reader-token-for-tests"


def arm(told: dict[str, str], directory: Path) -> dict[str, str]:
    """Return the environment with two admin tokens."""
    tokens = directory / "tokens.toml"
    tokens.write_text(
        f'[op]\nrole = "operator"\nsha256 = "{hash_token(OPERATOR)}"\n[eye]\nrole = "reader"\nsha256 = "{hash_token(READER)}"\n'
    )
    return told | {"CHURNSIGNAL_TOKENS_FILE": str(tokens)}


def ask(port: int, path: str, body: Any = None, *, key: str = "", token: str = "", method: str = "POST") -> tuple[int, dict[str, str], Any]:
    """Return status, headers and parsed body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()} if key else {}
    if token:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, json.loads(text) if text else None
    finally:
        connection.close()
