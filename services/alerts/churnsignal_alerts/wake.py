"""Flow. Let the writer of new notices wake the sender at once; the sender also looks by itself now and then."""

import asyncio


class Wake:
    """Set by whoever queued something; waiting clears it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, at_most_s: float) -> None:
        """Return when set, or after the time."""
        try:
            await asyncio.wait_for(self._event.wait(), at_most_s)
        except TimeoutError:
            return
        finally:
            self._event.clear()
