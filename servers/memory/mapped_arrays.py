"""Arrays that lie in files: in memory only as far as somebody looks at them, and as long as there is room.

It decides how an array gets into a file and how its pages are given back; it does not know what the arrays
mean. The pages are the file's and nobody writes to them, so the kernel may drop them at any time, and reads
them again when they are touched.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

LEFT_FREE_BYTES: Final = 1 << 30
"""With less free on the disk nothing is written that could be made again."""

Array = npt.NDArray[Any]


def mapped(file: Path) -> Array:
    """Return the array of a file in numpy's format. Raises OSError, or ValueError if it is none."""
    # Copy on write, though nobody writes: torch takes only arrays that could be written to.
    array: Array = np.load(file, mmap_mode="c", allow_pickle=False)
    return array.view(np.ndarray)


def moved_to_disk(array: Array, folder: Path) -> Array:
    """Return a copy of the array in a file without a name in that folder, which ends with this process.

    Raises OSError, and leaves nothing behind, when the folder cannot be written or its disk is nearly full.
    """
    require_room(folder)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
        # What cannot be written must be found out while the copy in memory still exists.
        os.fdatasync(file.fileno())
        start = file.tell() - array.nbytes
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return np.frombuffer(pages, dtype=array.dtype, offset=start).reshape(array.shape)


def require_room(folder: Path) -> None:
    """Make the folder if need be. Raises OSError if it cannot be, or if its disk is nearly full."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < LEFT_FREE_BYTES:
        raise OSError(errno.ENOSPC, "what is left of the disk is kept for memories", str(folder))


def is_mapped(array: Array) -> bool:
    """Say whether the array lies in a file."""
    return _pages_of(array) is not None


def give_back(array: Array) -> None:
    """Let go of the pages of an array that lies in a file; of any other, nothing.

    Whoever reads it meanwhile, or later, finds what the file says.
    """
    pages = _pages_of(array)
    if pages is not None:
        pages.madvise(mmap.MADV_DONTNEED)


def expect_single_rows(array: Array) -> None:
    """Have the kernel read no more than what is asked for, of an array whose rows are wanted one by one."""
    pages = _pages_of(array)
    if pages is not None:
        pages.madvise(mmap.MADV_RANDOM)


def return_free_memory() -> None:
    """Have the allocator give back what was freed; it keeps it otherwise, up to a third of what is in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


def _pages_of(array: Array) -> mmap.mmap | None:
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):  # numpy.frombuffer holds the mapping in one
        base = base.obj
    return base if isinstance(base, mmap.mmap) else None
