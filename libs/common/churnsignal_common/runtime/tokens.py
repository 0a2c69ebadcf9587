"""Door. Who may call the admin and read APIs: named tokens with roles from a file of hashes, read again when it changes."""

import hashlib
import hmac
import tomllib
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import structlog

log = structlog.get_logger()


class Role(IntEnum):
    """Each role may do what the ones below it may."""

    READER = 1
    CSM = 2
    OPERATOR = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: the token's name and role. For role csm, `name` is the CSM's id."""

    name: str
    role: Role


def hash_token(token: str) -> str:
    """Return what the tokens file holds in place of `token`. Tokens are random and long, so one round is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """The tokens file: TOML, one table per name: `[alice]`, `role = "operator"`, `sha256 = "..."`."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._callers: dict[str, Caller] = {}

    def caller(self, token: str) -> Caller | None:
        """Return who holds `token`, or None. Compares hashes in constant time."""
        self._refresh()
        asked = hash_token(token)
        found = None
        for known, caller in self._callers.items():
            if hmac.compare_digest(known, asked):
                found = caller
        return found

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            stat = self._path.stat()
            if (stat.st_mtime_ns, stat.st_ino) == self._stamp:
                return
            rows = tomllib.loads(self._path.read_text())
            self._callers = {row["sha256"]: Caller(name, Role[row["role"].upper()]) for name, row in rows.items()}
            self._stamp = (stat.st_mtime_ns, stat.st_ino)
        except (OSError, tomllib.TOMLDecodeError, KeyError, AttributeError, TypeError) as error:
            log.error(
                "tokens_file_unreadable",
                reason=type(error).__name__,
                fix='each table needs role = "reader|csm|operator|admin" and sha256 = "..."',
            )
