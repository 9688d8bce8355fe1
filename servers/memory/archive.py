"""Memories to a file of the data folder and back, and whole copies of the store.

It decides how files come into being (complete and synced, or not at all) and how an import proceeds: every
line is checked before the first one is written. It does not know which command asked.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from servers.errors import InvalidRequest, TooLarge
from servers.memory.lines import header_line, memory_line, read_header, read_item, read_memory
from servers.memory.requests import StoreItem
from servers.memory.store.base import Memory, ModelMark, Vector
from servers.memory.store.creation import create_folder, sync_folder

BATCH_ROWS: Final = 128
"""Memories of an import that are committed together: as many as a group commit takes."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished export: its file, the bytes of it, and how many memories are in it."""

    file: Path
    size_bytes: int
    count: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What an import file holds: the model of its vectors (None: plain items) and how many memories."""

    model: ModelMark | None
    count: int


def write_export(file: Path, model: ModelMark, steps: Iterable[Sequence[Memory]]) -> Exported:
    """Write memories as JSON Lines to a new file, which gets its name when it is whole. Raises OSError."""
    create_folder(file.parent)
    draft = file.with_name(f"{file.name}.part")
    draft.unlink(missing_ok=True)
    count = 0
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as opened:
            opened.write(header_line(model))
            for memories in steps:
                opened.write(b"".join(map(memory_line, memories)))
                count += len(memories)
            opened.flush()
            os.fsync(opened.fileno())
        os.rename(draft, file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)
    return Exported(file, file.stat().st_size, count)


class ImportFile:
    """A JSON Lines file to be imported; lines longer than `max_line_bytes` are refused."""

    def __init__(self, file: Path, max_line_bytes: int) -> None:
        self._file = file
        self._max_line_bytes = max_line_bytes

    def survey(self, dimensions: int, check: Callable[[str, dict[str, Any]], None]) -> Survey:
        """Read and check every line. Raises InvalidRequest or TooLarge, naming the first bad line.

        `dimensions` is what vectors must have; `check` is given the text and the metadata of each memory.
        """
        with self._open() as opened:
            model = self._header(opened)
        count = 0
        if model is None:
            for item in self.items():
                check(item.text, item.metadata)
                count += 1
            return Survey(None, count)
        for memory in self.memories(model.dimensions):
            check(memory.text, dict(memory.metadata))
            count += 1
        return Survey(model, count)

    def memories(self, dimensions: int) -> Iterator[Memory]:
        """Yield the memories of an exported file."""
        for number, line in self._lines(skip=1):
            yield read_memory(line, number, dimensions)

    def items(self) -> Iterator[StoreItem]:
        """Yield the items of a plain file."""
        for number, line in self._lines(skip=0):
            yield read_item(line, number)

    def _header(self, opened: IO[bytes]) -> ModelMark | None:
        first = opened.readline(self._max_line_bytes + 1)
        if not first.strip():
            raise InvalidRequest("line 1: is empty; the file holds no memories.", details={"line": 1})
        return read_header(first)

    def _lines(self, skip: int) -> Iterator[tuple[int, bytes]]:
        with closing(self._open()) as opened:
            number = 0
            while line := opened.readline(self._max_line_bytes + 1):
                number += 1
                if len(line) > self._max_line_bytes:
                    raise TooLarge(
                        f"line {number}: has more than {self._max_line_bytes} bytes.",
                        details={"line": number},
                    )
                if number > skip and line.strip():
                    yield number, line

    def _open(self) -> IO[bytes]:
        # O_NOFOLLOW: the name was checked, but a link could have taken its place since.
        return os.fdopen(os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def with_vectors(memories: Sequence[Memory], vectors: Sequence[Vector]) -> list[Memory]:
    """Return the memories with other vectors."""
    return [replace(memory, vector=vector) for memory, vector in zip(memories, vectors, strict=True)]
