"""Follows the log folder as it grows: every line once, in time order, across restarts and rotations.

The caller says when to look (regular files cannot be waited for); nothing here blocks but the disk.
"""

import heapq
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from launcher.logs.reader import BLOCK_BYTES, FileEnd, chosen_files, log_files
from launcher.logs.records import MARKER_STREAM, LogLine, parse_line


class _Tail:
    """The growing end of one child's log, across rotations."""

    def __init__(self, child: str, folder: Path, *, from_start: bool) -> None:
        self._child = child
        self._path = folder / f"{child}.log"
        self._file = open(self._path, "rb")  # noqa: SIM115 - stays open until close(), that is what a tail is
        if not from_start:
            self._seek_last_line_end()
        self._partial = b""
        self._at = ""

    def end(self) -> FileEnd:
        """Where the next line begins."""
        return FileEnd(os.fstat(self._file.fileno()).st_ino, self._file.tell() - len(self._partial))

    def read(self, limit_bytes: int, *, keep_up: bool) -> list[LogLine]:
        """The complete lines that were added, from at most about `limit_bytes`.

        With `keep_up` a longer backlog is skipped, with a line that says so, instead of being read next time.
        """
        if keep_up:
            skipped = self._skip_backlog(limit_bytes)
            if skipped:
                note = LogLine(
                    self._child, self._at, MARKER_STREAM, f"{skipped} bytes too fast to show, skipped"
                )
                return [note, *self._take(limit_bytes)]
        lines = self._take(limit_bytes)
        while self._rotated():
            lines += self._take(limit_bytes)
        return lines

    def _skip_backlog(self, limit_bytes: int) -> int:
        """Go to the last `limit_bytes` of the newest file when more than that waits; returns the bytes
        passed over.
        """
        waiting = os.fstat(self._file.fileno()).st_size - self._file.tell()
        skipped = 0
        while self._rotated_beyond(limit_bytes, waiting):
            skipped += waiting
            waiting = os.fstat(self._file.fileno()).st_size
        if waiting > limit_bytes:
            self._file.seek(waiting - limit_bytes, os.SEEK_CUR)
            self._file.readline()
            self._partial = b""
            skipped += waiting - limit_bytes
        return skipped

    def _rotated_beyond(self, limit_bytes: int, waiting: int) -> bool:
        """Move on to the newer file when the open one was rotated away with too much left in it."""
        newer = self._newer() if waiting > limit_bytes else None
        if newer is None:
            return False
        self._partial = b""
        return self._switch_to(newer)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _seek_last_line_end(self) -> None:
        """Go to the end of the last complete line."""
        size = self._file.seek(0, os.SEEK_END)
        start = max(0, size - BLOCK_BYTES)
        self._file.seek(start)
        block = self._file.read(size - start)
        self._file.seek(start + block.rfind(b"\n") + 1)

    def _take(self, limit_bytes: int) -> list[LogLine]:
        """The complete lines in the next `limit_bytes` of the file that is open."""
        block = self._partial + self._file.read(limit_bytes)
        *complete, self._partial = block.split(b"\n")
        lines = []
        for raw in complete:
            line = parse_line(self._child, raw, self._at)
            self._at = line.at
            lines.append(line)
        return lines

    def _rotated(self) -> bool:
        """Move on to the next newer file if the open one was rotated away and is read to its end."""
        if self._file.tell() < os.fstat(self._file.fileno()).st_size:
            return False
        newer = self._newer()
        return newer is not None and self._switch_to(newer)

    def _newer(self) -> Path | None:
        """The file that was begun after the open one; None when the open one is the newest."""
        ours = os.fstat(self._file.fileno()).st_ino
        newer: Path | None = None
        for path in reversed(log_files(self._path.parent).get(self._child, [])):
            with suppress(FileNotFoundError):
                if path.stat().st_ino == ours:
                    break
                newer = path
        return newer

    def _switch_to(self, path: Path) -> bool:
        """Open `path` instead of the current file; False when it was rotated away meanwhile."""
        try:
            file = open(path, "rb")  # noqa: SIM115 - replaces the file that stays open
        except FileNotFoundError:
            return False
        self._file.close()
        self._file = file
        return True


class Follower:
    """Hands out what the children write from now on, in time order within each call of `poll`."""

    def __init__(self, folder: Path, names: Collection[str]) -> None:
        self._folder = folder
        self._names = names
        self._tails: dict[str, _Tail] = {}
        self._open_new(from_start=False)

    def poll(self, limit_bytes: int = 1_048_576, *, keep_up: bool = False) -> list[LogLine]:
        """The lines that came since the last call; at most about `limit_bytes` per child.

        What is over the limit comes with the next call, or with `keep_up` is skipped and counted.
        """
        self._open_new(from_start=True)
        streams = [tail.read(limit_bytes, keep_up=keep_up) for tail in self._tails.values()]
        return list(heapq.merge(*streams, key=lambda line: line.at))

    def ends(self) -> dict[str, FileEnd]:
        """Where `poll` goes on: what a reader of the past must stop at, to show no line twice."""
        return {child: tail.end() for child, tail in self._tails.items()}

    def close(self) -> None:
        """Give all files back."""
        for tail in self._tails.values():
            tail.close()

    def _open_new(self, *, from_start: bool) -> None:
        """Take up children whose log appeared since the last look."""
        for child in chosen_files(self._folder, self._names):
            if child not in self._tails:
                with suppress(FileNotFoundError):
                    self._tails[child] = _Tail(child, self._folder, from_start=from_start)
