"""Pure. Write keys: how they are made, told apart from typing errors, and hashed for storage."""

import hashlib
import hmac
import zlib
from dataclasses import dataclass

from churnsignal_ingest.validate.judge import Scope

RANDOM_BYTES = 20
_PREFIX = {Scope.BROWSER: "csb_", Scope.SERVER: "css_", Scope.IMPORT: "csi_"}
_LENGTH = 4 + 2 * RANDOM_BYTES + 8


def make_key(scope: Scope, chance: bytes) -> str:
    """Return a new key: prefix, 160 random bits from `chance`, checksum. It is shown once and never stored."""
    if len(chance) != RANDOM_BYTES:
        raise ValueError(f"a key takes {RANDOM_BYTES} random bytes")
    body = _PREFIX[scope] + chance.hex()
    return body + _checksum(body)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def looks_right(key: str) -> bool:
    """Tell whether `key` is spelled as ours are, checksum included: a typing error needs no look-up."""
    return len(key) == _LENGTH and key.isascii() and key[:4] in _PREFIX.values() and key[-8:] == _checksum(key[:-8])


def hint(key: str) -> str:
    """Return the beginning of a key, enough to recognise it in a list."""
    return key[:10]


@dataclass(frozen=True, slots=True)
class Hasher:
    """Keyed hashes of write keys. The first secret signs; keys hashed under the others are still found."""

    secrets: tuple[bytes, ...]

    def sign(self, key: str) -> bytes:
        return self._hash(self.secrets[0], key)

    def candidates(self, key: str) -> list[bytes]:
        return [self._hash(secret, key) for secret in self.secrets]

    @staticmethod
    def _hash(secret: bytes, key: str) -> bytes:
        return hmac.new(secret, key.encode(), hashlib.sha256).digest()


def hasher_of(signing_keys: str) -> Hasher:
    """Return the hasher for a comma separated list of secrets."""
    return Hasher(tuple(part.strip().encode() for part in signing_keys.split(",") if part.strip()))
