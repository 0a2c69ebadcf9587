"""Root. The one place that catches everything: turn a failed piece of work into a value that policy can read."""

from collections.abc import Awaitable


async def attempt(work: Awaitable[None]) -> Exception | None:
    """Return what `work` raised, or None. Cancellation and exits go through."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 the caller decides by its kind; nothing is swallowed
        return error
    return None
