"""From bytes of a pipe to stamped lines: pure.

Decides the form of a line (launcher.md section 5): `2026-11-23T14:02:20.655123Z stdout | text`, one line of
output per line; a line longer than the limit is split, and each continuation carries `+` after the stream;
bytes that are not UTF-8 are written as `\\xNN`. Nothing is lost, changed or invented but a carriage return
before the newline.
"""

from __future__ import annotations

from time import gmtime, strftime

__all__ = ["LINE_LIMIT_BYTES", "LineSplitter", "format_line", "stamp"]

LINE_LIMIT_BYTES = 64 * 1024
"""Longest piece of a line that is kept in memory and written at once."""


class LineSplitter:
    """The unfinished end of one stream; holds at most one line limit of bytes."""

    def __init__(self, limit_bytes: int = LINE_LIMIT_BYTES) -> None:
        """Split lines longer than `limit_bytes`, at least 4."""
        self.rest = b""
        """What is held: the bytes after the last piece."""
        self.is_continued = False
        """Whether the next piece goes on with the line of the last one."""
        self.ends: list[int] = []
        """For each piece of the last `feed` or `flush`, how many bytes before its end were not in a piece
        before that call.
        """
        self._limit = limit_bytes

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """Return the complete pieces in `data` as (bytes, whether it continues the piece before)."""
        pieces: list[tuple[bytes, bool]] = []
        self.ends = []
        start = 0
        *lines, rest = (self.rest + data).split(b"\n")
        for line in lines:
            last = self._split(line, start, pieces)
            pieces.append((last.removesuffix(b"\r"), self.is_continued))
            self.is_continued = False
            start += len(line) + 1
            self.ends.append(start)
        self.rest = self._split(rest, start, pieces)
        return pieces

    def flush(self) -> list[tuple[bytes, bool]]:
        """Return the last line that no newline ended, if there is one."""
        self.ends = [len(self.rest)] if self.rest else []
        if not self.rest:
            return []
        piece = (self.rest, self.is_continued)
        self.rest, self.is_continued = b"", False
        return [piece]

    def _split(self, line: bytes, start: int, pieces: list[tuple[bytes, bool]]) -> bytes:
        while len(line) > self._limit:
            cut = _character_start(line, self._limit)
            pieces.append((line[:cut], self.is_continued))
            self.is_continued = True
            line = line[cut:]
            start += cut
            self.ends.append(start)
        return line


def stamp(posix_s: float) -> str:
    """Return RFC 3339 UTC with microseconds of a POSIX time."""
    seconds, microseconds = divmod(round(posix_s * 1e6), 1_000_000)
    return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(seconds))}.{microseconds:06}Z"


def format_line(at: str, stream: str, text: bytes, is_continued: bool = False) -> bytes:
    """Return one line of the log file, newline included; `stream` is stdout, stderr or lucid."""
    shown = text.decode("utf-8", "backslashreplace") if not text.isascii() else text.decode("ascii")
    return f"{at} {stream}{'+' if is_continued else ''} | {shown}\n".encode()


def _character_start(line: bytes, cut: int) -> int:
    """The last place at or before `cut` that does not fall inside a UTF-8 character."""
    for place in range(cut, max(cut - 4, 0), -1):
        if line[place] & 0xC0 != 0x80:
            return place
    return cut
