"""Root. A pytest plugin: how a run is spread over workers (`-n 2 --dist loadgroup --no-loadscope-reorder`).

A module that starts servers stays together on one worker, as does a folder whose tests share a service; unit tests go where there is room.
What takes longest begins first, so that no worker is left alone with it at the end.
"""

from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
LONGEST_FIRST = ("e2e", "integration", "conformance")
SHARED_BY_A_FOLDER = ("integration/alerts",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.path))  # stable: within a folder the order stays as random as it was
    for item in items:
        if _rank(item.path) < len(LONGEST_FIRST):
            item.add_marker(pytest.mark.xdist_group(_group(item.path.relative_to(HOME))))


def _rank(path: Path) -> int:
    parts = path.parts
    return next((rank for rank, folder in enumerate(LONGEST_FIRST) if folder in parts), len(LONGEST_FIRST))


def _group(path: Path) -> str:
    folder = path.parent.as_posix()
    return folder if folder in SHARED_BY_A_FOLDER else path.as_posix()
