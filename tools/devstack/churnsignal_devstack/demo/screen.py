"""Door. Show the demo on a terminal: one live line for the day, and each change and message as it arrives."""

from datetime import date
from typing import Any

from churnsignal_common.contracts.risk import Cause, RiskChangedEvent
from rich.console import Console
from rich.markup import escape

_COLOURS = {"red": "bold red", "yellow": "yellow", "green": "green", "grey": "dim"}


class Terminal:
    """Rich on a terminal; plain lines, the day's one every tenth day, into a file or a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("starting") if console.is_terminal else None
        if self._status:
            self._status.start()

    def close(self) -> None:
        if self._status:
            self._status.stop()

    def stage(self, text: str) -> None:
        if self._status:
            self._status.update(text)
        self._console.print(f"[dim]· {escape(text)}[/]", highlight=False)

    def day(self, number: int, of: int, today: date, events: int, bands: dict[str, int]) -> None:
        counts = "  ".join(f"[{_COLOURS[band]}]{band} {count}[/]" for band, count in bands.items())
        line = f"day {number:3d}/{of}  {today:%Y-%m-%d}  events {events:,}  {counts}"
        if self._status:
            self._status.update(line)
        elif number % 10 == 0 or number == of:
            self._console.print(line, highlight=False)

    def change(self, event: RiskChangedEvent) -> None:
        if event.data.from_band is event.data.to_band or (event.data.cause.silent and event.data.cause is not Cause.CATCH_UP):
            return
        to = event.data.to_band.value
        score = "" if event.data.score_after is None else f" at {event.data.score_after / 100:.0f}"
        self._console.print(
            f"  [{_COLOURS[to]}]● {to:6}[/] {escape(event.subject)}{score} [dim]({event.data.cause.value})[/]", highlight=False
        )

    def message(self, message: dict[str, Any]) -> None:
        where = "Slack" if message["kind"] == "slack" else "e-mail"
        text = str(message.get("subject") or message.get("text") or "").strip().split("\n")[0]
        self._console.print(f"  [cyan]✉ {where} → {escape(str(message['to']))}[/] {escape(text[:140])}", highlight=False)
