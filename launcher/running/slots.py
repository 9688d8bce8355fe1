"""A small file that is replaced many times a second and is whole at every instant of its writer's life.

Decides the form: two files that are overwritten in turn, each with the number of its writing, the length and
the CRC-32 of what follows; the newest that is whole counts. Renaming a new file over the old one would be
simpler, but on ext4 each such rename starts writing to the disk (ext4(5), auto_da_alloc), which costs
milliseconds between the death of a process and its respawn. No fsync: this outlives a process, not the
machine.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

__all__ = ["Slots", "read_slots", "remove_slots"]


class Slots:
    """The writer; one at a time."""

    def __init__(self, path: Path) -> None:
        """Go on after the newest writing at `path` and its neighbour, which need not exist."""
        self._paths = _pair(path)
        found = [_read_one(slot) for slot in self._paths]
        self._number = max((one[0] for one in found if one is not None), default=0)
        self._fds: dict[int, int] = {}

    def write(self, content: bytes) -> None:
        """Replace the content; raises OSError, and the content before is then still there."""
        number = self._number + 1
        slot = number % 2
        if slot not in self._fds:
            self._fds[slot] = os.open(self._paths[slot], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        data = _head(number, content) + content
        if os.pwrite(self._fds[slot], data, 0) != len(data):
            raise OSError("only a part of it could be written")
        self._number = number

    def close(self) -> None:
        """Close the files; a later write opens them again."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


def read_slots(path: Path) -> bytes | None:
    """Return the newest content that is whole, or None when nothing was ever written.

    Raises ValueError when there is something, and none of it is whole.
    """
    slots = [slot for slot in _pair(path) if slot.exists()]
    found = [one for slot in slots if (one := _read_one(slot)) is not None]
    if not slots:
        return None
    if not found:
        raise ValueError("no whole writing in it")
    return max(found)[1]


def remove_slots(path: Path, aside: Path | None = None) -> None:
    """Remove both files; with `aside` they go on under that name, the second with a suffix."""
    for slot, target in zip(_pair(path), (None, None) if aside is None else _pair(aside), strict=True):
        if slot.exists():
            if target is None:
                slot.unlink()
            else:
                slot.replace(target)


def _pair(path: Path) -> tuple[Path, Path]:
    # By `number % 2`: the first writing, which is odd, goes to `path` itself.
    return path.with_name(f"{path.name}.2"), path


def _head(number: int, content: bytes) -> bytes:
    # The checksum is of the number too, or half a head could pass for a whole one.
    return f"{number} {len(content)} {zlib.crc32(content, number & 0xFFFFFFFF)}\n".encode()


def _read_one(path: Path) -> tuple[int, bytes] | None:
    """The number and the content of a slot, or None when there is no whole one."""
    try:
        data = path.read_bytes()
        head, _, rest = data.partition(b"\n")
        number, length, _ = map(int, head.split())
    except (FileNotFoundError, ValueError):
        return None
    content = rest[: max(0, length)]
    return (number, content) if data.startswith(_head(number, content) + content) else None
