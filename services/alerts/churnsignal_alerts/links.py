"""Pure. Links in e-mails: signed, bound to one act, one episode and one person, valid until a stated time."""

from dataclasses import dataclass
from datetime import UTC, datetime

from itsdangerous import BadData, URLSafeSerializer

from churnsignal_alerts.act import Act

_SALT = "churnsignal-episode-link"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a link allows: one act on one episode, by the person it was sent to, until `expires`."""

    act: Act
    episode: str
    person: str
    expires: datetime


class Links:
    """Signs with the first key, accepts all of them: keys can be rotated."""

    def __init__(self, keys: list[str], public_url: str) -> None:
        # itsdangerous signs with the last of its keys.
        self._serializer = URLSafeSerializer(list(reversed(keys)), salt=_SALT) if keys else None
        self._base = public_url.rstrip("/")

    @property
    def on(self) -> bool:
        return self._serializer is not None

    def url(self, ticket: Ticket) -> str:
        """Return the address of the page that asks, and acts on POST."""
        assert self._serializer is not None
        token = str(self._serializer.dumps([ticket.act.value, ticket.episode, ticket.person, int(ticket.expires.timestamp())]))
        return f"{self._base}/a/{token}"

    def read(self, token: str, now: datetime) -> Ticket | None:
        """Return what the link allows; None for a forged, mangled or expired one."""
        if self._serializer is None:
            return None
        try:
            word, episode, person, expires = self._serializer.loads(token)
            ticket = Ticket(Act(word), str(episode), str(person), datetime.fromtimestamp(int(expires), UTC))
        except (BadData, ValueError, TypeError, OverflowError):
            return None
        return ticket if now <= ticket.expires else None
