"""Root. A product backend with an unmodified SDK, only the host changed: python python_sdks.py segment|rudder, orders as JSON on stdin.

Prints for each order the ids that the SDK gave out, the ids it gave up on, what it complained about, and its version.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

PATIENCE_S = 2


def sdk_of(kind: str) -> tuple[Any, str]:
    if kind == "segment":
        from segment.analytics.client import Client
        from segment.analytics.version import VERSION
    else:
        from rudderstack.analytics.client import Client
        from rudderstack.analytics.version import VERSION
    return Client, VERSION


def call(sdk: Any, order: dict[str, Any], number: int) -> tuple[bool, dict[str, Any]]:
    """Six calls about one user: with and without an account, and from a device that `alias` ties to them."""
    turn = number // 6 % order["accounts"]
    account = order["first_account"] + turn
    user, device = f"{order['name']}-user-{turn}", f"{order['name']}-device-{turn}"
    calls = [
        partial(sdk.identify, user, {"email": f"{user}@example.com", "plan": "pro"}, {"groupId": account}),
        partial(sdk.group, user, account, {"name": "Acme ünïcode", "seats": 5}),
        partial(sdk.page, user, "docs", "Getting started", {"path": "/start"}, {"groupId": account}),
        partial(sdk.screen, None, "app", "Home", {}, anonymous_id=device),
        partial(sdk.alias, device, user),
        partial(sdk.track, user, "Report Exported", {"rows": number, "at": datetime.now(UTC)}, None, datetime.now(UTC)),
    ]
    made: tuple[bool, dict[str, Any]] = calls[number % 6]()
    return made


def drive(kind: str, order: dict[str, Any]) -> dict[str, Any]:
    failed: list[str] = []
    errors: list[str] = []

    def on_error(error: object, items: list[dict[str, Any]]) -> None:
        errors.append(str(error))
        failed.extend(item["messageId"] for item in items)

    client, version = sdk_of(kind)
    sdk = client(order["key"], host=order["host"], on_error=on_error, gzip=order["gzip"], max_queue_size=20_000, timeout=PATIENCE_S)
    made = [call(sdk, order, number) for number in range(order["calls"])]
    sdk.flush()
    sdk.join()
    ids = [message["messageId"] for queued, message in made if queued]
    return {"name": order["name"], "version": version, "ids": ids, "failed": failed, "errors": errors}


def main(kind: str) -> None:
    orders = json.load(sys.stdin)
    with ThreadPoolExecutor(len(orders)) as pool:
        print(json.dumps(list(pool.map(partial(drive, kind), orders))))


if __name__ == "__main__":
    main(sys.argv[1])
