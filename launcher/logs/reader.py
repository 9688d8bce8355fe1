"""Reads the log folder: all children merged by time, forwards or backwards, rotated files included.

Knows file names (`<child>.log`, `.1` is the newest rotated one) and line boundaries; what a line means is in
`launcher.logs.records`. Nothing here blocks but the disk.
"""

import heapq
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from launcher.logs.levels import leveled, leveled_back
from launcher.logs.records import SUPERVISOR, LogFilter, LogLine, matches_child, parse_line

_NAME = re.compile(r"(?P<child>.+)\.log(?:\.(?P<number>\d+))?")
BLOCK_BYTES = 65_536
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
    streams = [forwards(child, pieces_of(files, ends.get(child))) for child, files in chosen.items()]
    if wanted.least_level:
        streams = [leveled(stream) for stream in streams]
    merged = heapq.merge(*streams, key=lambda line: line.at)
    return (line for line in merged if wanted.wants(line))


def read_last(
    folder: Path, names: Collection[str], wanted: LogFilter, count: int, ends: Ends | None = None
) -> list[LogLine]:
    """The last `count` wanted lines, oldest first; reads no more of the files than that takes."""
    ends = ends or {}
    chosen = chosen_files(folder, names)
    streams = [backwards(child, pieces_of(files, ends.get(child))) for child, files in chosen.items()]
    if wanted.least_level:
        streams = [leveled_back(stream) for stream in streams]
    merged = heapq.merge(*streams, key=lambda line: line.at, reverse=True)
    newest_first = list(islice((line for line in merged if wanted.wants(line)), count))
    return newest_first[::-1]


def read_last_of_child(folder: Path, child: str, count: int) -> list[LogLine]:
    """The last `count` lines of exactly this child, oldest first."""
    files = log_files(folder).get(child, [])
    return list(islice(backwards(child, pieces_of(files, None)), count))[::-1]


def read_previous_generation(folder: Path, names: Collection[str], wanted: LogFilter) -> Iterator[LogLine]:
    """The lines of the generation before the current one, per child, merged by time.

    A generation begins at the marker that the supervisor writes when it has started one.
    """
    streams = []
    for child, files in chosen_files(folder, names).items():
        before: list[LogLine] = []
        current: list[LogLine] = []
        for line in forwards(child, pieces_of(files, None)):
            if line.begins_generation:
                before, current = current, []
            current.append(line)
        streams.append(list(leveled(before)) if wanted.least_level else before)
    return (line for line in heapq.merge(*streams, key=lambda line: line.at) if wanted.wants(line))


def pieces_of(files: list[Path], end: FileEnd | None) -> list[tuple[Path, int]]:
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


def forwards(child: str, pieces: list[tuple[Path, int]]) -> Iterator[LogLine]:
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


def backwards(child: str, pieces: list[tuple[Path, int]]) -> Iterator[LogLine]:
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
            step = min(BLOCK_BYTES, position)
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
