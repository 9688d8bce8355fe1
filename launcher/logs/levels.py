"""How urgent a log line is, from the words that a program's own log puts on it.

Pure. Knows the level words of common log formats and that a traceback's lines belong to the line that began
it.
A line that names no level counts as INFO.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from launcher.logs.records import LogLine

__all__ = ["LEVELS", "LEVEL_NAMES", "LevelTracker", "level_of", "leveled", "leveled_back"]

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40
LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
LEVEL_NAMES = {number: name for name, number in LEVELS.items()}

# The level stands near the beginning; later in a line the same word is somebody's text.
_HEAD_CHARS = 96
_WORD = re.compile(
    r"\b(?:(?P<debug>TRACE|DEBUG)|(?P<info>INFO|NOTICE)|(?P<warning>WARN(?:ING)?)"
    r"|(?P<error>ERROR|ERR|CRITICAL|FATAL|PANIC))\b"
    r"|(?:\blevel[\"']?\s*[=:]\s*[\"']?|^\[)(?:(?P<debug2>trace|debug)|(?P<info2>info|notice)"
    r"|(?P<warning2>warn(?:ing)?)|(?P<error2>error|critical|fatal|panic))\b"
)
_TROUBLE = re.compile(
    r"^Traceback \(most recent call last\)|^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit)\b(?::|$)"
    r"|^(?:\S{1,40}: )?(?:[Ff]atal|[Ee]rror|[Pp]anic)(?: error)?: |\bpanicked at\b|^Segmentation fault"
)
_BELONGS = (" ", "\t", "| ", "+ ", "~~", "^")


def level_of(text: str) -> int | None:
    """DEBUG, INFO, WARNING or ERROR as the line says; None when it says nothing."""
    match = _WORD.search(text, 0, _HEAD_CHARS)
    if match is not None and match.lastgroup is not None:
        return LEVELS[match.lastgroup.rstrip("2")]
    return ERROR if _TROUBLE.search(text) is not None else None


class LevelTracker:
    """Gives each line its level; indented lines have that of the line before from the same child and
    stream.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], int] = {}

    def leveled(self, line: LogLine) -> LogLine:
        """The line with its level; lines must come in their order."""
        if line.is_marker:
            return line
        key = (line.child, line.stream)
        level = self._last.get(key, INFO) if belongs_to_previous(line) else level_of(line.text) or INFO
        self._last[key] = level
        return line if level == line.level else replace(line, level=level)


def belongs_to_previous(line: LogLine) -> bool:
    """Whether the line goes on with what the line before it said: a traceback, a wrapped or indented
    block.
    """
    return line.is_continued or line.text.startswith(_BELONGS)


def leveled(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """Lines in time order, with their levels."""
    return map(LevelTracker().leveled, lines)


def leveled_back(lines: Iterable[LogLine], most_held: int = 1000) -> Iterator[LogLine]:
    """The lines of one child newest first, with their levels, still newest first within each stream.

    Indented lines wait for the line that they belong to, at most `most_held` of them.
    """
    waiting: dict[str, list[LogLine]] = {}
    for line in lines:
        if line.is_marker:
            yield line
            continue
        held = waiting.setdefault(line.stream, [])
        held.append(line)
        if belongs_to_previous(line) and len(held) < most_held:
            continue
        level = INFO if belongs_to_previous(line) else level_of(line.text) or INFO
        yield from (each if each.level == level else replace(each, level=level) for each in held)
        held.clear()
    for held in waiting.values():
        yield from held
