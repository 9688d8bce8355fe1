"""A disk that loses power: what SQLite wrote but did not sync is gone, in whole or in part.

Every write, sync, truncation and deletion of a store is recorded in order, acknowledgements between them. A
cut after any of them gives the files that would be found then. Modes: `drop` loses all that was not synced;
`subset` keeps a random half of the 512-byte sectors that were not (torn writes); `strict` also loses files
whose name was not on the disk yet (no sync since they were made). The shared memory file is never part of an
image: it does not survive a boot.
"""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

import apsw

Mode = Literal["drop", "subset", "strict"]
SECTOR_BYTES = 512

_names = (f"lossy-{number}" for number in count())


@dataclass(frozen=True)
class Event:
    """One thing that happened: to the file of that name, or an acknowledgement of that memory."""

    kind: Literal["write", "sync", "truncate", "delete", "ack"]
    name: str
    data: bytes = b""
    offset: int = 0


class LossyDisk:
    """Records what happens to the files of one folder, from what is in it when the disk is made."""

    def __init__(self, folder: Path) -> None:
        self.name = next(_names)
        self.events: list[Event] = []
        self.at_first = {file.name: file.read_bytes() for file in folder.iterdir() if _is_kept(file.name)}
        self._lock = threading.Lock()

    def note(self, event: Event) -> None:
        """Record what happened now."""
        with self._lock:
            self.events.append(event)

    def acknowledge(self, *memory_ids: str) -> None:
        """Record that somebody was told that these memories are stored."""
        for memory_id in memory_ids:
            self.note(Event("ack", memory_id))


@dataclass
class _File:
    durable: bytes = b""
    has_name: bool = False
    content: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)

    def sync(self) -> None:
        self.durable, self.dirty, self.has_name = bytes(self.content), set(), True

    def write(self, data: bytes, offset: int) -> None:
        self.content.extend(bytes(max(0, offset - len(self.content))))
        self.content[offset : offset + len(data)] = data
        self.dirty.update(range(offset // SECTOR_BYTES, (offset + len(data) - 1) // SECTOR_BYTES + 1))

    def truncate(self, size: int) -> None:
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))

    def torn(self, rng: random.Random) -> bytes:
        image = bytearray(self.durable)
        for sector in sorted(self.dirty):
            start = sector * SECTOR_BYTES
            fresh = self.content[start : start + SECTOR_BYTES]
            if fresh and rng.random() < 0.5:
                image.extend(bytes(max(0, start + len(fresh) - len(image))))
                image[start : start + len(fresh)] = fresh
        return bytes(image)


@dataclass(frozen=True)
class Cut:
    """What is found after a power cut: the files, and the memories that were acknowledged before it."""

    position: int
    files: dict[str, bytes]
    acknowledged: frozenset[str]

    def lay_out(self, folder: Path) -> None:
        """Write the files into a new folder."""
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


def cuts(disk: LossyDisk, mode: Mode, positions: Sequence[int], seed: int = 0) -> Iterator[Cut]:
    """The state of the disk after each of these numbers of events, in ascending order."""
    files = {name: _File(content, True, bytearray(content)) for name, content in disk.at_first.items()}
    acknowledged: set[str] = set()
    rng = random.Random(seed)
    done = 0
    for position in sorted(positions):
        for event in disk.events[done:position]:
            _replay(event, files, acknowledged)
        done = position
        yield Cut(position, _image(files, mode, rng), frozenset(acknowledged))


def _replay(event: Event, files: dict[str, _File], acknowledged: set[str]) -> None:
    match event.kind:
        case "ack":
            acknowledged.add(event.name)
        case "delete":
            files.pop(event.name, None)
        case "sync":
            files.setdefault(event.name, _File()).sync()
        case "write":
            files.setdefault(event.name, _File()).write(event.data, event.offset)
        case "truncate":
            files.setdefault(event.name, _File()).truncate(event.offset)


def _image(files: dict[str, _File], mode: Mode, rng: random.Random) -> dict[str, bytes]:
    found = {name: file for name, file in files.items() if file.has_name or mode != "strict"}
    return {name: file.torn(rng) if mode == "subset" else file.durable for name, file in found.items()}


def _is_kept(name: str) -> bool:
    return not name.endswith(("-shm", ".lock"))


@contextmanager
def recording(disk: LossyDisk) -> Iterator[LossyDisk]:
    """The disk as the SQLite VFS of its name."""
    vfs = _Vfs(disk)
    try:
        yield disk
    finally:
        vfs.unregister()


class _Vfs(apsw.VFS):
    def __init__(self, disk: LossyDisk) -> None:
        self._disk = disk
        super().__init__(disk.name, "")

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:
        return _Recorded(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._disk.note(Event("delete", Path(filename).name))
        super().xDelete(filename, syncdir)


class _Recorded(apsw.VFSFile):
    def __init__(self, disk: LossyDisk, name: Any, flags: Any) -> None:
        self._disk = disk
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name)).name
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:
        self._disk.note(Event("write", self._name, bytes(data), offset))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.note(Event("truncate", self._name, offset=newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._disk.note(Event("sync", self._name))
