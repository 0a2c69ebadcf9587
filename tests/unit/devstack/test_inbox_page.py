"""What a person sees: every hostile text inert, e-mails shut in, Japanese and English readable."""

from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pytest
from churnsignal_devstack.inbox.mail import read_letter
from churnsignal_devstack.inbox.mrkdwn import render

from tests.support.inbox import Inbox, open_inbox


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*bold* _it_ ~gone~ `code`", "<b>bold</b> <i>it</i> <s>gone</s> <code>code</code>"),
        ("2*3*4 and snake_case_name", "2*3*4 and snake_case_name"),
        ("a\nb", "a<br>b"),
        ("&gt; quoted", "<blockquote>quoted</blockquote>"),
        ("&lt;b&gt; &amp; &amp;lt;", "&lt;b&gt; &amp; &amp;lt;"),
        ("<b>raw</b>", "&lt;b&gt;raw&lt;/b&gt;"),
        ("```<i>*x*</i>```", "<pre>&lt;i&gt;*x*&lt;/i&gt;</pre>"),
        ("<!channel>", '<span class="mention loud">@channel</span>'),
        ("<@U1> in <#C1>", '<span class="mention">@Anna</span> in <span class="mention">#cs</span>'),
        (
            "<https://x.test/?a=1&amp;b=2|*Open*>",
            '<a href="https://x.test/?a=1&amp;b=2" target="_blank" rel="noreferrer noopener">*Open*</a>',
        ),
        (
            '<https://x.test/"onclick="x>',
            '<a href="https://x.test/&#34;onclick=&#34;x" target="_blank" rel="noreferrer noopener">https://x.test/&#34;onclick=&#34;x</a>',
        ),
        ("<javascript:alert(1)|Open>", "&lt;javascript:alert(1)|Open&gt;"),
        ("<!date^1700000000^{date_num}|then>", "2023-11-14"),
        (":warning: :no_such:", "⚠️ :no_such:"),
        ("\ue0000\ue001 *x*", "\ufffd0\ufffd <b>x</b>"),
    ],
)
def test_mrkdwn_becomes_exactly_the_html_that_slack_would_show(text: str, html: str) -> None:
    assert render(text, {"U1": "Anna", "C1": "cs"}) == html


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "&lt;script&gt;",
    "javascript:alert(1)",
    "</textarea><script>",
    "{{ 7*7 }}",
]


class Elements(HTMLParser):
    """Collects what a browser could run."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "script":
            self.scripts.append(found.get("src") or "inline")
        self.handlers += [name for name in found if name.startswith("on")]
        self.links += [found["href"] or ""] if "href" in found else []


async def page(inbox: Inbox, at: str) -> tuple[str, Elements]:
    html = (await inbox.http.get("/", params={"at": at})).text
    seen = Elements()
    seen.feed(html)
    return html, seen


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.asyncio
async def test_hostile_text_is_inert_wherever_it_stands(hostile: str) -> None:
    text: dict[str, Any] = {"type": "plain_text", "text": hostile}
    marked = {"type": "mrkdwn", "text": hostile}
    option = {"text": text, "value": hostile}
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": text},
        {"type": "section", "text": marked, "fields": [marked, text], "accessory": {"type": "overflow", "options": [option]}},
        {"type": "context", "elements": [marked, {"type": "image", "image_url": hostile, "alt_text": hostile}]},
        {"type": "actions", "elements": [{"type": "button", "text": text, "url": hostile, "value": hostile}]},
        {"type": "actions", "elements": [{"type": "button", "text": text, "confirm": {"title": text, "text": text}}]},
    ]

    async with open_inbox() as inbox:
        posted = await inbox.post(*blocks, text=hostile)
        assert posted["ok"], posted
        inbox.store.show(
            "U1",
            {
                "type": "modal",
                "title": text,
                "blocks": [
                    {"type": "input", "label": text, "element": {"type": "plain_text_input", "multiline": True, "initial_value": hostile}}
                ],
            },
        )
        html, seen = await page(inbox, posted["channel"])

    assert seen.scripts == ["/static/inbox.js"]
    assert seen.handlers == []
    assert [link for link in seen.links if link.startswith("javascript")] == []
    assert "49" not in html.partition("data-message")[2].partition("</article>")[0]


@pytest.mark.asyncio
async def test_the_page_lets_nothing_in_from_elsewhere() -> None:
    async with open_inbox() as inbox:
        answer = await inbox.http.get("/")
        assets = [await inbox.http.get(f"/static/{name}") for name in ("inbox.css", "inbox.js", "icon.svg")]

    assert "default-src 'none'; script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "Nothing here yet" in answer.text
    assert [asset.status_code for asset in assets] == [200, 200, 200]
    assert not any("http://" in asset.text.replace("http://www.w3.org/2000/svg", "") for asset in assets)


@pytest.mark.asyncio
async def test_threads_edits_and_replies_are_shown_where_they_belong() -> None:
    async with open_inbox() as inbox:
        root = await inbox.post(text="株式会社さくら物流 が赤に変わりました")
        await inbox.post(text="まだ赤です", thread_ts=root["ts"])
        await inbox.slack("chat.update", channel=root["channel"], ts=root["ts"], text="対応済み")
        html, _ = await page(inbox, root["channel"])

    assert (
        html.index("対応済み") < html.index("edited 1×") < html.index("赤に変わりました") < html.index("1 reply") < html.index("まだ赤です")
    )
    assert 'lang="ja"' in html


@pytest.mark.asyncio
async def test_a_letter_is_shown_in_a_frame_that_can_run_nothing() -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@x.test", "b@x.test", "<b>Red</b>"
    mail["X-Churnsignal-Episode"] = "ep-9"
    mail.set_content("plain")
    mail.add_alternative('<p>rich</p><img src="cid:chart"><script>alert(1)</script>', subtype="html")
    [_, html_part] = mail.iter_parts()
    assert isinstance(html_part, EmailMessage)
    html_part.add_related(b"PNG", "image", "png", cid="<chart>")

    async with open_inbox() as inbox:
        kept = inbox.store.deliver(read_letter(mail.as_bytes()), "a@x.test", ["b@x.test"], 10)
        html, seen = await page(inbox, "b@x.test")
        letter = await inbox.http.get(f"/mail/{kept.id}")

    assert "&lt;b&gt;Red&lt;/b&gt;" in html
    assert seen.scripts == ["/static/inbox.js"]
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in html
    assert "sandbox allow-popups" in letter.headers["Content-Security-Policy"]
    assert "data:image/png;base64," in letter.text
    assert (kept.episode_id, kept.text.strip()) == ("ep-9", "plain")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"Subject: =?nonsense?Q?x?=\r\n\r\nbody",
        b"Content-Type: text/plain; charset=no-such\r\n\r\n\xff\xfe",
        b"Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!\r\n",
    ],
)
def test_a_broken_letter_is_shown_as_far_as_it_goes(raw: bytes) -> None:
    letter = read_letter(raw)

    assert isinstance(letter.subject, str)
    assert isinstance(letter.text, str)
