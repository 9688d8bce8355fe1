"""What signals do to a full-screen program: it gives the terminal back, if there is one, and takes it again.

A terminal that was closed takes no more output: the screen library would wait for it for ever. And that
library takes every SIGCONT for the end of a pause that it began itself: after a SIGSTOP it would read and
write the terminal twice over, and never end.
"""

import asyncio
import errno
import os
import signal
import sys
import termios
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["EXIT_BY_SIGNAL", "TerminalSignals"]

EXIT_BY_SIGNAL = 128
_LOOK_S = 0.25
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class TerminalSignals:
    """Tells `end` of a signal that ends the program, and `come_back` that it was stopped by somebody else.

    Both are called in the running loop. Made and closed in the main thread, once the screen library has the
    terminal.
    """

    def __init__(self, end: Callable[[int], None], come_back: Callable[[], None]) -> None:
        self._end = end
        self._come_back = come_back
        self._loop = asyncio.get_running_loop()
        self._has_paused = self._is_waiting = self._is_closed = False
        # Not the loop's own handlers: they never run while the loop waits for a terminal that has gone.
        self._before = {number: signal.signal(number, self._on_ending) for number in _ENDING}
        pause, go_on = signal.getsignal(signal.SIGTSTP), signal.getsignal(signal.SIGCONT)
        if callable(pause) and callable(go_on):  # without a terminal the library leaves them alone
            self._pause, self._go_on = pause, go_on
            self._mode = _read_mode()
            signal.signal(signal.SIGTSTP, self._on_pause)
            signal.signal(signal.SIGCONT, self._on_continued)
            # The library's own would take the terminal again after the screen has gone.
            self._before |= dict.fromkeys((signal.SIGTSTP, signal.SIGCONT), signal.SIG_DFL)

    def close(self) -> None:
        """Have the signals mean what they meant before the screen."""
        self._is_closed = True
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_ending(self, number: int, frame: FrameType | None) -> None:
        if _is_terminal_gone():
            # There is nothing to give back, and nothing that could be written to; the stack runs on.
            os._exit(EXIT_BY_SIGNAL + number)
        self._loop.call_soon_threadsafe(self._end, number)

    def _on_pause(self, number: int, frame: FrameType | None) -> None:
        self._has_paused = True
        self._pause(number, frame)

    def _on_continued(self, number: int, frame: FrameType | None) -> None:
        if self._has_paused:
            self._has_paused = False
            self._go_on(number, frame)
        elif not self._is_waiting:
            self._is_waiting = True
            self._loop.call_soon_threadsafe(self._wait_for_terminal)

    def _wait_for_terminal(self) -> None:
        """Come back once the shell gives the terminal: it tells nobody who runs already."""
        if self._is_closed:
            return
        if _is_in_foreground():
            self._is_waiting = False
            if self._mode is not None and sys.__stdin__ is not None:
                # Not by the library, which would first wait for its reader to end: that one may be in the
                # middle of a line, as the shell's mode made it read lines, until somebody presses a key.
                termios.tcsetattr(sys.__stdin__, termios.TCSANOW, self._mode)
            self._come_back()
        else:
            self._loop.call_later(_LOOK_S, self._wait_for_terminal)


def _read_mode() -> list[Any] | None:
    """The mode in which the screen library has the terminal."""
    try:
        return None if sys.__stdin__ is None else termios.tcgetattr(sys.__stdin__)
    except (termios.error, ValueError):
        return None


def _is_in_foreground() -> bool:
    """Whether the terminal may be taken: who does so in the background is stopped."""
    if sys.__stderr__ is None:
        return False
    try:
        return os.tcgetpgrp(sys.__stderr__.fileno()) == os.getpgrp()
    except OSError:
        return False


def _is_terminal_gone() -> bool:
    """Whether the terminal that is drawn on has been hung up."""
    if sys.__stderr__ is None:
        return True
    try:
        termios.tcgetattr(sys.__stderr__)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False
