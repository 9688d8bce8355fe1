"""What SIGTERM and SIGHUP do to a full-screen program: it gives the terminal back, if there still is one.

A terminal that was closed takes no more output: the screen library would wait for it for ever.
"""

import asyncio
import errno
import os
import signal
import sys
import termios
from collections.abc import Callable
from types import FrameType

__all__ = ["EXIT_BY_SIGNAL", "EndingSignals"]

EXIT_BY_SIGNAL = 128
_NUMBERS = (signal.SIGTERM, signal.SIGHUP)


class EndingSignals:
    """Passes the signals on to `end` in the running loop until `close`; call both in the main thread."""

    def __init__(self, end: Callable[[int], None]) -> None:
        self._end = end
        self._loop = asyncio.get_running_loop()
        # Not the loop's own handlers: they never run while the loop waits for a terminal that has gone.
        self._before = {number: signal.signal(number, self._on_signal) for number in _NUMBERS}

    def close(self) -> None:
        """Have the signals mean what they meant before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if _is_terminal_gone():
            # There is nothing to give back, and nothing that could be written to; the stack runs on.
            os._exit(EXIT_BY_SIGNAL + number)
        self._loop.call_soon_threadsafe(self._end, number)


def _is_terminal_gone() -> bool:
    """Whether the terminal that is drawn on has been hung up."""
    if sys.__stderr__ is None:
        return True
    try:
        termios.tcgetattr(sys.__stderr__)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False
