"""What a person reads: golden files in both languages and all media, inert names, Slack's limits at any input."""

import os
from dataclasses import replace
from datetime import date, timedelta
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path
from string import ascii_letters, digits
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from churnsignal_alerts.act import Act
from churnsignal_alerts.delivery import UNCONFIGURED, Trouble
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.episodes import WATCHDOG, Episode, Kind, NoticeKind, Outcome, State
from churnsignal_alerts.inert import clean, mrkdwn
from churnsignal_alerts.outcome import Outgoing
from churnsignal_alerts.render.card import Card, card, note_card, state_line
from churnsignal_alerts.render.mail import MailBody, mail_body, page
from churnsignal_alerts.render.modal import MODALS, modal
from churnsignal_alerts.render.slack import SlackBody, slack_body
from churnsignal_alerts.render.summary import summary
from churnsignal_alerts.send.email import letter
from churnsignal_common.catalog.locales import Locale
from churnsignal_common.contracts.risk import Band, Cause, Driver, Finding, FindingKind, RiskChanged
from churnsignal_devstack.inbox.limits import MAX_BLOCKS_TOTAL, blocks_size, check_blocks, check_view
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.alerts import NOON, POLICY, READERS, change, opened, recovered

GOLDEN = Path(__file__).parent / "golden"
NOW = NOON + timedelta(minutes=2)
LINKS = {(act, "*"): f"https://alerts.example.com/a/{act}" for act in Act}


def of(account: str, **fields: Any) -> Episode:
    new = change(profile_account=account, profile_name=account.title(), **fields)
    return replace(opened(), id=f"ep_{account}", account=account, change=new)


def finding(kind: Kind, *found: tuple[str, float, str]) -> Episode:
    """Return an episode about what the scorecard of a healthy account points out."""
    findings = tuple(
        Finding(
            kind=FindingKind(kind.value),
            code=code,
            since=NOON.date(),
            value=value,
            unit=unit,
            on=date(2027, 3, 1) if unit == "days" else None,
        )
        for code, value, unit in found
    )
    healthy = change(1, Band.GREEN, from_band=Band.GREEN, score_before=8100, score_after=8200, findings=findings, counterfactual=None)
    return replace(opened(), id=f"ep_{kind}", kind=kind, change=healthy, fall=healthy)


def watched(**fields: Any) -> Episode:
    """Return an early warning: its account is yellow."""
    fall = change(to=Band.YELLOW, from_band=Band.GREEN, score_before=7100, score_after=5200, counterfactual=None, trend=())
    return replace(opened(**fields), kind=Kind.EARLY_WARNING, change=fall, fall=fall)


def calmed() -> Episode:
    """Return an early warning that came twice, with nine good days between, after its end."""
    green = change(2, Band.GREEN, from_band=Band.YELLOW, score_before=5200, score_after=7000)
    return replace(
        watched(since=NOON + timedelta(days=10), flips=1), state=State.RECOVERED, ended_at=NOON + timedelta(days=13), change=green
    )


CARDS = {
    "risk": lambda reader: replace(card(NoticeKind.RISK, opened(), reader, NOW), url="https://crm.example.com/accounts/acme"),
    "payment": lambda reader: card(
        NoticeKind.RISK, replace(opened(), change=change(knockout="payment_failed", score_before=7810, score_after=7810, cause=Cause.EVENT, profile_notice_days=None)), reader, NOW
    ),
    "little-known": lambda reader: card(
        NoticeKind.RISK,
        replace(opened(), change=change(from_band=Band.GREY, score_before=None, trend=(), last_seen=None, previous_band_since=None, profile_arr=None, profile_seats=None, profile_renewal_on=None, profile_plan=None, counterfactual=None)),
        reader, NOW,
    ),
    "acknowledged": lambda reader: card(NoticeKind.RISK, opened(state=State.ACKNOWLEDGED, by="佐藤 花子", acted_at=NOW), reader, NOW),
    "snoozed": lambda reader: card(NoticeKind.RISK, opened(state=State.SNOOZED, by="Emma", acted_at=NOW, until=NOW + timedelta(days=1)), reader, NOW),
    "closed": lambda reader: card(NoticeKind.RISK, opened(state=State.CLOSED, by="Emma", acted_at=NOW, outcome=Outcome.FALSE_ALARM), reader, NOW),
    "reopened": lambda reader: card(NoticeKind.REOPENED, opened(flips=1), reader, NOW),
    "reminder": lambda reader: card(NoticeKind.REMINDER, opened(), reader, NOW),
    "moved": lambda reader: card(NoticeKind.MOVED, opened(), reader, NOW + timedelta(days=2)),
    "recovery": lambda reader: card(NoticeKind.RECOVERY, recovered(), reader, NOW),
    "unscored": lambda reader: card(NoticeKind.UNSCORED, replace(recovered(), change=change(3, Band.GREY, score_after=None, score_before=2310)), reader, NOW),
    "worse": lambda reader: card(NoticeKind.WORSE, opened(change=change(2, from_band=Band.RED, score_before=2310, score_after=1500)), reader, NOW),
    "nudge": lambda reader: card(NoticeKind.NUDGE, opened(), reader, NOW + timedelta(days=1)),
    "escalated": lambda reader: card(NoticeKind.ESCALATED, opened(), replace(reader, id="manager"), NOW + timedelta(days=2)),
    "early-warning": lambda reader: card(NoticeKind.ESCALATED, watched(), reader, NOW + timedelta(days=14)),
    "early-warning-over": lambda reader: card(NoticeKind.RECOVERY, calmed(), reader, NOW),
    "handed": lambda reader: summary([(NoticeKind.HANDED, opened(csm="emma"))], reader),
    "watchdog": lambda reader: card(NoticeKind.RISK, replace(opened(), account=WATCHDOG), reader, NOW),
    "note": lambda reader: note_card(Trouble(Channel.SLACK, "U0HANAKO", "佐藤 花子", "msg_too_long", bounced=False), reader.locale),
    "opportunity": lambda reader: card(NoticeKind.RISK, finding(Kind.OPPORTUNITY, ("seats_full", 95.0, "percent"), ("usage_growing", 12.5, "percent")), reader, NOW),
    "renewal": lambda reader: card(NoticeKind.WORSE, finding(Kind.RENEWAL, ("renewal_in_90_days", 58.0, "days"), ("renewal_in_60_days", 58.0, "days")), reader, NOW),
    "onboarding": lambda reader: card(NoticeKind.RISK, finding(Kind.ONBOARDING, ("onboarding_stuck", 1.0, "milestones")), reader, NOW),
    "digest": lambda reader: summary(
        [
            (NoticeKind.LINE, of("late", as_of=NOON + timedelta(days=2))),
            (NoticeKind.LINE, finding(Kind.OPPORTUNITY, ("seats_full", 95.0, "percent"))),
            (NoticeKind.LINE, finding(Kind.RENEWAL, ("renewal_in_90_days", 58.0, "days"), ("renewal_in_60_days", 58.0, "days"))),
            (NoticeKind.DIGEST, replace(recovered(), id="ep_gone", told=False)),
        ],
        reader,
    ),
    "summary": lambda reader: summary(
        [
            (NoticeKind.SUMMARY, of("small", profile_arr=12_000.0, cause=Cause.HISTORY)),
            (NoticeKind.SUMMARY, of("large", profile_arr=9_600_000.0, cause=Cause.FIRST)),
            (NoticeKind.SUMMARY, of("unknown", profile_arr=None, profile_renewal_on=None, cause=Cause.HISTORY)),
            (NoticeKind.DIGEST, replace(recovered(), told=False)),
        ],
        reader,
    ),
}  # fmt: skip


def mail(shown: Card, language: str) -> MailBody:
    links = {(act, episode): LINKS[act, "*"] for act in Act for episode in shown.episodes}
    return mail_body(shown, READERS[language].locale, "hanako@example.com", links)


def media(shown: Card, language: str) -> dict[str, str]:
    slack, letter = slack_body(shown, READERS[language].locale), mail(shown, language)
    blocks = msgspec.json.format(msgspec.json.encode({"text": slack.text, "blocks": slack.blocks}), indent=1).decode()
    return {"slack.json": blocks + "\n", "txt": f"Subject: {letter.subject}\n\n{letter.text}\n", "html": letter.html + "\n"}


# One card of each layout is kept in every medium; of the others the words, which no medium chooses for itself.
LAYOUTS = frozenset({"risk", "acknowledged", "recovery", "summary"})


@pytest.mark.parametrize("language", READERS)
@pytest.mark.parametrize("name", CARDS)
def test_the_golden_files(name: str, language: str) -> None:
    made = media(CARDS[name](READERS[language]), language)
    for medium in made if name in LAYOUTS else ["txt"]:
        path = GOLDEN / f"{name}.{language}.{medium}"
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(made[medium])

        assert made[medium] == path.read_text(), f"{path.name} differs; look at it, then run with UPDATE_GOLDEN=1"


@pytest.mark.parametrize(
    ("language", "by", "said"),
    [
        ("en", "Emma", "closed by Emma: saved (“They renewed.”)"),
        ("ja", "Emma", "Emma が対応完了: 継続(「They renewed.」)"),
        ("en", None, "closed by Churnsignal: saved"),
    ],
)
def test_whoever_reads_a_closed_alert_reads_why_a_person_closed_it(language: str, by: str | None, said: str) -> None:
    closed = opened(state=State.CLOSED, by=by, acted_at=NOW, outcome=Outcome.SAVED, note="They renewed.")

    assert state_line(closed, READERS[language]) == said


@pytest.mark.parametrize(("language", "words"), [("en", "SLACK_BOT_TOKEN is not set"), ("ja", "SLACK_BOT_TOKEN が設定されていない")])
def test_of_a_channel_that_nobody_configured_the_operator_reads_what_to_set_and_nothing_of_an_answer(language: str, words: str) -> None:
    told = note_card(Trouble(Channel.SLACK, "*", "", UNCONFIGURED, bounced=False), READERS[language].locale)

    text = mail(told, language).text
    assert words in text
    assert not any(other in text for other in ("answer", "応答", "password", "パスワード"))


@pytest.mark.parametrize("language", READERS)
def test_an_alert_answers_what_a_csm_asks(language: str) -> None:
    text = mail(CARDS["risk"](READERS[language]), language).text
    asked = {
        "en": ["Acme K.K. is at risk", "¥1,200,000 a year · 40 seats", "Wed, Mar 31, 2027", "41 → 23 (yellow → red)", "Fri, Nov 20, 2026",
               "No use for 19 days; the usual pause is 2 days.", "Call the main contact today", "I’m on it: https://"],
        "ja": ["Acme K.K. 様に解約予兆", "¥1,200,000 /年・40席", "2027年3月31日(水)", "41 → 23(注意 → 危険)", "2026年11月20日(金)",
               "19日間ご利用がありません(普段の間隔は2日)。", "本日中に主担当者へ連絡し", "対応を開始: https://"],
    }  # fmt: skip

    assert [words for words in asked[language] if words not in text] == []


HOSTILE = [
    "<!channel>", "<!here|all>", "<@U0BOSS>", "<https://evil.example|Open account>", "*bold* _it_ ~no~ `code`", "&amp; &lt;b&gt;", "<b>bold</b>",
    "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "\"><svg onload=alert(1)>", "javascript:alert(1)", "{{ 7 * 7 }}", "{% raw %}", "${7*7}",
    "{account}", "{0}", "%s %d", "a\r\nBcc: victim@example.com", "a\nb\nc", "a\u2028b\u2029c", "a\x00b\x07c", "\u202egnp.exe", "\u2066evil\u2069",
    "\u200bzero\u200dwidth\ufeff", "مرحبا بالعالم", "שלום <b>", "👩‍👩‍👧‍👦 family", "🔥" * 200, "x" * 5000, "あ" * 5000, "é" * 300, " ", "\t\t",
    "a, b@example.com", "b@example.com", "\"quoted\" <x@y.z>", ":fire: :smile:", "http://evil.example/path", "||spoiler||", "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
]  # fmt: skip


TAGS = {"html", "head", "meta", "title", "style", "body", "table", "tr", "td", "div", "bdi", "a", "span", "img", "h1", "p"}


class Tags(HTMLParser):
    """Collects the tags and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src") or name.startswith("on")]


def tags(html: str) -> Tags:
    found = Tags()
    found.feed(html)
    return found


def parsed_texts(block: Any) -> list[str]:
    """Return every text that Slack would parse."""
    if isinstance(block, dict):
        here = [block["text"]] if block.get("type") == "mrkdwn" else []
        return here + [text for value in block.values() for text in parsed_texts(value)]
    return [text for value in block for text in parsed_texts(value)] if isinstance(block, list) else []


def spoiled(name: str) -> tuple[Card, Card]:
    new = change(profile_name=name, profile_plan=name, profile_currency=name, profile_segment=name, knockout=name)
    bad = replace(
        opened(),
        change=msgspec.structs.replace(
            new, drivers=(Driver(code=name, measure=name, contribution=0, possible=9, unit=name, value=1.0, baseline=2.0), *new.drivers)
        ),
    )
    bad = replace(bad, by=name, state=State.ACKNOWLEDGED, acted_at=NOW)
    return card(NoticeKind.RISK, bad, READERS["en"], NOW), summary(
        [(NoticeKind.SUMMARY, replace(bad, state=State.OPEN))] * 3, READERS["ja"]
    )


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_inert_everywhere(name: str) -> None:
    for shown, language in zip(spoiled(name), ("en", "ja"), strict=True):
        slack, letter = slack_body(shown, READERS[language].locale), mail(shown, language)

        assert check_blocks(list(slack.blocks)) == []
        assert [text for text in [*parsed_texts(slack.blocks), slack.text] if "<" in text or ">" in text] == []
        found = tags(letter.html)
        assert set(found.tags) <= TAGS
        assert all(link.startswith("https://alerts.example.com/a/") or link == "cid:score@churnsignal" for link in found.links)
        assert "\n" not in letter.subject
        assert "\r" not in letter.text
        assert "\u202e" not in letter.text + letter.html + slack.text


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_makes_one_recipient_one_subject_and_one_picture(name: str) -> None:
    shown = spoiled(name)[0]
    told = Outgoing("ep_1.1", "hanako@example.com", name, shown.episodes, mail=mail(shown, "en"))

    read = message_from_bytes(letter(told, "Churnsignal <alerts@churnsignal.test>", NOW).as_bytes(), policy=default)

    assert [address.addr_spec for address in read["To"].addresses] == ["hanako@example.com"]
    assert [name for name in ("Subject", "To", "From") if len(read.get_all(name, [])) != 1] == []
    assert [key for key in read.keys() if key.lower() in ("bcc", "cc")] == []  # noqa: SIM118 a message, not a mapping
    images = [part for part in read.walk() if part.get_content_maintype() == "image"]
    assert [(image["Content-ID"], image.get_content_disposition()) for image in images] == [("<score@churnsignal>", "inline")]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_of_a_csm_or_user_is_inert_in_windows_pages_and_what_the_operator_reads(name: str) -> None:
    for locale, reader in ((reader.locale, reader) for reader in READERS.values()):
        told = note_card(Trouble(Channel.EMAIL, name, name, name, bounced=True), locale)
        acted = replace(opened(), by=name, state=State.ACKNOWLEDGED, acted_at=NOW)
        slack = slack_body(told, locale)
        windows = [modal(act, "ep_1", name, locale) for act in MODALS]
        html = page("page.html", lang="en", title=clean(name, 90), sentences=[state_line(acted, reader)], button="")

        assert check_blocks(list(slack.blocks)) == []
        assert [text for text in [*parsed_texts(slack.blocks), *parsed_texts(windows), slack.text] if "<" in text or ">" in text] == []
        assert [view for view in windows if check_view(view)] == []
        for document in (html, mail_body(told, locale, name, {}).html):
            assert set(tags(document).tags) <= TAGS
            assert tags(document).links == []
            assert "\u202e" not in document


@pytest.mark.parametrize("address", ["a@example.com, b@example.com", "a@example.com\nBcc: b@example.com", "nobody", ""])
def test_what_is_not_one_address_is_refused(address: str) -> None:
    shown = CARDS["risk"](READERS["en"])

    with pytest.raises(ValueError, match=r".*"):
        letter(Outgoing("k", address, "Name", shown.episodes, mail=mail(shown, "en")), "alerts@churnsignal.test", NOW)


@pytest.mark.parametrize("account", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_account_id_leads_nowhere_else(account: str) -> None:
    url = replace(POLICY, account_url="https://crm.example.com/a/{account}?tab=health").account_link(account)

    assert url is None or (urlsplit(url).hostname, urlsplit(url).query) == ("crm.example.com", "tab=health")
    assert url is None or (len(url) <= 3000 and set(url) <= set(ascii_letters + digits + "-._~%:/?="))


def test_a_name_keeps_its_joined_emoji_and_its_direction() -> None:
    assert clean("👩‍👩‍👧") == "👩‍👩‍👧"
    assert clean("שלום") == "\u2068שלום\u2069"
    assert clean("a" * 200, 10) == "aaaaaaaaa…"
    assert mrkdwn("<!channel> & co") == "&lt;!channel&gt; &amp; co"


texts = st.text(max_size=400) | st.sampled_from(HOSTILE)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
drivers = st.lists(
    st.builds(Driver, code=texts, measure=texts, contribution=st.integers(0, 5000), possible=st.integers(5000, 10_000), value=numbers, baseline=numbers,
              unit=texts, window_days=st.none() | st.integers(1, 999)),
    max_size=12,
).map(tuple)  # fmt: skip
changes = st.builds(
    change, profile_name=st.none() | texts, profile_plan=st.none() | texts, profile_currency=st.none() | texts,
    profile_arr=st.none() | st.floats(0, 1e15), profile_seats=st.none() | st.integers(0, 10**9), profile_notice_days=st.none() | st.integers(0, 9999),
    profile_renewal_on=st.none() | st.dates(), knockout=st.none() | texts, drivers=drivers, score_after=st.none() | st.integers(0, 10_000),
    score_before=st.none() | st.integers(0, 10_000), coverage=st.integers(0, 10_000), to=st.sampled_from(list(Band)), cause=st.sampled_from(list(Cause)),
    from_band=st.none() | st.sampled_from(list(Band)), trend=st.lists(st.none() | st.integers(0, 10_000), max_size=200).map(tuple),
)  # fmt: skip


def within_limits(body: SlackBody) -> bool:
    blocks: list[Any] = list(body.blocks)
    return check_blocks(blocks) == [] and blocks_size(blocks) <= MAX_BLOCKS_TOTAL and 0 < len(body.text) <= 4000


@settings(max_examples=60)
@given(changes, st.sampled_from(list(NoticeKind)), st.sampled_from(list(State)), st.sampled_from(["en", "ja"]))
def test_any_alert_is_within_every_limit_of_slack(new: RiskChanged, kind: NoticeKind, state: State, language: str) -> None:
    episode = opened(state=state, by="x" * 500, acted_at=NOW, until=NOW, outcome=Outcome.SAVED)

    shown = card(kind, replace(episode, change=new), READERS[language], NOW)

    assert within_limits(slack_body(shown, READERS[language].locale, "possible duplicate"))
    assert mail(shown, language).text


@settings(max_examples=25)
@given(st.lists(changes, min_size=1, max_size=40), st.sampled_from(["en", "ja"]))
def test_any_summary_is_within_every_limit_of_slack(news: list[RiskChanged], language: str) -> None:
    told = [(NoticeKind.SUMMARY, replace(opened(), id=f"ep_{number}", change=new)) for number, new in enumerate(news)]

    shown = summary(told, READERS[language])

    assert within_limits(slack_body(shown, READERS[language].locale))
    assert len(shown.episodes) == len(news)


def test_how_long_it_lasted_fits_the_dates_beside_it() -> None:
    # 21:00 on the 20th in Tokyo to 08:00 on the 24th: three and a half times 24 hours, four days on the calendar.
    text = card(NoticeKind.RECOVERY, recovered(timedelta(hours=83)), READERS["ja"], NOW).sections[0][1][0]

    assert text == "「危険」の状態は4日間でした(11月20日〜11月24日)。"


def test_a_summary_hides_nothing() -> None:
    shown = summary([(NoticeKind.SUMMARY, of(f"a{number}")) for number in range(57)], READERS["en"])

    slack, letter = slack_body(shown, Locale.EN), mail(shown, "en")

    assert str(slack.blocks).count("Score 23") == 20
    assert [name for number in range(57) if (name := f"A{number}\n") not in letter.text] == []
    rest = next(block["text"]["text"] for block in slack.blocks if block.get("text", {}).get("text", "").startswith("…"))
    assert rest.startswith("… and 37 more: A")
    assert len(rest.split(", ")) == 37


def test_a_summary_counts_accounts_once_and_calls_only_the_red_at_risk() -> None:
    twice = [of("a"), replace(of("a"), id="ep_again"), replace(watched(), account="b"), replace(watched(), account="c")]

    shown = summary([(NoticeKind.SUMMARY, episode) for episode in twice], READERS["en"])

    assert shown.headline == "1 account at risk · 2 accounts to watch"
    assert shown.sections[0][1][0] == "¥3,600,000 a year at stake in total"
    assert [line.facts.rsplit(" · ", 1)[1] for line in shown.lines] == [
        "Score 23 (red)",
        "Score 23 (red)",
        "Score 52 (yellow)",
        "Score 52 (yellow)",
    ]


def test_a_summary_shows_who_does_what_about_each_account() -> None:
    taken = replace(of("a"), state=State.ACKNOWLEDGED, by="Emma", acted_at=NOW)
    closed = replace(of("b"), state=State.CLOSED, by="Emma", outcome=Outcome.FALSE_ALARM)

    lines = summary([(NoticeKind.SUMMARY, taken), (NoticeKind.SUMMARY, closed)], READERS["en"]).lines

    assert [line.open for line in lines] == [False, False]
    assert lines[0].reason.endswith("Emma has been on it since Fri, Nov 20, 2026, 12:02 GMT")
    assert lines[1].reason == "closed by Emma: false alarm"


def test_the_days_to_the_renewal_are_counted_from_when_it_is_read() -> None:
    facts = [dict(card(NoticeKind.REMINDER, opened(), READERS["en"], NOW + timedelta(days=days)).facts)["Renewal"] for days in (0, 14)]

    assert facts == ["Wed, Mar 31, 2027 (in 131 days; notice by Mar 1)", "Wed, Mar 31, 2027 (in 117 days; notice by Mar 1)"]


@pytest.mark.parametrize(
    ("kind", "csm", "named"),
    [
        (NoticeKind.RISK, "hanako", None),
        (NoticeKind.RISK, "emma", "Emma Stone"),
        (NoticeKind.RECOVERY, "emma", "Emma Stone"),
        (NoticeKind.RISK, "pool:tokyo", None),
    ],
)
def test_whoever_is_not_responsible_reads_who_is(kind: NoticeKind, csm: str, named: str | None) -> None:
    assert dict(card(kind, opened(csm=csm), READERS["en"], NOW).facts).get("CSM") == named
