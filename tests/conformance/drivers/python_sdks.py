"""Root. A product backend with an unmodified SDK, only the host changed: python python_sdks.py segment|rudder HOST KEY CALLS GZIP.

Prints the message ids that the SDK gave out, the errors it reported, and its version.
"""

import json
import sys
from datetime import UTC, datetime
from typing import Any


def client(kind: str, host: str, key: str, gzip: bool, errors: list[str]) -> tuple[Any, str]:
    def on_error(error: object, _items: object) -> None:
        errors.append(str(error))

    if kind == "segment":
        from segment.analytics.client import Client
        from segment.analytics.version import VERSION
    else:
        from rudderstack.analytics.client import Client
        from rudderstack.analytics.version import VERSION
    return Client(key, host=host, on_error=on_error, gzip=gzip, max_queue_size=20_000, max_retries=3, timeout=10), VERSION


def call(sdk: Any, number: int) -> tuple[bool, dict[str, Any]]:
    """Every kind of call, ids as text and as numbers, with and without an account, with and without a time."""
    user, context = f"user-{number % 50}", {"groupId": 1000 + number % 20}
    match number % 6:
        case 0:
            return sdk.identify(user, {"email": f"{user}@example.com", "plan": "pro"}, context)  # type: ignore[no-any-return]
        case 1:
            return sdk.group(user, 1000 + number % 20, {"name": "Acme ünïcode", "seats": 5})  # type: ignore[no-any-return]
        case 2:
            return sdk.page(user, "docs", "Getting started", {"path": "/start"}, context)  # type: ignore[no-any-return]
        case 3:
            return sdk.screen(None, "app", "Home", {}, anonymous_id=f"device-{number % 30}")  # type: ignore[no-any-return]
        case 4:
            return sdk.alias(f"device-{number % 30}", user)  # type: ignore[no-any-return]
        case _:
            return sdk.track(number, "Report Exported", {"rows": number, "at": datetime.now(UTC)}, context, datetime.now(UTC))  # type: ignore[no-any-return]


def main(kind: str, host: str, key: str, calls: int, gzip: bool) -> None:
    errors: list[str] = []
    sdk, version = client(kind, host, key, gzip, errors)
    made = [call(sdk, number) for number in range(calls)]
    sdk.flush()
    sdk.join()
    ids = [message["messageId"] for queued, message in made if queued]
    print(json.dumps({"version": version, "ids": ids, "errors": errors}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5] == "gzip")
