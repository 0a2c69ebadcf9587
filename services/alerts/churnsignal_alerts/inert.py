"""Pure. Make a customer's string harmless: nothing in a name may command a terminal, break a header, turn the line or ping a channel."""

import unicodedata

_ELLIPSIS = "…"
_FIRST_STRONG, _POP = "\u2068", "\u2069"


def clean(text: str, limit: int = 120) -> str:
    """Return one line of visible text of at most `limit` characters; text that runs right to left is kept to itself."""
    if text.isascii() and text.isprintable() and len(text) <= limit:
        return " ".join(text.split())
    kept = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") else c for c in text if unicodedata.category(c) != "Cf" or c == "\u200d"
    )
    line = " ".join(kept.split())
    if len(line) > limit:
        line = line[: limit - 1].rstrip() + _ELLIPSIS
    if any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in line):
        return _FIRST_STRONG + line + _POP
    return line


def mrkdwn(text: str) -> str:
    """Return text for a Slack field that is parsed: no mention, link or entity can be formed."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
