"""Pure. What the inbox holds: messages, people, channels and open modals; bounded, the oldest go first."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from churnsignal_common.clock import Clock

from churnsignal_devstack.inbox.limits import Json
from churnsignal_devstack.inbox.mail import Letter

MAX_MESSAGES = 10_000
MAX_BYTES = 64 << 20
MAX_ENTRIES = 5_000
MAX_EDITS = 20
MAX_VIEWS = 20


class Kind(StrEnum):
    SLACK = "slack"
    EMAIL = "email"


@dataclass(slots=True)
class User:
    """Somebody in the workspace. Whoever is asked for by e-mail address exists."""

    id: str
    name: str
    email: str


@dataclass(slots=True)
class Channel:
    """A channel, or a direct conversation with `user`."""

    id: str
    name: str
    user: User | None = None


Entry = TypeVar("Entry", User, Channel)


@dataclass(slots=True)
class Edit:
    """How a message looked before it was changed."""

    at: datetime
    text: str
    blocks: list[Json]


@dataclass(slots=True)
class Message:
    """One message of either kind; what the other kind has stays empty."""

    id: int
    kind: Kind
    channel: str
    channel_name: str
    to: str
    text: str
    received_at: datetime
    size: int
    episode_id: str | None = None
    # Slack
    ts: str | None = None
    thread_ts: str | None = None
    blocks: list[Json] = field(default_factory=list)
    metadata: dict[str, Json] | None = None
    edits: list[Edit] = field(default_factory=list)
    # E-mail
    subject: str | None = None
    html: str | None = None
    sender: str | None = None
    recipients: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    attachments: list[str] = field(default_factory=list)

    def public(self) -> dict[str, Any]:
        """Return the JSON of `GET /api/messages`."""
        return asdict(self)

    @property
    def revision(self) -> str:
        return f"{self.id}.{len(self.edits)}"


@dataclass(slots=True)
class OpenView:
    """A modal that somebody is looking at."""

    id: str
    user: str
    view: dict[str, Json]
    revision: int


class Store:
    """Everything the inbox got, in order of arrival."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.messages: dict[int, Message] = {}
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.views: dict[str, OpenView] = {}
        self.revision = 0
        self._bytes = 0
        self._last_id = 0
        self._last_ts = 0

    def user(self, email: str) -> User:
        """Return the user with this address; the same address gives the same id, in every run."""
        email = email.strip().lower()
        name = email.partition("@")[0].replace(".", " ").replace("_", " ").replace("-", " ").title()
        return self._known(self.users, User(_identity("U", email), name, email))

    def user_by_id(self, user_id: str) -> User:
        """Return a user of whom only the id is known: U0HANAKO is called Hanako."""
        return self._known(self.users, User(user_id, user_id[1:].lstrip("0").title() or user_id, ""))

    def direct(self, user: User) -> Channel:
        return self._known(self.channels, Channel(_identity("D", user.id), user.name, user))

    def channel(self, name: str) -> Channel | None:
        """Return where a post to `name` goes: a channel's id or #name, or a user's id; None for what cannot be either."""
        if name in self.channels:
            return self.channels[name]
        if name[:1] in "UW" and _is_id(name):
            return self.direct(self.user_by_id(name))
        if name[:1] in "CG" and _is_id(name):
            return self._known(self.channels, Channel(name, name.lower()))
        plain = name.removeprefix("#")
        if plain and len(plain) <= 80 and plain == plain.lower() and plain.replace("-", "").replace("_", "").isalnum():
            return self._known(self.channels, Channel(_identity("C", plain), plain))
        return None

    def post(self, channel: Channel, text: str, size: int, **rest: Any) -> Message:
        """Keep a Slack message; as in Slack, blocks and elements without an id get one."""
        name_blocks(rest.get("blocks", []))
        to = f"#{channel.name}" if channel.user is None else channel.user.email or channel.user.id
        now = self._clock.now()
        return self._keep(Message(self._next(), Kind.SLACK, channel.id, channel.name, to, text, now, size, ts=self._ts(now), **rest))

    def deliver(self, letter: Letter, sender: str, recipients: list[str], size: int) -> Message:
        """Keep an e-mail."""
        to = ", ".join(recipients)
        message = Message(self._next(), Kind.EMAIL, to, to, to, letter.text, self._clock.now(), size, letter.episode_id)
        message.subject, message.html, message.headers = letter.subject, letter.html, letter.headers
        message.sender, message.recipients, message.attachments = sender, recipients, list(letter.attachments)
        return self._keep(message)

    def edit(self, message: Message, text: str, blocks: list[Json], metadata: dict[str, Json] | None, size: int) -> None:
        """Change a message in place and remember how it was."""
        name_blocks(blocks)
        message.edits = [*message.edits, Edit(self._clock.now(), message.text, message.blocks)][-MAX_EDITS:]
        message.text, message.blocks = text, blocks
        if metadata is not None:
            message.metadata = metadata
        message.size += size
        self._bytes += size
        self._trim()
        self.changed()

    def find(self, channel: str, ts: str) -> Message | None:
        return next((message for message in self.of(channel) if message.ts == ts), None)

    def of(self, channel: str) -> Iterator[Message]:
        """Yield the messages of a channel or mailbox, the newest first."""
        return (message for message in reversed(self.messages.values()) if message.channel == channel)

    def show(self, user: str, view: dict[str, Json], view_id: str = "") -> OpenView:
        """Open a modal for a user, or replace the one that is open."""
        blocks = view.get("blocks")
        name_blocks(blocks if isinstance(blocks, list) else [])
        shown = OpenView(view_id or _identity("V", f"{user}{self._next()}"), user, view, self.revision)
        self.views[shown.id] = shown
        while len(self.views) > MAX_VIEWS:
            self.views.pop(next(iter(self.views)))
        self.changed()
        return shown

    def clear(self) -> None:
        """Forget messages and modals; people and channels stay."""
        self.messages, self.views, self._bytes = {}, {}, 0
        self.changed()

    def changed(self) -> None:
        self.revision += 1

    def _keep(self, message: Message) -> Message:
        self.messages[message.id] = message
        self._bytes += message.size
        self._trim()
        self.changed()
        return message

    def _trim(self) -> None:
        while len(self.messages) > MAX_MESSAGES or (self._bytes > MAX_BYTES and len(self.messages) > 1):
            self._bytes -= self.messages.pop(next(iter(self.messages))).size

    def _next(self) -> int:
        self._last_id += 1
        return self._last_id

    def _ts(self, now: datetime) -> str:
        """Slack's ids of messages: microseconds, never twice."""
        self._last_ts = max(self._last_ts + 1, int(now.timestamp() * 1e6))
        return f"{self._last_ts // 10**6}.{self._last_ts % 10**6:06}"

    @staticmethod
    def _known(entries: dict[str, Entry], fresh: Entry) -> Entry:
        known = entries.setdefault(fresh.id, fresh)
        while len(entries) > MAX_ENTRIES:
            entries.pop(next(iter(entries)))
        return known


def name_blocks(blocks: list[Json]) -> None:
    """Give every block and every element an id to be clicked by."""
    for index, block in enumerate(blocks):
        if not isinstance(block, dict):
            continue
        block.setdefault("block_id", f"b{index}")
        elements = block.get("elements")
        for position, element in enumerate(
            [*(elements if isinstance(elements, list) else []), block.get("accessory"), block.get("element")]
        ):
            if isinstance(element, dict) and element.get("type") not in ("image", "mrkdwn", "plain_text"):
                element.setdefault("action_id", f"a{position}")


def _identity(prefix: str, of: str) -> str:
    return f"{prefix}0{hashlib.sha256(of.encode()).hexdigest()[:9].upper()}"


def _is_id(name: str) -> bool:
    return name.isascii() and name.isalnum() and name == name.upper() and 2 <= len(name) <= 20
