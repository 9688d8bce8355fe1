"""The lines that the log pane holds: the last ones of all services, and those of them that the viewer wants.

Pure. A filter looks at everything that is held, so that it finds what came before it was typed.
"""

import re
from collections.abc import Callable, Iterable

from launcher.logs.records import LogLine, matches_child, smart_case

CAPACITY = 10_000
# Dropping in blocks keeps the cost of a full ring away from every single line.
_SPARE = 1_000


class LogRing:
    """Bounded lines with a view on them; `shown` is what the filters let through."""

    def __init__(self, capacity: int = CAPACITY, spare: int = _SPARE) -> None:
        self._capacity = capacity
        self._spare = spare
        self._all: list[LogLine] = []
        self.shown: list[LogLine] = []
        self.pattern_text = ""
        self.errors_only = False
        self.solo: str | None = None
        self._wants: Callable[[LogLine], bool] = _everything

    def __len__(self) -> int:
        """How many lines are held, shown or not."""
        return len(self._all)

    def add(self, lines: Iterable[LogLine]) -> tuple[int, int]:
        """Take lines in; returns how many of the shown ones were added at the end and dropped at the
        start.
        """
        new = list(lines)
        wanted = [line for line in new if self._wants(line)]
        self._all += new
        self.shown += wanted
        return len(wanted), self._drop_old()

    def set_pattern(self, text: str) -> None:
        """Show only lines that match a regular expression with smart case; empty shows all. Raises
        re.error.
        """
        pattern = smart_case(text) if text else None
        self.pattern_text = text
        self._refilter(pattern)

    def set_errors_only(self, errors_only: bool) -> None:
        """Show only lines that tell of trouble, and the markers between generations."""
        self.errors_only = errors_only
        self._refilter(smart_case(self.pattern_text) if self.pattern_text else None)

    def set_solo(self, service: str | None) -> None:
        """Show only one service or child; None shows all."""
        self.solo = service
        self._refilter(smart_case(self.pattern_text) if self.pattern_text else None)

    def _refilter(self, pattern: re.Pattern[str] | None) -> None:
        """Look through all lines again."""
        names = () if self.solo is None else (self.solo,)

        def wants(line: LogLine) -> bool:
            return (
                matches_child(line.child, names)
                and (not self.errors_only or line.is_trouble)
                and (pattern is None or pattern.search(line.text) is not None)
            )

        is_open = pattern is None and not names and not self.errors_only
        self._wants = _everything if is_open else wants
        self.shown = [line for line in self._all if self._wants(line)]

    def _drop_old(self) -> int:
        """Forget the oldest lines when there are too many; returns how many of the shown ones went."""
        excess = len(self._all) - self._capacity
        if excess <= self._spare:
            return 0
        gone = sum(1 for line in self._all[:excess] if self._wants(line))
        del self._all[:excess]
        del self.shown[:gone]
        return gone


def _everything(line: LogLine) -> bool:
    """The filter of a view without filters."""
    return True
