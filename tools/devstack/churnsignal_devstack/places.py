"""Door. Where things lie on this machine: the user's cache, and rooms that an unprivileged user may reach."""

import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from churnsignal_devstack.problems import StackProblem


def cache_dir() -> Path:
    """Return the directory for what was downloaded once and is used by every later start."""
    if own := os.environ.get("CHURNSIGNAL_CACHE_DIR"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(shared) / "churnsignal"


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system's user that Postgres runs as."""

    uid: int
    gid: int


def unprivileged() -> Account | None:
    """Return who Postgres must run as, because it refuses root; None: whoever we are is fine."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def may_reach(path: Path, account: Account) -> bool:
    """Say whether `account`, neither owner nor in a group, may pass through every directory above `path`."""
    for parent in path.resolve().parents:
        if not parent.exists():
            continue
        found = parent.stat()
        if not found.st_mode & stat.S_IXOTH and not (found.st_uid == account.uid and found.st_mode & stat.S_IXUSR):
            return False
    return True


def room_for(account: Account | None, wanted: Path) -> Path:
    """Return a directory at `wanted` that `account` can reach; a private parent stays private, so the room may be a link elsewhere."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if wanted.is_symlink() and not wanted.exists():
        wanted.unlink()
    if wanted.exists():
        return wanted.resolve()
    if account is None or may_reach(wanted, account):
        wanted.mkdir(mode=0o711)
        return wanted.resolve()
    elsewhere = Path(tempfile.mkdtemp(prefix="churnsignal-", dir="/var/tmp"))
    elsewhere.chmod(0o711)
    wanted.symlink_to(elsewhere)
    return elsewhere


def need_space(where: Path, megabytes: int) -> None:
    """Refuse to begin what would stop half-way on a full disk."""
    there = next(one for one in (where, *where.parents) if one.exists())
    free = shutil.disk_usage(there).free // 2**20
    if free < megabytes:
        raise StackProblem(f"The disk is full: {where} needs {megabytes} MB and has {free}; free some space and start again.")


def clear(room: Path) -> None:
    """Remove a room, and what it is a link to."""
    if room.is_symlink():
        shutil.rmtree(room.resolve(), ignore_errors=True)
        room.unlink(missing_ok=True)
        return
    shutil.rmtree(room, ignore_errors=True)
