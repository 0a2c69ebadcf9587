"""Door. The inbox as a person sees it, and as JSON for programs."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

import msgspec
from jinja2 import ChainableUndefined, Environment, PackageLoader
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from churnsignal_devstack.inbox.faults import Fault, Faults
from churnsignal_devstack.inbox.mrkdwn import plain, render
from churnsignal_devstack.inbox.store import Kind, Message, Store

SHOWN = 200
KANA = re.compile("[\u3040-\u30ff]")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-src 'self'; base-uri 'none'"
)
# A letter may style itself and open its links, and nothing else: no scripts, no forms, nothing from elsewhere.
LETTER_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox allow-popups allow-popups-to-escape-sandbox"
STATIC = {"inbox.css": "text/css", "inbox.js": "text/javascript", "icon.svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Place:
    """A channel, a conversation or a mailbox in the list on the left."""

    id: str
    name: str
    count: int
    latest: int


class Pages:
    """The page, its parts, and /api."""

    def __init__(self, store: Store, faults: Faults, *, acts: bool) -> None:
        self._store, self._faults, self._acts = store, faults, acts
        self._templates = Environment(
            loader=PackageLoader("churnsignal_devstack.inbox"),
            autoescape=True,
            undefined=ChainableUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"mrkdwn": self._mrkdwn, "plain": plain, "lang": lambda text: "ja" if KANA.search(text) else "en"}

    def routes(self) -> list[Route]:
        return [
            Route("/", self.page),
            Route("/static/{name}", self.static),
            Route("/mail/{message_id:int}", self.letter),
            Route("/healthz", lambda _: JSONResponse({"status": "ok"})),
            Route("/readyz", lambda _: JSONResponse({"status": "ok"})),
            Route("/api/revision", lambda _: JSONResponse({"revision": self._store.revision})),
            Route("/api/messages", self.messages),
            Route("/api/messages", self.delete_messages, methods=["DELETE"]),
            Route("/api/faults", self.faults),
            Route("/api/faults", self.add_faults, methods=["POST"]),
            Route("/api/faults", self.delete_faults, methods=["DELETE"]),
        ]

    async def page(self, request: Request) -> Response:
        direct, channels, mailboxes = self._places()
        newest = max((*direct, *channels, *mailboxes), key=lambda place: place.latest, default=None)
        at = request.query_params.get("at") or (newest.id if newest else "")
        shown = list(self._store.of(at))[:SHOWN]
        replies: dict[str, list[Message]] = {}
        for message in reversed(shown):
            if message.thread_ts is not None:
                replies.setdefault(message.thread_ts, []).append(message)
        known = self._store.channels.get(at)
        html = self._templates.get_template("inbox.html").render(
            direct=direct, channels=channels, mailboxes=mailboxes, at=at, store=self._store, replies=replies, rules=self._faults.rules, acts=self._acts,
            mail=bool(shown) and shown[0].kind is Kind.EMAIL, name=known.name if known else at,
            letters=[message for message in shown if message.kind is Kind.EMAIL],
            posts=[message for message in reversed(shown) if message.kind is Kind.SLACK and message.thread_ts is None],
            me=known.user.id if known and known.user else "", users=list(self._store.users.values())[:SHOWN],
        )  # fmt: skip
        return HTMLResponse(html, headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-store"})

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            return PlainTextResponse("not found", 404)
        return Response((files(__package__) / "static" / name).read_bytes(), media_type=STATIC[name])

    async def letter(self, request: Request) -> Response:
        message = self._store.messages.get(request.path_params["message_id"])
        if message is None or message.html is None:
            return PlainTextResponse("not found", 404)
        return HTMLResponse(
            f'<base target="_blank">{message.html}', headers={"Content-Security-Policy": LETTER_POLICY, "X-Content-Type-Options": "nosniff"}
        )

    async def messages(self, request: Request) -> Response:
        wanted = request.query_params
        try:
            since = _moment(wanted.get("since", "0"))
        except ValueError:
            return JSONResponse({"message": "since is an ISO time or seconds since 1970"}, 400)
        found = [
            message.public()
            for message in self._store.messages.values()
            if message.received_at >= since
            and wanted.get("kind") in (None, message.kind)
            and wanted.get("channel") in (None, message.channel, message.channel_name, f"#{message.channel_name}", message.to)
            and wanted.get("episode") in (None, message.episode_id)
        ]
        return Response(msgspec.json.encode(found), media_type="application/json")

    async def delete_messages(self, _: Request) -> Response:
        self._store.clear()
        return JSONResponse({"messages": 0})

    async def faults(self, _: Request) -> Response:
        return Response(msgspec.json.encode(self._faults.rules), media_type="application/json")

    async def add_faults(self, request: Request) -> Response:
        try:
            self._faults.add(msgspec.json.decode(await request.body(), type=list[Fault]))
        except ValueError as error:
            return JSONResponse({"message": str(error)}, 400)
        self._store.changed()
        return await self.faults(request)

    async def delete_faults(self, request: Request) -> Response:
        self._faults.clear()
        self._store.changed()
        return await self.faults(request)

    def _places(self) -> tuple[list[Place], list[Place], list[Place]]:
        """Return direct conversations, channels and mailboxes that hold something, the latest first."""
        direct: dict[str, Place] = {}
        channels: dict[str, Place] = {}
        mailboxes: dict[str, Place] = {}
        for message in self._store.messages.values():
            known = self._store.channels.get(message.channel)
            group = mailboxes if message.kind is Kind.EMAIL else direct if known and known.user else channels
            before = group.get(message.channel)
            group[message.channel] = Place(message.channel, message.channel_name, 1 + (before.count if before else 0), message.id)
        first, second, third = (sorted(group.values(), key=lambda place: -place.latest) for group in (direct, channels, mailboxes))
        return first, second, third

    def _mrkdwn(self, text: str) -> Markup:
        names = {user.id: user.name for user in self._store.users.values()} | {
            channel.id: channel.name for channel in self._store.channels.values()
        }
        return render(text, names)


def _moment(text: str) -> datetime:
    if text.replace(".", "", 1).isdigit():
        return datetime.fromtimestamp(float(text), UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
