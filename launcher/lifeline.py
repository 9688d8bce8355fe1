"""The pipe whose end means that guardian and supervisor are both dead, and the sentinel that waits for it.

A shell, as it is small: it reads, and at end of file becomes the sweeper `launcher.sentinel`; a line tells it
to go. It is the child of the guardian and survives it. Standard library only.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from launcher.fork_exec import Order, fork_exec

__all__ = ["dismiss", "start_sentinel"]

_WAIT = 'read -r _ && exit 0; exec "$@"'


def start_sentinel(arguments: Sequence[str]) -> tuple[int, int]:
    """Start a sentinel for the stack with these arguments; returns its pid and the pipe to hold.

    Whoever holds the pipe counts as alive. Raises OSError.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sweeper = [sys.executable, "-m", "launcher.sentinel", *arguments]
    order: Order = {"argv": ["/bin/sh", "-c", _WAIT, "lucid-sentinel", *sweeper]}
    order |= {"environ": dict(os.environ), "cwd": os.getcwd(), "dies_with_parent": False}
    try:
        return fork_exec(order, [reader, 1, 2]), writer
    except OSError:
        os.close(writer)
        raise
    finally:
        os.close(reader)


def dismiss(writer: int) -> None:
    """Let the sentinel at the other end of the pipe go, and close the pipe."""
    with suppress(BrokenPipeError):
        os.write(writer, b"\n")
    os.close(writer)
