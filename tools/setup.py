"""Root. Make `.venv` what the lock says: exact versions, checked hashes, our packages editable. The second time it only looks.

Runs on whatever `python3` is there, so it is written for old ones: they shall get a sentence, not a syntax error.
"""

import hashlib
import os
import subprocess
import sys

OLDEST = (3, 11)
HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(HOME, ".venv")
STAMP = os.path.join(VENV, "churnsignal-stamp")
PYTHON = os.path.join(VENV, "bin", "python")
LOCK = os.path.join(HOME, "requirements.lock")
MEMBERS = ["libs/common", "services/ingest", "services/scoring", "services/alerts", "tools/devstack"]


def main() -> int:
    if sys.version_info < OLDEST:
        return refuse(
            "Churnsignal needs Python %d.%d or newer, this is %s: run make with PYTHON=python3.11 or newer."
            % ((*OLDEST, sys.version.split()[0]))
        )
    stamp = fingerprint()
    if read(STAMP) == stamp:
        return 0
    sys.stderr.write("Installing the pinned packages into .venv (once per change of the lock) ...\n")
    if not made_venv():
        return refuse("This Python cannot make virtual environments: install its venv module (Debian: apt install python3-venv).")
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    if run([*pip, "install", "--require-hashes", "-r", LOCK]) != 0:
        return refuse("The pinned packages could not be installed (see above): check network and free disk space, then run make again.")
    editable = [part for member in MEMBERS for part in ("-e", os.path.join(HOME, member))]
    if run([*pip, "install", "--no-deps", "--no-build-isolation", "--no-index", *editable]) != 0:
        return refuse("Our own packages could not be installed (see above): remove .venv and run make again.")
    with open(STAMP, "w") as file:
        file.write(stamp)
    return 0


def fingerprint() -> str:
    """Name what an environment depends on: the lock, what the members declare, the Python, and where it lies."""
    seen = hashlib.sha256(("%s %s" % (sys.version, HOME)).encode())
    for path in [LOCK] + [os.path.join(HOME, member, "pyproject.toml") for member in MEMBERS]:
        with open(path, "rb") as file:
            seen.update(file.read())
    return seen.hexdigest()


def made_venv() -> bool:
    """Make the environment, unless there is one of this very Python."""
    try:
        if subprocess.check_output([PYTHON, "-c", "import sys; print(sys.version)"], universal_newlines=True).strip() == sys.version:
            return True
    except (OSError, subprocess.CalledProcessError):
        pass
    return run([sys.executable, "-m", "venv", "--clear", VENV]) == 0


def run(argv: "list[str]") -> int:
    return subprocess.call(argv, stdout=sys.stderr)


def read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def refuse(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
