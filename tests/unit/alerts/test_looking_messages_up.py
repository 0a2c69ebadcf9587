"""Whether Slack has a message whose answer was lost: looked for since it was first tried, and nothing is concluded from one page of many."""

from datetime import timedelta

import aiohttp
import pytest
from churnsignal_alerts.outcome import Absent, CannotSay, Found, Outgoing, Sent
from churnsignal_alerts.render.slack import SlackBody
from churnsignal_alerts.send import slack
from churnsignal_alerts.send.slack import SlackSender
from churnsignal_common.clock import RealClock

from tests.support.inbox import listening_inbox

pytestmark = pytest.mark.asyncio


async def marked() -> None:
    pass


async def test_a_message_is_found_absent_or_beyond_what_one_page_can_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack, "_LOOK_BACK", 2)
    before = RealClock().now()
    async with listening_inbox() as inbox, aiohttp.ClientSession() as session:
        sender = SlackSender("xoxb-test", f"{inbox.http.base_url}/slack/api/", session, 5)

        def message(key: str, **more: object) -> Outgoing:
            return Outgoing(key, "#pool", "Pool", ("ep_1",), slack=SlackBody(key, []), since=before, **more)  # type: ignore[arg-type]

        sent = [await sender.send(message(f"ep_1.{n}"), marked) for n in range(2)]
        assert isinstance(sent[0], Sent)
        room = sent[0].ref.split(":")[0]
        few = [await sender.look_up(message(key, conversation=room)) for key in ("ep_1.0", "ep_1.9")]
        await sender.send(message("ep_1.2"), marked)
        many = [await sender.look_up(message(key, conversation=room)) for key in ("ep_1.2", "ep_1.0")]
        late = Outgoing("ep_1.0", "#pool", "Pool", (), since=before + timedelta(hours=1), conversation=room)

        assert few[0] == Found(sent[0].ref)
        assert [type(sighting) for sighting in (few[1], *many)] == [Absent, Found, CannotSay]
        assert isinstance(await sender.look_up(late), Absent)
        # By its name a channel can be posted to, and not asked.
        assert isinstance(await sender.look_up(message("ep_1.0")), CannotSay)
