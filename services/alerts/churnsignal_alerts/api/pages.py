"""Flow. The pages behind links in e-mails: GET asks, POST acts, whoever prefetches the link changes nothing."""

import hashlib
from urllib.parse import parse_qs

from churnsignal_common.catalog.locales import Locale
from churnsignal_common.catalog.sentences import say
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from churnsignal_alerts.act import Act, Answer, Command
from churnsignal_alerts.api.models import CloseIn
from churnsignal_alerts.api.parts import Parts
from churnsignal_alerts.directory import zone_of
from churnsignal_alerts.episodes import Episode, Outcome, State
from churnsignal_alerts.inert import clean
from churnsignal_alerts.links import Ticket
from churnsignal_alerts.policy import POOL
from churnsignal_alerts.render.card import Reader, state_line
from churnsignal_alerts.render.mail import page
from churnsignal_alerts.route import Setup
from churnsignal_alerts.store import episode_of

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
}
_ANSWERS = {Answer.DONE: "page.done", Answer.ALREADY: "page.already", Answer.OVER: "page.over", Answer.PAST: "page.over"}


def reader_of(person: str, setup: Setup) -> tuple[Reader, str] | None:
    """Return how the person reads, and the name they act under; None for whoever is not there any more."""
    if person.startswith(POOL):
        pool = setup.policy.pools.get(person.removeprefix(POOL), setup.policy.catch_all)
        return Reader(pool.locale, pool.zone or setup.policy.zone), person.removeprefix(POOL)
    csm = setup.directory.csms.get(person)
    return (Reader(csm.locale, zone_of(csm.zone, setup.policy.zone)), csm.name) if csm and csm.active else None


def routes(parts: Parts) -> APIRouter:
    """Return the two routes of a link."""
    router = APIRouter(tags=["links"])

    async def opened(token: str) -> tuple[Ticket, Episode, Reader, str] | None:
        ticket = parts.links.read(token, parts.clock.now())
        row = await parts.reader.episode(ticket.episode) if ticket else None
        who = reader_of(ticket.person, await parts.people.setup()) if ticket else None
        if ticket is None or row is None or who is None:
            return None
        return ticket, episode_of(row), *who

    @router.get("/a/{token}", summary="Ask before acting", response_class=HTMLResponse)
    async def ask(token: str) -> Response:
        found = await opened(token)
        if found is None:
            return _expired()
        ticket, episode, reader, _ = found
        if not episode.active:
            return _shown(episode, reader, say(reader.locale, "page.over"), state_line(episode, reader))
        return _asked(ticket, episode, reader)

    @router.post("/a/{token}", summary="Act", response_class=HTMLResponse)
    async def act(token: str, request: Request) -> Response:
        found = await opened(token)
        if found is None:
            return _expired()
        ticket, asked, reader, name = found
        command = _closing(await request.body(), name) if ticket.act is Act.CLOSE else Command(ticket.act, name)
        if command is None:
            return _asked(ticket, asked, reader)
        # A link acts once, whatever has become of the episode since.
        once = hashlib.sha256(token.encode()).digest()
        result = await parts.desk.run(ticket.episode, command, "email", once)
        if result is None:
            return _expired()
        answer, episode = result
        return _shown(episode, reader, say(reader.locale, _ANSWERS[answer]), _state(episode, reader))

    return router


def _state(episode: Episode, reader: Reader) -> str:
    return "" if episode.state is State.OPEN else state_line(episode, reader)


def _closing(form: bytes, by: str) -> Command | None:
    """Return what the page's form says; None for one without an outcome or a reason."""
    try:
        given = {name: values[0] for name, values in parse_qs(form.decode()).items()}
        said = CloseIn.model_validate(given)
    except ValueError:  # of pydantic, or of bytes that are no text
        return None
    return Command(Act.CLOSE, by, outcome=said.outcome, note=said.note) if said.note else None


def _asked(ticket: Ticket, episode: Episode, reader: Reader) -> Response:
    locale, fields = reader.locale, dict[str, object]()
    if ticket.act is Act.CLOSE:
        fields = {"outcomes": {one.value: say(locale, f"outcome.{one}") for one in Outcome}, "note": say(locale, "modal.label.note")}
    button = say(locale, f"button.{ticket.act}").rstrip("…")
    return _shown(episode, reader, say(locale, f"page.ask.{ticket.act}"), _state(episode, reader), button=button, **fields)


def _shown(episode: Episode, reader: Reader, *sentences: str, **asked: object) -> Response:
    title = say(reader.locale, "page.title", account=clean(episode.name, 90))
    return _page(200, lang=reader.locale.value, title=title, sentences=[s for s in sentences if s], **asked)


def _expired() -> Response:
    # We do not know who reads, so both languages.
    sentences = [say(locale, "page.expired") for locale in Locale]
    return _page(404, lang="en", title="Churnsignal", sentences=sentences)


def _page(status: int, **facts: object) -> Response:
    nothing_asked: dict[str, object] = {"button": "", "outcomes": {}, "note": ""}
    return HTMLResponse(page("page.html", **nothing_asked | facts), status, headers=_HEADERS)
