"""With no way to tell anybody, alerts says so loudly and keeps what there is to tell."""

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.alerts_world import World
from tests.support.stack import Service

pytestmark = pytest.mark.asyncio(loop_scope="package")


def asked(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
    except (urllib.error.URLError, OSError):
        return 0, ""


async def test_without_slack_and_mail_it_is_not_ready_and_says_why(world: World, tmp_path: Path) -> None:
    told = {name: value for name, value in world.told.items() if name not in ("SLACK_BOT_TOKEN", "SMTP_URL")}
    told |= {"CHURNSIGNAL_PORT_BASE": str(int(told["CHURNSIGNAL_PORT_BASE"]) + 30), "CHURNSIGNAL_TOPIC_PREFIX": "nobody-reads."}
    process = Service("alerts", told, tmp_path / "mute.log")
    process.launch()
    try:

        async def answers() -> bool:
            return (await asyncio.to_thread(asked, f"{process.url}/healthz"))[0] == 200

        await world.until(answers, 60)
        status, body = await asyncio.to_thread(asked, f"{process.url}/readyz")

        async def told_sres() -> bool:
            return "churnsignal_alerts_unconfigured_channels 1.0" in (await asyncio.to_thread(asked, f"{process.url}/metrics"))[1]

        await world.until(told_sres)
    finally:
        process.stop(10)

    reasons = {dependency["name"]: dependency["reason"] for dependency in json.loads(body)["dependencies"]}
    assert status == 503
    assert reasons["channels"] == "none of SLACK_BOT_TOKEN, SMTP_URL, CHURNSIGNAL_WEBHOOK_SECRETS is set: nobody can be told"
