"""Reads the log folder: all children merged by time, forwards, backwards, or as it grows; rotation included.

Knows file names (`<child>.log`, `.1` is the newest rotated one) and line boundaries; what a line means is in
`launcher.loglines`. Nothing here blocks but the disk.
"""

import heapq
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from launcher.loglines import LogFilter, LogLine, matches_child, parse_line

SUPERVISOR = "supervisor"
_NAME = re.compile(r"(?P<child>.+)\.log(?:\.(?P<number>\d+))?")
_BLOCK_BYTES = 65_536
LATEST = "9999-12-31T23:59:59.999999Z"


class FileEnd(NamedTuple):
    """A place in a log file that survives its renaming: everything before `offset` is history."""

    inode: int
    offset: int


Ends = Mapping[str, FileEnd]


def log_files(folder: Path) -> dict[str, list[Path]]:
    """The log files of every child, oldest first; empty when the folder does not exist."""
    numbered: dict[str, list[tuple[int, Path]]] = {}
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match is not None:
                numbered.setdefault(match["child"], []).append((int(match["number"] or 0), path))
    return {
        child: [path for _, path in sorted(files, reverse=True)] for child, files in sorted(numbered.items())
    }


def services_in(folder: Path) -> list[str]:
    """The children and services that have left a log, without the supervisor's own."""
    children = [child for child in log_files(folder) if child != SUPERVISOR]
    services = {child.rpartition(".")[0] for child in children if child.rpartition(".")[2].isdigit()}
    return sorted({*children, *services})


def chosen_files(folder: Path, names: Collection[str]) -> dict[str, list[Path]]:
    """The files of the named children or services; of all but the supervisor when none is named."""
    return {
        child: files
        for child, files in log_files(folder).items()
        if matches_child(child, names) and (child != SUPERVISOR or SUPERVISOR in names)
    }


def read_all(
    folder: Path, names: Collection[str], wanted: LogFilter, ends: Ends | None = None
) -> Iterator[LogLine]:
    """Every wanted line up to `ends`, oldest first, merged across children."""
    ends = ends or {}
    chosen = chosen_files(folder, names)
    streams = [_forwards(child, _pieces(files, ends.get(child))) for child, files in chosen.items()]
    merged = heapq.merge(*streams, key=lambda line: line.at)
    return (line for line in merged if wanted.wants(line))


def read_last(
    folder: Path, names: Collection[str], wanted: LogFilter, count: int, ends: Ends | None = None
) -> list[LogLine]:
    """The last `count` wanted lines, oldest first; reads no more of the files than that takes."""
    ends = ends or {}
    chosen = chosen_files(folder, names)
    streams = [_backwards(child, _pieces(files, ends.get(child))) for child, files in chosen.items()]
    merged = heapq.merge(*streams, key=lambda line: line.at, reverse=True)
    newest_first = list(islice((line for line in merged if wanted.wants(line)), count))
    return newest_first[::-1]


def read_previous_generation(folder: Path, names: Collection[str], wanted: LogFilter) -> Iterator[LogLine]:
    """The lines of the generation before the current one, per child, merged by time.

    A generation begins at each marker whose text starts with `started`.
    """
    streams = []
    for child, files in chosen_files(folder, names).items():
        before: list[LogLine] = []
        current: list[LogLine] = []
        for line in _forwards(child, _pieces(files, None)):
            if line.is_marker and line.text.startswith("started"):
                before, current = current, []
            current.append(line)
        streams.append(before)
    return (line for line in heapq.merge(*streams, key=lambda line: line.at) if wanted.wants(line))


def _pieces(files: list[Path], end: FileEnd | None) -> list[tuple[Path, int]]:
    """The files to read, oldest first, each with the offset to stop at (-1: its end).

    With `end` nothing after that place is read: files newer than the one it lies in are left out.
    """
    pieces = [(path, -1) for path in files]
    if end is None:
        return pieces
    for position in reversed(range(len(files))):
        with suppress(FileNotFoundError):
            if files[position].stat().st_ino == end.inode:
                return [*pieces[:position], (files[position], end.offset)]
    return pieces


def _forwards(child: str, pieces: list[tuple[Path, int]]) -> Iterator[LogLine]:
    """The lines of one child, oldest first."""
    at = ""
    for path, stop in pieces:
        with suppress(FileNotFoundError), open(path, "rb") as file:
            position = 0
            for raw in file:
                position += len(raw)
                if 0 <= stop < position:
                    break
                line = parse_line(child, raw.rstrip(b"\r\n"), at)
                at = line.at
                yield line


def _backwards(child: str, pieces: list[tuple[Path, int]]) -> Iterator[LogLine]:
    """The lines of one child, newest first; a line without a time takes that of the next one in the file."""
    at = LATEST
    for path, stop in reversed(pieces):
        with suppress(FileNotFoundError):
            for raw in _raw_backwards(path, stop):
                line = parse_line(child, raw.rstrip(b"\r"), at)
                at = line.at
                yield line


def _raw_backwards(path: Path, stop: int) -> Iterator[bytes]:
    """The lines of a file from `stop` (-1: its end) to its start, read in blocks."""
    with open(path, "rb") as file:
        position = file.seek(0, os.SEEK_END) if stop < 0 else stop
        rest = b""
        is_first_block = True
        while position > 0:
            step = min(_BLOCK_BYTES, position)
            position -= step
            file.seek(position)
            block = file.read(step) + rest
            if is_first_block:
                block = block.removesuffix(b"\n")
                is_first_block = False
            rest, *lines = block.split(b"\n")
            yield from reversed(lines)
        if not is_first_block:
            yield rest


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

    def read(self, limit_bytes: int) -> list[LogLine]:
        """The complete lines that were added, from at most about `limit_bytes`."""
        lines = self._take(limit_bytes)
        while len(lines) == 0 and self._rotated():
            lines = self._take(limit_bytes)
        return lines

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _seek_last_line_end(self) -> None:
        """Go to the end of the last complete line."""
        size = self._file.seek(0, os.SEEK_END)
        start = max(0, size - _BLOCK_BYTES)
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
        ours = os.fstat(self._file.fileno())
        if self._file.tell() < ours.st_size:
            return False
        newer: Path | None = None
        for path in reversed(log_files(self._path.parent).get(self._child, [])):
            with suppress(FileNotFoundError):
                if os.stat(path).st_ino == ours.st_ino:
                    break
                newer = path
        return newer is not None and self._switch_to(newer)

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

    def poll(self, limit_bytes: int = 1_048_576) -> list[LogLine]:
        """The lines that came since the last call; at most about `limit_bytes` per child, the rest next
        time.
        """
        self._open_new(from_start=True)
        streams = [tail.read(limit_bytes) for tail in self._tails.values()]
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
