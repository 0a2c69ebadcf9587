"""Pure. What a person may do with an episode; one table for buttons, links and the API."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from churnsignal_alerts.episodes import Episode, Feedback, Outcome, State

# Nobody means a snooze or a silence to last for longer.
FARTHEST = timedelta(days=731)


class Act(StrEnum):
    """The verbs of the API and of buttons and links."""

    ACKNOWLEDGE = "acknowledge"
    SNOOZE = "snooze"
    REASSIGN = "reassign"
    CLOSE = "close"
    REOPEN = "reopen"
    NOTE = "note"
    FEEDBACK = "feedback"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class Command:
    """One act by a named person. `until` and `worse_only` belong to snooze, `to` to reassign, `outcome` to close, `task` is a step of the playbook."""

    act: Act
    by: str
    until: datetime | None = None
    to: str | None = None
    outcome: Outcome | None = None
    note: str = ""
    worse_only: bool = False
    feedback: Feedback | None = None
    task: int = 0


class Answer(StrEnum):
    """What became of a command; `done` changed something, the others did not."""

    DONE = "done"
    ALREADY = "it was so before"
    OVER = "the episode has ended"
    PAST = "the time to be told again must lie in the future, within two years"
    NO_TASK = "its playbook has no such step"


def act(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    """Return the episode after the command, and what became of it. The same command twice changes nothing."""
    return _ACTS[command.act](episode, command, now)


def _acknowledge(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    if not episode.active:
        return episode, Answer.OVER
    if episode.state is State.ACKNOWLEDGED:
        return episode, Answer.ALREADY
    return _acted(episode, command, now, State.ACKNOWLEDGED), Answer.DONE


def _reassign(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    if not episode.active:
        return episode, Answer.OVER
    if (episode.stands_for or episode.csm) == command.to and episode.pinned:
        return episode, Answer.ALREADY
    return replace(_acted(episode, command, now, State.OPEN), csm=command.to, pinned=True, stands_for=None, rung=0), Answer.DONE


def _acted(episode: Episode, command: Command, now: datetime, state: State) -> Episode:
    note = command.note or episode.note
    return replace(episode, state=state, by=command.by, acted_at=now, until=None, worse_only=False, muted="", note=note)


def _snooze(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    if not episode.active:
        return episode, Answer.OVER
    if command.until is None or not now < command.until <= now + FARTHEST:
        return episode, Answer.PAST
    if episode.state is State.SNOOZED and (episode.until, episode.worse_only) == (command.until, command.worse_only):
        return episode, Answer.ALREADY
    return replace(_acted(episode, command, now, State.SNOOZED), until=command.until, worse_only=command.worse_only), Answer.DONE


def _close(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    if episode.state is State.CLOSED:
        return episode, Answer.ALREADY if episode.outcome is command.outcome else Answer.OVER
    closed = _acted(episode, command, now, State.CLOSED)
    return replace(closed, ended_at=episode.ended_at or now, outcome=command.outcome, note=command.note), Answer.DONE


def _reopen(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    if episode.state is State.OPEN:
        return episode, Answer.ALREADY
    # A new round once it had ended: its end is news again.
    flips = episode.flips if episode.active else episode.flips + 1
    return replace(_acted(episode, command, now, State.OPEN), ended_at=None, outcome=None, rung=0, flips=flips), Answer.DONE


def _task(episode: Episode, command: Command, now: datetime) -> tuple[Episode, Answer]:
    if not 0 <= command.task < len(episode.tasks):
        return episode, Answer.NO_TASK
    if episode.tasks[command.task].done_at is not None:
        return episode, Answer.ALREADY
    done = replace(episode.tasks[command.task], done_by=command.by, done_at=now)
    return replace(episode, tasks=(*episode.tasks[: command.task], done, *episode.tasks[command.task + 1 :])), Answer.DONE


def _note(episode: Episode, command: Command, _: datetime) -> tuple[Episode, Answer]:
    return replace(episode, note=command.note), Answer.DONE


def _feedback(episode: Episode, command: Command, _: datetime) -> tuple[Episode, Answer]:
    if episode.feedback is command.feedback:
        return episode, Answer.ALREADY
    return replace(episode, feedback=command.feedback), Answer.DONE


_ACTS: dict[Act, Callable[[Episode, Command, datetime], tuple[Episode, Answer]]] = {
    Act.ACKNOWLEDGE: _acknowledge,
    Act.SNOOZE: _snooze,
    Act.REASSIGN: _reassign,
    Act.CLOSE: _close,
    Act.REOPEN: _reopen,
    Act.NOTE: _note,
    Act.FEEDBACK: _feedback,
    Act.TASK: _task,
}
