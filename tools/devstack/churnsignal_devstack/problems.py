"""Pure. What can go wrong on somebody's machine, said in one sentence that tells what to do."""

import errno


class StackProblem(Exception):
    """The stack cannot go on; the message is for the person who started it."""


def of_os_error(error: OSError, doing: str) -> StackProblem:
    """Return the sentence for an operating system's refusal."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StackProblem(f"The disk is full ({doing}): free some space and start again.")
    return StackProblem(f"The machine refused ({doing}): {error.strerror or error}.")
