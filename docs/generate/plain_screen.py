"""A captured screen without what belongs to the machine that it was captured on, every column where it was.

Pure. The folder, the ports and the times of day are replaced by as many characters; durations, figures and pids
stay as they were.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import PurePath

__all__ = ["FIRST_PORT", "HOME", "LAST_TIME", "PORTS", "plain"]

HOME = "/srv/lucid-ai"
"""What the folder is called in the captures; the real one must have a name of the same length."""

FIRST_PORT = 5000
PORTS = 15
"""So many ports from the first one on are called 5000, 5001, …"""

LAST_TIME = datetime(2026, 11, 23, 14, 2, 20, 655_000, tzinfo=UTC)
"""The time of the latest line of every screen; the others keep their distance to it."""

_CLOCK = re.compile(r"\b(?P<whole>\d\d:\d\d:\d\d)(?P<part>\.\d{0,3})?")
_DATE = re.compile(r"\b20\d\d-\d\d-\d\d\b")
# What the terminal driver has the shell print: the exit code, and the prompt.
_PLUMBING = re.compile(r"^(exit=\d+\.|%)\s*$")


def plain(screen: str, folder: str, first_port: int) -> str:
    """The screen with `folder` called `/srv/lucid-ai`, its ports 5000 and on, and its last time 14:02:20.655.

    Raises ValueError for a folder or a port of another length, which would move the columns.
    """
    if len(folder) != len(HOME) or len(str(first_port)) != len(str(FIRST_PORT)):
        raise ValueError(f"{folder} and {first_port} are not as long as {HOME} and {FIRST_PORT}")
    text = screen.replace(folder, HOME).replace(PurePath(folder).name, PurePath(HOME).name)
    for number in range(first_port, first_port + PORTS):
        text = re.sub(rf"\b{number}\b", str(FIRST_PORT + number - first_port), text)
    text = _DATE.sub(f"{LAST_TIME:%Y-%m-%d}", _moved_in_time(text))
    lines = [line.rstrip() for line in text.splitlines() if not _PLUMBING.match(line)]
    return "\n".join(lines).strip("\n") + "\n"


def _moved_in_time(text: str) -> str:
    """The text with all its times of day moved alike, so that the last of them is LAST_TIME."""
    shift = LAST_TIME - max(map(_instant, _CLOCK.finditer(text)), default=LAST_TIME)

    def moved(found: re.Match[str]) -> str:
        after = _instant(found) + shift
        return f"{after:%H:%M:%S}.{after.microsecond // 1000:03d}"[: len(found[0])]

    return _CLOCK.sub(moved, text)


def _instant(found: re.Match[str]) -> datetime:
    """A time of day as a moment of LAST_TIME's day; what is covered of its fraction counts as nothing."""
    hour, minute, second = map(int, found["whole"].split(":"))
    part = float(f"0{found['part']}0") if found["part"] else 0.0
    return LAST_TIME.replace(hour=hour, minute=minute, second=second, microsecond=0) + timedelta(seconds=part)
