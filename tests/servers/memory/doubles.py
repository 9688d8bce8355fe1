"""Memories, stores and disks for the tests of the memory server."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import apsw
import numpy as np
import numpy.typing as npt

from servers.memory.scoring import Rules, SignificanceWeights
from servers.memory.store.base import Memory

DIMENSIONS = 8
RULES = Rules(SignificanceWeights(), significance_threshold=0.7, duplicate_similarity=0.995)
BLANK = Memory(
    id="m",
    namespace="default",
    text="a text",
    timestamp_ms=1_700_000_000_000,
    significance=0.5,
    surprise=0.25,
    type=None,
    tags=(),
    metadata={},
    vector=np.ones(DIMENSIONS, dtype=np.float32),
)

_vfs_names = (f"test-{number}" for number in count())


def make_memory(memory_id: str, **changes: Any) -> Memory:
    """A memory with that id; its vector depends on the id alone unless given."""
    changes.setdefault("vector", make_vector(memory_id))
    return replace(BLANK, id=memory_id, text=changes.pop("text", f"text of {memory_id}"), **changes)


def make_vector(seed: str, dimensions: int = DIMENSIONS) -> npt.NDArray[np.float32]:
    """A unit vector that the seed determines."""
    numbers = np.random.default_rng(list(seed.encode())).normal(size=dimensions)
    return (numbers / np.linalg.norm(numbers)).astype(np.float32)


class Disk:
    """A disk under SQLite: counts its syncs, holds them while `gate` is shut, fails as `fault` says."""

    def __init__(self) -> None:
        self.syncs = 0
        self.fault: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Semaphore(0)
        self.name = next(_vfs_names)

    def fail_if_told(self) -> None:
        """Raise the fault that was set."""
        if self.fault is not None:
            raise self.fault

    def wait_if_held(self) -> None:
        """Wait inside a sync until the gate opens, if a test has shut it."""
        if not self.gate.is_set():
            self.waiting.release()
            self.gate.wait()


@contextmanager
def mounted(disk: Disk) -> Iterator[Disk]:
    """The disk as the SQLite VFS of its name."""
    vfs = _Vfs(disk)
    try:
        yield disk
    finally:
        vfs.unregister()


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.name, "")

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:
        return _File(self._disk, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: Any) -> None:
        self._disk = disk
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:
        self._disk.fail_if_told()
        self._disk.wait_if_held()
        self._disk.syncs += 1
        super().xSync(flags)

    def xWrite(self, data: Any, offset: int) -> None:
        self._disk.fail_if_told()
        super().xWrite(data, offset)
