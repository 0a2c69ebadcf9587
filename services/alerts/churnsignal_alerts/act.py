"""Pure. What a person may do with an episode; one table for buttons, links and the API."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from churnsignal_alerts.episodes import Episode, Outcome, State


class Act(StrEnum):
    """The verbs of the API and of buttons and links."""

    ACKNOWLEDGE = "acknowledge"
    SNOOZE = "snooze"
    REASSIGN = "reassign"
    CLOSE = "close"
    REOPEN = "reopen"


@dataclass(frozen=True, slots=True)
class Command:
    """One act by a named person. `until` belongs to snooze, `to` to reassign, `outcome` to close."""

    act: Act
    by: str
    until: datetime | None = None
    to: str | None = None
    outcome: Outcome | None = None
    note: str = ""


class Answer(StrEnum):
    """What became of a command; `done` changed something, the others did not."""

    DONE = "done"
    ALREADY = "it was so before"
    OVER = "the episode has ended"
    PAST = "the time to be told again is not in the future"


def act(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    """Return the episode after the command, and what became of it. The same command twice changes nothing."""
    match command.act:
        case Act.ACKNOWLEDGE:
            return _acknowledge(episode, command, now)
        case Act.SNOOZE:
            return _snooze(episode, command, now)
        case Act.REASSIGN:
            return _reassign(episode, command, now)
        case Act.CLOSE:
            return _close(episode, command, now)
        case Act.REOPEN:
            return _reopen(episode, command, now)
        case _:
            assert_never(command.act)


def _acknowledge(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    if not episode.active:
        return episode, Answer.OVER
    if episode.state is State.ACKNOWLEDGED:
        return episode, Answer.ALREADY
    return _acted(episode, command, now, State.ACKNOWLEDGED), Answer.DONE


def _reassign(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    if not episode.active:
        return episode, Answer.OVER
    if episode.csm == command.to and episode.pinned:
        return episode, Answer.ALREADY
    return replace(_acted(episode, command, now, State.OPEN), csm=command.to, pinned=True), Answer.DONE


def _acted(episode: Episode, command: Command, now: datetime, state: State) -> Episode:
    return replace(episode, state=state, by=command.by, acted_at=now, until=None, note=command.note or episode.note)


def _snooze(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    if not episode.active:
        return episode, Answer.OVER
    if command.until is None or command.until <= now:
        return episode, Answer.PAST
    if episode.state is State.SNOOZED and episode.until == command.until:
        return episode, Answer.ALREADY
    return replace(_acted(episode, command, now, State.SNOOZED), until=command.until), Answer.DONE


def _close(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    if episode.state is State.CLOSED:
        return episode, Answer.ALREADY if episode.outcome is command.outcome else Answer.OVER
    closed = _acted(episode, command, now, State.CLOSED)
    return replace(closed, ended_at=episode.ended_at or now, outcome=command.outcome), Answer.DONE


def _reopen(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    if episode.state is State.OPEN:
        return episode, Answer.ALREADY
    return replace(_acted(episode, command, now, State.OPEN), ended_at=None, outcome=None), Answer.DONE


def wake(episode: Episode, now: datetime) -> Episode:
    """Return the episode after its snooze has run out."""
    if episode.state is not State.SNOOZED or episode.until is None or now < episode.until:
        return episode
    return replace(episode, state=State.OPEN, until=None)
