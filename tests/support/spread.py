"""Root. A pytest plugin: how a run is spread over workers (`-n 2 --dist loadgroup --no-loadscope-reorder`).

A module that starts servers stays together on one worker, as does a folder whose tests share a service; unit tests go where there is room.
What takes longest begins first, so that no worker is left alone with it at the end.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
LONGEST_FIRST = ("e2e", "integration", "conformance")
SHARED_BY_A_FOLDER = ("integration/alerts",)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    for item in items:
        if _rank(item) < len(LONGEST_FIRST):
            item.add_marker(pytest.mark.xdist_group(_group(_place(item))))
    yield
    items.sort(key=_rank)  # stable: within a folder the order stays as random as others made it


def _place(item: pytest.Item) -> Path:
    return item.path.relative_to(HOME)


def _rank(item: pytest.Item) -> int:
    folder = _place(item).parts[0]
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)


def _group(path: Path) -> str:
    folder = path.parent.as_posix()
    return folder if folder in SHARED_BY_A_FOLDER else path.as_posix()
