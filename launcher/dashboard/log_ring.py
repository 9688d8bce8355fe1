"""The lines that a log pane holds: the last ones of all services, and those of them that the viewer wants.

Pure. A filter looks at everything that is held, so that it finds what came before it was typed; matches from
before that are put in front by `show_found`.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from launcher.logs.levels import ERROR, LevelTracker
from launcher.logs.records import LogLine, matches_child, smart_case

CAPACITY = 10_000
# Dropping in blocks keeps the cost of a full ring away from every single line.
_SPARE = 1_000


class LogRing:
    """Bounded lines with a view on them: `shown` is what the filters let through, `epoch` counts views.

    With filters the view may reach further back than the ring (`is_searched`): it is bounded by itself.
    """

    def __init__(self, capacity: int = CAPACITY, spare: int = _SPARE, *, finds_levels: bool = True) -> None:
        """`finds_levels`: read the level of each line from its words; else lines come with it."""
        self._capacity = capacity
        self._spare = spare
        self._all: list[LogLine] = []
        self._levels = LevelTracker() if finds_levels else None
        self.shown: list[LogLine] = []
        self.epoch = 0
        self.pattern: re.Pattern[str] | None = None
        self.pattern_text = ""
        self.errors_only = False
        self.least_level = 0
        self.solo: str | None = None
        self.is_searched = False
        self.wants: Callable[[LogLine], bool] = _everything

    def __len__(self) -> int:
        """How many lines are held, shown or not."""
        return len(self._all)

    @property
    def has_filters(self) -> bool:
        """Whether lines of a service that is shown are left out."""
        return self.pattern is not None or self.errors_only or self.least_level > 0

    @property
    def is_filtered(self) -> bool:
        """Whether anything is left out of the view."""
        return self.wants is not _everything

    def add(self, lines: Iterable[LogLine]) -> tuple[int, int]:
        """Take lines in; returns how many of the shown ones were added at the end and dropped at the
        start.
        """
        new = list(lines) if self._levels is None else [self._levels.leveled(line) for line in lines]
        wanted = [line for line in new if self.wants(line)] if self.is_filtered else new
        self._all += new
        self.shown += wanted
        self._drop_old(self._all)
        return len(wanted), self._drop_old(self.shown)

    def set_pattern(self, text: str) -> None:
        """Show only lines that match a regular expression with smart case; empty shows all. Raises
        re.error.
        """
        self.pattern = smart_case(text) if text else None
        self.pattern_text = text
        self._refilter()

    def set_errors_only(self, errors_only: bool) -> None:
        """Show only lines that tell of trouble, and the markers between generations."""
        self.errors_only = errors_only
        self._refilter()

    def set_level(self, least_level: int) -> None:
        """Show only lines of at least this level, and the markers; 0 shows all."""
        self.least_level = least_level
        self._refilter()

    def set_solo(self, service: str | None) -> None:
        """Show only one service or child; None shows all."""
        self.solo = service
        self._refilter()

    def clear_filters(self) -> None:
        """Show every line of every service again, but for the solo."""
        self.pattern, self.pattern_text, self.errors_only, self.least_level = None, "", False, 0
        self._refilter()

    def show_found(self, lines: Sequence[LogLine]) -> None:
        """Show exactly these lines, found by a look through the files, and what comes from now on."""
        self.shown = list(lines[-self._capacity :])
        self.is_searched = True
        self.epoch += 1

    def _refilter(self) -> None:
        """Look through all lines again."""
        names = () if self.solo is None else (self.solo,)
        pattern = self.pattern
        least = max(self.least_level, ERROR if self.errors_only else 0)

        def wants(line: LogLine) -> bool:
            return (
                matches_child(line.child, names)
                and (line.level >= least or line.is_marker)
                and (pattern is None or pattern.search(line.text) is not None)
            )

        self.wants = _everything if pattern is None and not names and not least else wants
        self.shown = [line for line in self._all if self.wants(line)]
        self.is_searched = False
        self.epoch += 1

    def _drop_old(self, lines: list[LogLine]) -> int:
        """Forget the oldest of these when there are too many; returns how many went."""
        excess = len(lines) - self._capacity
        if excess <= self._spare:
            return 0
        del lines[:excess]
        return excess


def _everything(line: LogLine) -> bool:
    """The filter of a view without filters."""
    return True
