"""Pure. One e-mail as it came over the wire -> what a mail program would show."""

import base64
import re
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage, MIMEPart
from email.policy import default

EPISODE_HEADER = "X-Churnsignal-Episode"
SHOWN_HEADERS = (
    "From", "To", "Cc", "Reply-To", "Date", "Message-ID", "In-Reply-To", "References",
    "List-Unsubscribe", "List-Unsubscribe-Post", "Auto-Submitted", EPISODE_HEADER,
)  # fmt: skip
CID = re.compile(r"""cid:([^"'\s)>]+)""")


@dataclass(frozen=True, slots=True)
class Letter:
    """Subject and bodies; `html` has its inline images inside, so that it needs nothing else."""

    subject: str
    text: str
    html: str
    headers: dict[str, str]
    episode_id: str | None
    attachments: tuple[str, ...]


def read_letter(raw: bytes) -> Letter:
    """Return what the bytes say. Broken encodings become replacement characters, never an error."""
    mail = message_from_bytes(raw, _class=EmailMessage, policy=default)
    headers = {name: str(mail[name]) for name in SHOWN_HEADERS if mail[name] is not None}
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    return Letter(
        subject=str(mail["Subject"] or ""),
        text=_content(text),
        html=CID.sub(lambda match: _images(mail).get(match[1], match[0]), _content(html)),
        headers=headers,
        episode_id=headers.get(EPISODE_HEADER),
        attachments=tuple(part.get_filename() or part.get_content_type() for part in mail.iter_attachments() if part not in (text, html)),
    )


def _content(part: MIMEPart | None) -> str:
    if part is None:
        return ""
    payload = part.get_payload(decode=True)
    return payload.decode(_charset(part), "replace").replace("\r\n", "\n") if isinstance(payload, bytes) else ""


def _charset(part: MIMEPart) -> str:
    name = part.get_content_charset("utf-8")
    try:
        "".encode(name)
    except LookupError:
        return "utf-8"
    return name


def _images(mail: EmailMessage) -> dict[str, str]:
    found = {}
    for part in mail.walk():
        payload = part.get_payload(decode=True)
        if part.get_content_maintype() == "image" and part["Content-ID"] and isinstance(payload, bytes):
            found[str(part["Content-ID"]).strip("<> ")] = f"data:{part.get_content_type()};base64,{base64.b64encode(payload).decode()}"
    return found
