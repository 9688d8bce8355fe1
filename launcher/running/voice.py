"""What a supervisor says of itself: lines in its log, and one report to whoever started it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.errors import LauncherError
from launcher.logs.line_format import format_line, stamp
from launcher.running.own_log import OwnLog

__all__ = ["Report", "keep_log_small", "log_line"]

_own_log = OwnLog(None)


def keep_log_small(path: Path) -> None:
    """From now on rotate `path` where it is what stdout is written to."""
    global _own_log
    _own_log = OwnLog(path)


def log_line(text: str) -> None:
    """Write one decision to stdout in the form of a log line; a full disk must not end the supervisor."""
    _own_log.write(format_line(stamp(time.time()), "lucid", text.replace("\n", " · ").encode()))


class Report:
    """The one line that the starter of this process waits for."""

    def __init__(self, fd: int | None) -> None:
        """Write to `fd` once; without one, say nothing."""
        self._fd = fd

    def ready(self, notes: Sequence[str], plan: Sequence[Mapping[str, Any]]) -> None:
        """Everything is bound, and children will be spawned now."""
        self._write({"ok": True, "pid": os.getpid(), "notes": list(notes), "plan": list(plan)})

    def failed(self, error: LauncherError) -> None:
        """Nothing was started."""
        self._write({"error": error.to_document()})

    def _write(self, document: Mapping[str, Any]) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            # Whoever started us may have given up waiting.
            with suppress(BrokenPipeError):
                os.write(fd, json.dumps(document).encode() + b"\n")
            os.close(fd)
