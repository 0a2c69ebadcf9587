"""Pure. What the SDK paths answer: always JSON, exactly 200 on success, Retry-After wherever trying again helps."""

from typing import Any

import msgspec

from churnsignal_ingest.validate.judge import Judged, Refused
from churnsignal_ingest.validate.reasons import PROBLEMS, REASONS, RequestProblem

_encode = msgspec.json.Encoder().encode
_MESSAGES = {reason: f"{told.cause} {told.remedy}" for reason, told in REASONS.items()}
OK = b'{"success":true}'


def answer(judged: Judged) -> bytes:
    """Return the body of a 200: with `suppressed` and `rejected` only when there are some."""
    if not (judged.refused or judged.suppressed):
        return OK
    said: dict[str, Any] = {"success": True}
    if judged.suppressed:
        said["suppressed"] = judged.suppressed
    if judged.refused:
        said["rejected"] = [_told(refused) for refused in judged.refused]
    return _encode(said)


def _told(refused: Refused) -> dict[str, Any]:
    return {"index": refused.index, "messageId": refused.message_id, "code": refused.reason.value, "message": _MESSAGES[refused.reason]}


def refusal(error: RequestProblem) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Return status, body and further headers for a request that is refused as a whole."""
    told = PROBLEMS[error.problem]
    message = f"{told.cause} {told.remedy}"
    body = _encode({"success": False, "code": error.problem.value, "message": message, "error": message})
    wait = str(error.retry_after_s).encode()
    headers = [(b"retry-after", wait)] if error.retry_after_s else []
    if told.status == 429:
        headers.append((b"x-ratelimit-reset", wait))
    if told.status == 405:
        headers.append((b"allow", b"POST, OPTIONS"))
    return told.status, body, headers
