"""Pure. Slack's mrkdwn as HTML that can do nothing but look like text."""

import re
from datetime import UTC, datetime

from markupsafe import Markup, escape

# Two private characters mark what is already HTML while the rest is being marked up; the text itself cannot hold them.
OPEN, CLOSE = "\ue000", "\ue001"
TOKEN = re.compile(r"```(?P<pre>.+?)```|`(?P<code>[^`\n]+)`|<(?P<control>[^<>\n]+)>", re.DOTALL)
SAFE_URL = re.compile(r"(?:https?|mailto):", re.IGNORECASE)
EMPHASIS = tuple(
    (re.compile(rf"(?<![\w{mark}]){mark}(?=\S)(.+?)(?<=\S){mark}(?![\w{mark}])"), tag)
    for mark, tag in ((r"\*", "b"), ("_", "i"), ("~", "s"))
)
QUOTE = re.compile(r"(?m)^&gt; ?(.*)$\n?")
EMOJI = re.compile(r":([a-z0-9_+-]+):")
EMOJIS = {
    "rotating_light": "🚨", "red_circle": "🔴", "large_yellow_circle": "🟡", "large_green_circle": "🟢", "white_circle": "⚪",
    "warning": "⚠️", "white_check_mark": "✅", "heavy_check_mark": "✔️", "x": "❌", "bell": "🔔", "no_bell": "🔕", "zzz": "💤",
    "calendar": "📅", "clock3": "🕒", "moneybag": "💰", "credit_card": "💳", "chart_with_downwards_trend": "📉",
    "chart_with_upwards_trend": "📈", "bar_chart": "📊", "bust_in_silhouette": "👤", "busts_in_silhouette": "👥", "memo": "📝",
    "bulb": "💡", "point_right": "👉", "eyes": "👀", "tada": "🎉", "fire": "🔥", "mag": "🔍", "link": "🔗", "email": "✉️",
    "arrow_up": "⬆️", "arrow_down": "⬇️", "thumbsup": "👍", "+1": "👍", "-1": "👎", "seedling": "🌱", "hourglass": "⌛",
}  # fmt: skip


def render(text: str, names: dict[str, str]) -> Markup:
    """Return `text` as HTML; `names` says what to call the users and channels that it mentions."""
    done: list[str] = []

    def keep(html: str) -> str:
        done.append(html)
        return f"{OPEN}{len(done) - 1}{CLOSE}"

    def token(match: re.Match[str]) -> str:
        if (pre := match["pre"]) is not None:
            return keep(f"<pre>{plain(pre.strip(chr(10)))}</pre>")
        if (code := match["code"]) is not None:
            return keep(f"<code>{plain(code)}</code>")
        return keep(_control(match["control"], names))

    marked = TOKEN.sub(token, text.replace(OPEN, "\ufffd").replace(CLOSE, "\ufffd"))
    html = str(plain(marked))
    html = QUOTE.sub(r"<blockquote>\1</blockquote>", html)
    for pattern, tag in EMPHASIS:
        html = pattern.sub(rf"<{tag}>\1</{tag}>", html)
    html = html.replace("\n", "<br>")
    # From the inside out: a link can hold what was marked before it, never the other way round.
    html = re.sub(rf"{OPEN}(\d+){CLOSE}", lambda match: done[int(match[1])], html)
    return Markup(html)  # noqa: S704 - every part of it was escaped above


def plain(text: str) -> Markup:
    """Return text whose only markup are Slack's three entities and its emoji names."""
    return escape(EMOJI.sub(lambda match: EMOJIS.get(match[1], match[0]), _unescape(text)))


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _control(body: str, names: dict[str, str]) -> str:
    target, _, label = body.partition("|")
    if target.startswith("!date^"):
        return str(plain(_date(target, label)))
    if target[:1] in "@#":
        return f'<span class="mention">{target[0]}{escape(names.get(target[1:], label or target[1:]))}</span>'
    if target.startswith("!"):
        return f'<span class="mention loud">@{escape(target[1:])}</span>'
    if SAFE_URL.match(target):
        return f'<a href="{escape(_unescape(target))}" target="_blank" rel="noreferrer noopener">{plain(label or target)}</a>'
    return str(plain(f"<{body}>"))


def _date(target: str, fallback: str) -> str:
    _, stamp, shape, *_ = [*target.split("^"), "", ""]
    if not stamp.isdigit() or len(stamp) > 11:
        return fallback
    when = datetime.fromtimestamp(int(stamp), UTC)
    shapes = {
        "{date_num}": f"{when:%Y-%m-%d}", "{date}": f"{when:%B %d, %Y}", "{date_short}": f"{when:%b %d, %Y}", "{date_short_pretty}": f"{when:%b %d, %Y}",
        "{date_pretty}": f"{when:%B %d, %Y}", "{date_long}": f"{when:%A, %B %d, %Y}", "{time}": f"{when:%H:%M} UTC", "{time_secs}": f"{when:%H:%M:%S} UTC",
    }  # fmt: skip
    for name, value in shapes.items():
        shape = shape.replace(name, value)
    return shape
