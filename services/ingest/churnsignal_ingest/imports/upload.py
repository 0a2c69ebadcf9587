"""Door. Send history through the service's own /v1/import, patiently: it may be busy, restarting, or not know a new key yet."""

import base64
import gzip
import http.client
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

_PATIENCE_S = 600.0
_NEW_KEY_PATIENCE_S = 15.0
_AGAIN = (408, 429, 500, 502, 503, 504)


class UploadFailed(Exception):
    """The service would not take the batch; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the service said of a batch: index, code and message of each refused call, and how many it dropped as suppressed."""

    refused: list[tuple[int, str, str]] = field(default_factory=list)
    suppressed: int = 0


class Uploader:
    """One connection that is opened again when it breaks."""

    def __init__(self, url: str, write_key: str) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "localhost", parts.port, timeout=30)
        self._url = url
        self._headers = {
            "Authorization": "Basic " + base64.b64encode(f"{write_key}:".encode()).decode(),
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        }
        self._proven = False

    def send(self, body: bytes) -> Answered:
        """Return what the service's 200 says; retry what may pass, raise UploadFailed otherwise."""
        packed = gzip.compress(body, 1)
        began = time.monotonic()
        while True:
            status, answer, wait_s = self._try(packed)
            if status == 200:
                self._proven = True
                return _answered(answer)
            waited_s = time.monotonic() - began
            new_key = status == 401 and not self._proven and waited_s < _NEW_KEY_PATIENCE_S
            if not (new_key or (status in (0, *_AGAIN) and waited_s < _PATIENCE_S)):
                raise UploadFailed(f"{self._url} answered {status or 'nothing'}: {answer.get('message', 'is it running?')}")
            time.sleep(wait_s)

    def _try(self, packed: bytes) -> tuple[int, dict[str, Any], float]:
        try:
            self._connection.request("POST", "/v1/import", packed, self._headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, {}, 1.0
        try:
            answer = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError:
            answer = {}
        wait = response.headers.get("Retry-After", "")  # a proxy between may send a date
        return response.status, answer, float(wait) if wait.isdigit() else 1.0

    def close(self) -> None:
        self._connection.close()


def _answered(answer: dict[str, Any]) -> Answered:
    refused = [(told["index"], told["code"], told["message"]) for told in answer.get("rejected", [])]
    if any(code == "scope_history" for _, code, _ in refused):
        raise UploadFailed("the write key may not import history: make one with `churnsignal-ingest keys create --scope import`")
    return Answered(refused, answer.get("suppressed", 0))
