"""Root. `make screenshots`: what a reader of each language sees of an alert, in Slack (the inbox's page) and in mail, wide and on a phone.

Needs Chromium and fonts (`apt-get install chromium fonts-noto-cjk fonts-noto-color-emoji`); writes docs/screenshots/.
"""

import asyncio
import base64
import shutil
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from churnsignal_alerts.decide import Verdict, apply
from churnsignal_alerts.episodes import Episode, Kind, NoticeKind
from churnsignal_alerts.render.card import Card, Reader, card
from churnsignal_alerts.render.mail import PICTURE, mail_body
from churnsignal_alerts.render.slack import slack_body
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.clock import RealClock
from churnsignal_common.contracts.examples import CHANGE
from churnsignal_devstack.inbox.app import InboxSettings, make_server
from churnsignal_devstack.inbox.faults import Faults
from churnsignal_devstack.inbox.store import Store

OUT = Path(__file__).parents[1] / "docs" / "screenshots"
READERS = {"en": Reader(Locale.EN, ZoneInfo("Europe/London")), "ja": Reader(Locale.JA, ZoneInfo("Asia/Tokyo"))}
# Name of the picture, what is shown, width and height, dark or light.
SHOTS = [
    *((f"mail.{language}", f"mail.{language}", (680, 1130), False) for language in READERS),
    ("mail.dark.en", "mail.en", (680, 1130), True),
    *((f"mail.phone.{language}", f"mail.{language}", (390, 1190), False) for language in READERS),
    *((f"slack.{language}", f"slack.{language}", (1000, 900), False) for language in READERS),
    *((f"slack.phone.{language}", f"slack.{language}", (390, 1250), False) for language in READERS),
]
CUSTOMERS: dict[Locale, dict[str, Any]] = {
    Locale.EN: {"name": "Acme Trading Ltd.", "arr": 48_000.0, "currency": "GBP"},
    Locale.JA: {"name": "株式会社アクメ商事"},
}


def alert(reader: Reader) -> Card:
    """Return the example alert as `reader` gets it."""
    change = msgspec.structs.replace(CHANGE, account=msgspec.structs.replace(CHANGE.account, **CUSTOMERS[reader.locale]))
    episode = apply(Verdict.TELL, Kind.RISK, None, change, timedelta(days=14))
    assert isinstance(episode, Episode)
    shown = card(NoticeKind.RISK, episode, reader, change.as_of + timedelta(minutes=1))
    return replace(shown, url="https://crm.example.com/accounts/acme")


def mail(reader: Reader) -> str:
    """Return the letter with its picture inside."""
    shown = alert(reader)
    links = {(act, shown.episodes[0]): f"https://alerts.example.com/a/{act}" for act in shown.acts}
    body = mail_body(shown, reader.locale, "csm@example.com", links)
    return body.html.replace(f"cid:{PICTURE}", "data:image/png;base64," + base64.b64encode(body.picture or b"").decode())


async def shoot(browser: str, url: str, name: str, size: tuple[int, int], *, dark: bool) -> None:
    """Write one picture."""
    options = ["--headless=new", "--no-sandbox", "--hide-scrollbars", "--disable-gpu", "--virtual-time-budget=2000"]
    options += [f"--window-size={size[0]},{size[1]}", f"--screenshot={OUT / name}.png"]
    options += ["--blink-settings=preferredColorScheme=0"] if dark else []
    with tempfile.TemporaryDirectory() as home:
        process = await asyncio.create_subprocess_exec(
            browser, f"--user-data-dir={home}", *options, url, stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(120):
            await process.wait()


async def run(browser: str) -> None:
    """Fill an inbox, write the letters, and take the pictures one after the other."""
    OUT.mkdir(parents=True, exist_ok=True)
    store = Store(RealClock())
    server = make_server(store, Faults(), RealClock(), None, InboxSettings("127.0.0.1", 0, 0, "", "", ""))
    serving = asyncio.create_task(server.serve())
    with tempfile.TemporaryDirectory() as folder:
        pages: dict[str, str] = {}
        for language, reader in READERS.items():
            body = slack_body(alert(reader), reader.locale)
            channel = store.channel(f"cs-{language}")
            assert channel is not None
            store.post(channel, body.text, 1, blocks=body.blocks)
            letter = Path(folder) / f"{language}.html"
            letter.write_text(mail(reader))
            pages |= {f"mail.{language}": letter.as_uri(), f"slack.{language}": f"/?at={channel.id}"}
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.05)
        base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        for name, page, size, dark in SHOTS:
            url = pages[page] if page.startswith("mail") else base + pages[page]
            await shoot(browser, url, name, size, dark=dark)
    server.should_exit = True
    await serving


def main() -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no Chromium here: apt-get install chromium fonts-noto-cjk fonts-noto-color-emoji")
    asyncio.run(run(browser))
    print(f"{len(SHOTS)} pictures in {OUT}")


if __name__ == "__main__":
    main()
