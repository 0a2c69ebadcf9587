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
from churnsignal_alerts.render.summary import summary
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.clock import RealClock
from churnsignal_common.contracts.examples import CHANGE
from churnsignal_common.contracts.risk import Band, Finding, FindingKind
from churnsignal_devstack.inbox.app import InboxSettings, make_server
from churnsignal_devstack.inbox.faults import Faults
from churnsignal_devstack.inbox.store import Store

OUT = Path(__file__).parents[1] / "docs" / "screenshots"
READERS = {"en": Reader(Locale.EN, ZoneInfo("Europe/London")), "ja": Reader(Locale.JA, ZoneInfo("Asia/Tokyo"))}
# How high the letters of the quieter kinds are on a phone.
KINDS = {Kind.OPPORTUNITY: 1000, Kind.RENEWAL: 1000, Kind.ONBOARDING: 1000}
# Name of the picture, what is shown, width and height, dark or light.
SHOTS = [
    *((f"mail.{language}", f"mail.{language}", (680, 1130), False) for language in READERS),
    ("mail.dark.en", "mail.en", (680, 1130), True),
    *((f"mail.phone.{language}", f"mail.{language}", (390, 1190), False) for language in READERS),
    *((f"slack.{language}", f"slack.{language}", (1000, 900), False) for language in READERS),
    *((f"slack.phone.{language}", f"slack.{language}", (390, 1250), False) for language in READERS),
    *(
        (f"mail.phone.{kind}.{language}", f"mail.{kind}.{language}", (390, height), False)
        for kind, height in KINDS.items()
        for language in READERS
    ),
    *((f"slack.phone.digest.{language}", f"slack.digest.{language}", (390, 1000), False) for language in READERS),
    *((f"mail.phone.overflow.{language}", f"mail.overflow.{language}", (390, 4100), False) for language in READERS),
]
FOUND = {
    Kind.OPPORTUNITY: [("seats_full", 95.0, "percent"), ("usage_growing", 42.0, "percent")],
    Kind.RENEWAL: [("renewal_in_90_days", 58.0, "days"), ("renewal_in_60_days", 58.0, "days")],
    Kind.ONBOARDING: [("onboarding_stuck", 1.0, "milestones")],
}
# In 58 days they have to say whether they stay.
RENEWAL = CHANGE.as_of.date() + timedelta(days=58 + 30)
NAMES = {Locale.EN: "Customer {} Ltd.", Locale.JA: "株式会社サンプル{}"}
CUSTOMERS: dict[Locale, dict[str, Any]] = {
    Locale.EN: {"name": "Acme Trading Ltd.", "arr": 48_000.0, "currency": "GBP"},
    Locale.JA: {"name": "株式会社アクメ商事"},
}


def opened(kind: Kind, reader: Reader, **fields: Any) -> Episode:
    """Return the episode of the example account that a change with these fields opens; those of its profile begin with `profile_`."""
    profile = {name.removeprefix("profile_"): fields.pop(name) for name in list(fields) if name.startswith("profile_")}
    account = msgspec.structs.replace(CHANGE.account, **CUSTOMERS[reader.locale] | profile)
    episode = apply(Verdict.TELL, kind, None, msgspec.structs.replace(CHANGE, account=account, **fields), timedelta(days=14))
    assert isinstance(episode, Episode)
    return episode


def found(kind: Kind, reader: Reader, **profile: Any) -> Episode:
    """Return an episode about what the scorecard points out in a healthy account."""
    findings = tuple(
        Finding(kind=FindingKind(kind), code=code, since=CHANGE.as_of.date(), value=value, unit=unit) for code, value, unit in FOUND[kind]
    )
    well = {"from_band": Band.GREEN, "to_band": Band.GREEN, "score_before": 8100, "score_after": 8200, "counterfactual": None}
    rising = tuple(7400 + 40 * (day % 4) + 5 * day for day in range(90))
    return opened(
        kind,
        reader,
        findings=findings,
        trend=rising,
        previous_band_since=None,
        last_seen=CHANGE.as_of.date(),
        profile_renewal_on=RENEWAL,
        **well,
        **profile,
    )


def alert(reader: Reader, kind: Kind = Kind.RISK) -> Card:
    """Return the example alert of a kind as `reader` gets it."""
    episode = opened(kind, reader) if kind is Kind.RISK else found(kind, reader)
    return replace(card(NoticeKind.RISK, episode, reader, CHANGE.as_of + timedelta(minutes=1)), url="https://crm.example.com/accounts/acme")


def digest(reader: Reader, left: int) -> Card:
    """Return what a day's budget left over, with the quieter news."""
    over = [
        opened(Kind.RISK, reader, profile_account=f"a{n}", profile_name=NAMES[reader.locale].format(n), profile_arr=CUSTOMERS[reader.locale].get("arr", 1_200_000.0) / n)
        for n in range(1, left + 1)
    ]  # fmt: skip
    quiet = [found(kind, reader, profile_account=kind, profile_name=NAMES[reader.locale].format("ABC"[n])) for n, kind in enumerate(KINDS)]
    return summary([(NoticeKind.LINE, replace(episode, id=f"ep_{n}")) for n, episode in enumerate([*over, *quiet])], reader)


def mail(shown: Card, reader: Reader) -> str:
    """Return the letter with its picture inside."""
    links = {(act, episode): f"https://alerts.example.com/a/{act}" for act in shown.acts for episode in shown.episodes}
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
            for name, shown in (("", alert(reader)), ("digest.", digest(reader, 2))):
                body = slack_body(shown, reader.locale)
                channel = store.channel(f"cs-{name.strip('.') or 'alerts'}-{language}")
                assert channel is not None
                store.post(channel, body.text, 1, blocks=body.blocks)
                pages[f"slack.{name}{language}"] = f"/?at={channel.id}"
            # More than one message names one by one.
            letters = {"": alert(reader), "overflow.": digest(reader, 21)} | {f"{kind}.": alert(reader, kind) for kind in KINDS}
            for name, shown in letters.items():
                letter = Path(folder) / f"{name}{language}.html"
                letter.write_text(mail(shown, reader))
                pages[f"mail.{name}{language}"] = letter.as_uri()
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
