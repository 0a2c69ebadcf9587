"""Root. `python -m benchmarks [NAME...]`: run the benchmarks, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

ALL = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/__main__.py")))


def main() -> None:
    """Run those named, or all."""
    names = sys.argv[1:] or ALL
    if unknown := [name for name in names if name not in ALL]:
        sys.exit(f"unknown benchmark {', '.join(unknown)}: there are {', '.join(ALL)}")
    failed = [name for name in names if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
