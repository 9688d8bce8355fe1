"""The last lines that a server process has logged, for whoever looks at its page.

Decides how many are kept and how long one may be. The launcher keeps all of them, in files; these are at hand
where nobody can look at files, and end with the process.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

__all__ = ["MOST_CHARACTERS", "MOST_LINES", "RecentLines"]

MOST_LINES = 500
MOST_CHARACTERS = 4000


class RecentLines(logging.Handler):
    """Keeps the newest 500 records as text; add it to a logger."""

    def __init__(self) -> None:
        """None yet; lines are numbered from 1."""
        super().__init__()
        self._lines: deque[dict[str, Any]] = deque(maxlen=MOST_LINES)
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record; its traceback, if it has one, belongs to its text."""
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        self._count += 1
        shown = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
        self._lines.append(
            {
                "number": self._count,
                "at": round(record.created * 1000),
                "level": record.levelname,
                "logger": record.name,
                "text": shown,
            }
        )

    def after(self, number: int) -> list[dict[str, Any]]:
        """The lines with a higher number, oldest first, that are still kept."""
        return [line for line in self._lines.copy() if line["number"] > number]
