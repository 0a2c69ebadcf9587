"""Pure. What keeps an alert from being told for now: a silence that somebody set, a red parent, a pause of the account, or a silent source."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from churnsignal_common.contracts.risk import AccountProfile

from churnsignal_alerts.episodes import WATCHDOG, Kind

# A parent's end wakes its children at once; this is for the parent that is no longer theirs.
LOOK_AGAIN = timedelta(hours=24)
_LIKE = str.maketrans({"*": "%", "?": "_", "%": r"\%", "_": r"\_", "\\": r"\\"})


def keys_of(profile: AccountProfile) -> tuple[str, str, str]:
    """Return what silences compare: account, segment and owner, without regard to case."""
    return profile.account.casefold(), (profile.segment or "").casefold(), (profile.owner or "").casefold()


@dataclass(frozen=True, slots=True)
class Matcher:
    """Which alerts a silence covers: those that fit everything given. `*` and `?` stand for any characters."""

    account: str | None = None
    segment: str | None = None
    owner: str | None = None
    kind: Kind | None = None

    def fits(self, kind: Kind, profile: AccountProfile) -> bool:
        # The proof that alerts arrive cannot be silenced.
        if (self.kind is not None and kind is not self.kind) or profile.account.startswith(WATCHDOG):
            return False
        patterns = (self.account, self.segment, self.owner)
        # A bracket is a bracket.
        return all(
            pattern is None or fnmatchcase(key, pattern.casefold().replace("[", "[[]"))
            for pattern, key in zip(patterns, keys_of(profile), strict=True)
        )

    def likes(self) -> dict[str, str]:
        """Return the same as patterns of SQL's LIKE for the keys and the kind."""
        wanted = {"account": self.account, "segment": self.segment, "owner": self.owner, "kind": self.kind}
        return {name: "%" if pattern is None else pattern.casefold().translate(_LIKE) for name, pattern in wanted.items()}


@dataclass(frozen=True, slots=True)
class Silence:
    """Somebody's wish not to hear of something until `ends_at`, with the reason."""

    id: int
    matcher: Matcher
    author: str
    reason: str
    made_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Mute:
    """What mutes an alert: `by` is what the episode keeps, `why` is for its timeline, at `until` it is looked at again."""

    by: str
    why: str
    until: datetime


def of_silence(silence: Silence) -> Mute:
    """Return the mute that a silence means."""
    return Mute(
        f"silence:{silence.id}", f"silenced by {silence.author} until {silence.ends_at.isoformat()}: {silence.reason}", silence.ends_at
    )


def by_parent(account: str) -> str:
    """Return how an episode names the red parent that mutes it."""
    return f"parent:{account}"


OUTAGE, PAUSED = "outage:", "paused"


def of_profile(profile: AccountProfile) -> str:
    """Return how an episode names what mutes it by its account's profile: a pause, or an outage; nothing when neither is."""
    if profile.lifecycle == PAUSED:
        return PAUSED
    return OUTAGE + ",".join(sorted(one.source for one in profile.silent_sources)) if profile.silent_sources else ""


def mute(
    kind: Kind, profile: AccountProfile, silences: Iterable[Silence], red: frozenset[str], now: datetime, knockout: str | None = None
) -> Mute | None:
    """Return what mutes an alert; `red` are the accounts with an open episode of risk. The silence that ends last counts.

    A silent source mutes what silence may explain: not a `knockout`, which is a fact.
    """
    fitting = [s for s in silences if s.made_at <= now < s.ends_at and s.matcher.fits(kind, profile)]
    if fitting:
        return of_silence(max(fitting, key=lambda silence: (silence.ends_at, silence.id)))
    if profile.parent is not None and profile.parent != profile.account and profile.parent in red:
        return Mute(by_parent(profile.parent), f"its parent {profile.parent} is at risk itself", now + LOOK_AGAIN)
    if profile.lifecycle == PAUSED:
        return Mute(PAUSED, "the account is paused", now + LOOK_AGAIN)
    if profile.silent_sources and knockout is None:
        silent = ", ".join(f"{one.source} (since {one.since.isoformat()})" for one in profile.silent_sources)
        return Mute(of_profile(profile), f"nothing is heard from {silent}: its silence says nothing", now + LOOK_AGAIN)
    return None
