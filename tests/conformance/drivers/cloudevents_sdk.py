"""Root. A backend that sends with the CloudEvents SDK and `requests`: python cloudevents_sdk.py binary|structured|batch, orders on stdin.

The SDK only writes messages, and has no batches: those are its JSON in a list. Trying again is the part of urllib3, as people set it up.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

import requests
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from requests.adapters import HTTPAdapter
from urllib3 import Retry

PATIENCE_S = 2
BATCH = 20


def event(order: dict[str, Any], number: int) -> CloudEvent:
    turn = number % order["accounts"]
    attributes = {
        "id": f"{order['name']}-{number}",
        "source": "/shop/ünï",
        "type": "Report Exported",
        "subject": f"{order['name']} user {turn}",
        "accountid": str(order["first_account"] + turn),
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes=attributes, data={"rows": number})


def messages(mode: str, events: list[CloudEvent]) -> list[tuple[list[CloudEvent], dict[str, str], bytes]]:
    """Return the requests to send, and which events are in each."""
    if mode == "batch":
        parts = [events[start : start + BATCH] for start in range(0, len(events), BATCH)]
        headers = {"content-type": "application/cloudevents-batch+json"}
        return [(part, headers, b"[" + b",".join(map(JSONFormat().write, part)) + b"]") for part in parts]
    write = to_binary_event if mode == "binary" else to_structured_event
    return [([one], message.headers, message.body) for one in events for message in [write(one)]]


def drive(mode: str, order: dict[str, Any]) -> dict[str, Any]:
    again = Retry(total=10, status_forcelist=[429, 500, 502, 503, 504], allowed_methods=None, backoff_factor=0.1)
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=again))
    events = [event(order, number) for number in range(order["calls"])]
    failed: list[str] = []
    errors: list[str] = []
    for part, headers, body in messages(mode, events):
        try:
            answer = session.post(f"{order['host']}/v1/cloudevents", body, headers=headers, auth=(order["key"], ""), timeout=PATIENCE_S)
            answer.raise_for_status()
        except requests.RequestException as error:
            errors.append(str(error))
            failed.extend(map(name, part))
    return {"name": order["name"], "version": version("cloudevents"), "ids": list(map(name, events)), "failed": failed, "errors": errors}


def name(one: CloudEvent) -> str:
    return f"{one.get_source()}#{one.get_id()}"


def main(mode: str) -> None:
    orders = json.load(sys.stdin)
    with ThreadPoolExecutor(len(orders)) as pool:
        print(json.dumps(list(pool.map(partial(drive, mode), orders))))


if __name__ == "__main__":
    main(sys.argv[1])
