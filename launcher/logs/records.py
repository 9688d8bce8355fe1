"""One line of a log file: its parts, whether a reader wants it, how it is shown.

Pure. The format is `<RFC 3339 UTC, microseconds> <stream> | <text>`: streams are stdout, stderr and lucid
(our own
markers, such as restarts); `stdout+` continues a long line that was split. Lines of any other shape (a
supervisor's
traceback) are kept whole, with the time of the line before.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MARKER_STREAM = "lucid"
SUPERVISOR = "supervisor"
"""The name of the launcher's own log, in which every line is its own."""
_SHAPE = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)"
    r" (?P<stream>stdout|stderr|lucid)(?P<more>\+?) \| ?(?P<text>.*)",
    re.DOTALL,
)
_STAMP_CHARS = 27
_AGO = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_BEGINNING = re.compile(r"generation \d+ started\b")


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line: `at` is RFC 3339 UTC with microseconds, so that text order is time order; empty when
    unknown. `level` is 10 (debug) to 40 (error) as `launcher.logs.levels` finds it, and INFO before that.
    """

    child: str
    at: str
    stream: str
    text: str
    is_continued: bool = False
    level: int = 20

    @property
    def is_marker(self) -> bool:
        """Whether the supervisor wrote it, not the child."""
        return self.stream == MARKER_STREAM

    @property
    def is_own_word(self) -> bool:
        """Whether whoever the log is named after said it."""
        return not self.is_marker or self.child == SUPERVISOR

    @property
    def begins_generation(self) -> bool:
        """Whether it is the supervisor's word that a new process was started."""
        return self.is_marker and _BEGINNING.match(self.text) is not None


@dataclass(frozen=True)
class LogFilter:
    """Which lines a reader wants; `since` and `until` are inclusive stamps like LogLine.at, empty for no
    limit.

    `least_level` needs lines that know their level (`launcher.logs.levels`); markers pass it always, as they
    say between which processes the lines stand. `is_inverted` turns the pattern around, and nothing else.
    `own_words` leaves out what the supervisor has put between the lines of a child.
    """

    pattern: re.Pattern[str] | None = None
    since: str = ""
    until: str = ""
    least_level: int = 0
    is_inverted: bool = False
    own_words: bool = False

    def wants(self, line: LogLine) -> bool:
        """Whether this line is inside the times, urgent enough, and matches the pattern."""
        if (self.since and line.at < self.since) or (self.until and line.at > self.until):
            return False
        if self.own_words and not line.is_own_word:
            return False
        if line.level < self.least_level and not line.is_marker:
            return False
        return self.pattern is None or (self.pattern.search(line.text) is None) is self.is_inverted


def parse_line(child: str, raw: bytes, at_before: str) -> LogLine:
    """One line of the file of `child`, without its newline; `at_before` is the time of the line before."""
    text = raw.decode("utf-8", errors="backslashreplace")
    match = _SHAPE.fullmatch(text)
    if match is None:
        return LogLine(child, at_before, "stdout", text)
    return LogLine(child, match["at"], match["stream"], match["text"], bool(match["more"]))


def smart_case(pattern: str) -> re.Pattern[str]:
    """A regular expression that minds case only when it holds an upper-case letter; raises re.error."""
    letters = re.sub(r"\\.", "", pattern)
    return re.compile(pattern, 0 if any(char.isupper() for char in letters) else re.IGNORECASE)


def parse_when(text: str, now: datetime) -> str:
    """A stamp from `10m`, `1h30m`, `2d` (that long ago), or from an ISO 8601 time (local when it has no
    zone).

    Raises ValueError with a sentence for anything else.
    """
    ago = _AGO.fullmatch(text)
    if text and ago is not None:
        days, hours, minutes, seconds = (float(part or 0) for part in ago.groups())
        return stamp(now - timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))
    try:
        return stamp(datetime.fromisoformat(text).astimezone(UTC))
    except ValueError:
        raise ValueError(
            f"'{text}' is neither an age such as 10m or 1h30m nor a time such as 2026-11-23T14:02"
        ) from None


def stamp(moment: datetime) -> str:
    """An aware moment in the form of the log files."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def local_time(at: str, shape: str) -> str:
    """A stamp as local time in strftime's `shape`; `-` when the time is not known."""
    if len(at) != _STAMP_CHARS:
        return "-"
    return datetime.fromisoformat(at).astimezone().strftime(shape)


def as_json(line: LogLine, level: str) -> str:
    """The line as one JSON object of schema `lucid.log/1`, everything outside ASCII escaped (safe on any
    terminal).
    """
    return json.dumps(
        {
            "at": line.at or None,
            "child": line.child,
            "stream": line.stream,
            "level": level,
            "text": line.text,
            "continued": line.is_continued,
        }
    )


def matches_child(child: str, names: Collection[str]) -> bool:
    """Whether `names` is empty or holds this child or its service (`inference` for `inference.0`)."""
    return not names or child in names or child.rpartition(".")[0] in names
