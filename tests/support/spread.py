"""Root. A pytest plugin: how a run is spread over workers (`--dist loadscope --no-loadscope-reorder`).

A module stays on one worker, so that its servers are started once; the next goes to the worker that is free. What takes longest begins first, so
that no worker is left alone with it at the end.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
LONGEST_FIRST = ("e2e", "integration", "conformance")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    yield
    items.sort(key=_rank)  # stable: within a folder the order stays as random as others made it


def _rank(item: pytest.Item) -> int:
    folder = item.path.relative_to(HOME).parts[0]
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)
